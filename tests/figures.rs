//! Figures that documents quote are those of docs/BENCHMARKS.md, rounded: whoever measures anew changes both.

use std::collections::BTreeMap;

const README: &str = include_str!("../README.md");
const SCALE: &str = include_str!("../docs/SCALE.md");
const ISOLATION: &str = include_str!("../docs/ISOLATION.md");
const BENCHMARKS: &str = include_str!("../docs/BENCHMARKS.md");

const SPAWN: &str = "spawn to exit of /bin/true, 250 ms apart";
const RESIDENT: &str = "spawn to exit of /bin/true with 4 GiB resident";
const RUN: &str = "command started until it ended";
const OTHERS: &str = "commands that set up a container, or measure";
const BEST: &str = "contain run, what is best here";

/// The first cells of a row of the README's table, and the quotients that its last cell is of: table of
/// docs/BENCHMARKS.md, way, and what that is divided by.
type Quoted = ((&'static str, &'static str), Vec<(String, &'static str, &'static str)>);

fn quoted() -> Vec<Quoted> {
    let of = |table: &str, way, by| vec![(table.to_owned(), way, by)];
    let ends = |of, way, by| {
        let ages = ["young", "settled"].into_iter();
        let tables = ages.flat_map(move |age| [1, 10, 100, 1000].map(move |n| (age, n)));
        tables.map(|(age, n)| (format!("{of}, {age}, N = {n}"), way, by)).collect()
    };
    let spawned = "posix_spawn and wait";
    vec![
        (
            (
                "end of a group of 1, 10, 100 or 1,000 processes, v2",
                "the bare calls: `cgroup.kill`, wait, `rmdir`",
            ),
            ends("v2", "v2", "v2: cgroup.kill, wait, rmdir"),
        ),
        (
            ("the same, v1", "freeze, signal, thaw, wait, `rmdir`"),
            ends("v1", "v1", "v1: freeze, signal, thaw, wait, rmdir"),
        ),
        (
            ("spawn to exit in a group that is there, v2", "`posix_spawn` and wait, in no group"),
            of(SPAWN, "v2", spawned),
        ),
        (
            ("the same by a supervisor with 4 GiB resident", "its own `posix_spawn`"),
            of(RESIDENT, "v2", spawned),
        ),
        (
            ("a spawn that forks (`pre_exec`) there, for comparison", "the same"),
            of(RESIDENT, "std with a pre_exec hook", spawned),
        ),
        (
            ("`contain run -- true`", "`bwrap --unshare-pid`, whose end also ends everybody"),
            of(OTHERS, BEST, "bwrap --unshare-pid true"),
        ),
        (("", "`runc run`"), of(OTHERS, BEST, "runc run")),
        (("", "`runexec`"), of(OTHERS, BEST, "runexec true")),
    ]
}

#[test]
fn every_ratio_of_the_readmes_table_is_the_measured_one() {
    let measured = measured();
    let rows = rows_below(README, "| what | beside | ratio |");
    let quoted = quoted();
    let names: Vec<_> = quoted.iter().map(|((what, beside), _)| (*what, *beside)).collect();
    let told: Vec<_> = rows.iter().map(|cells| (cells[0], cells[1])).collect();
    assert_eq!(told, names, "a row came or went: say here what its figure is of");
    for (cells, (_, quotients)) in rows.iter().zip(quoted) {
        let ratios: Vec<_> =
            quotients.iter().map(|(table, way, by)| measured.ratio(table, way, by)).collect();
        check(&cells.join(" | "), cells[2], &ratios);
    }
}

#[test]
fn what_the_readme_says_of_timeout_is_measured() {
    let measured = measured();
    let text = README.split_whitespace().collect::<Vec<_>>().join(" ");
    let ranges = text.split_once("`contain run` takes ").expect("it is told of").1;
    let (without, ranges) = ranges.split_once(" times what `timeout` takes, and ").unwrap();
    let (with, _) = ranges.split_once(" times with a report").unwrap();
    let ratios = |ways: &[&'static str]| -> Vec<_> {
        ways.iter().map(|way| measured.ratio(RUN, way, "timeout 10 true")).collect()
    };
    check("without a report", &without.replace(" to ", "–"), &ratios(&PLAIN));
    check("with a report", &with.replace(" to ", "–"), &ratios(&REPORTING));
}

const PLAIN: [&str; 4] = [
    "contain run, v2",
    "contain run, hybrid",
    "contain run, v1 (what it needs)",
    "contain run, process group",
];

const REPORTING: [&str; 4] = [
    "contain run, v2, report",
    "contain run, hybrid, report",
    "contain run, v1, report (every hierarchy)",
    "contain run, process group, report",
];

#[test]
fn what_a_step_costs_is_measured() {
    let measured = measured();
    let rows = rows_below(SCALE, "| backend | without a report |");
    let names = ["`true`, run by nobody", "cgroup v2", "hybrid", "cgroup v1", "process group"];
    assert_eq!(rows.iter().map(|cells| cells[0]).collect::<Vec<_>>(), names);
    let cost = |cell: &str, way| {
        let figure = cell.strip_suffix(" ms").unwrap_or_else(|| panic!("{cell} is no time in ms"));
        check(way, figure, &[measured.median(RUN, way) / 1000.0]);
    };
    cost(rows[0][1], "true, run by nobody");
    for (cells, (plain, reporting)) in rows[1..].iter().zip(PLAIN.into_iter().zip(REPORTING)) {
        cost(cells[1], plain);
        cost(cells[2], reporting);
    }
    let resident = BENCHMARKS.split_once("while its program runs (VmHWM): ").unwrap().1;
    let resident: f64 = resident.split(' ').next().unwrap().parse().unwrap();
    let told = SCALE.split_once(" MiB resident").unwrap().0.rsplit_once(' ').unwrap().1;
    check("MiB resident", told, &[resident]);
}

#[test]
fn what_isolation_costs_a_large_process_is_measured() {
    let measured = measured();
    let told = ISOLATION.split_once(" times a `posix_spawn`").unwrap().0;
    let told = told.rsplit_once(' ').unwrap().1;
    let ratio = measured.ratio(
        RESIDENT,
        "v2, another user (on a copy of the memory)",
        "posix_spawn and wait",
    );
    check("another user", told, &[ratio]);
}

/// What is quoted, one figure or a range, is what is measured, to as many digits.
#[track_caller]
fn check(what: &str, told: &str, measured: &[f64]) {
    let least = measured.iter().copied().fold(f64::INFINITY, f64::min);
    let most = measured.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (from, to) = told.split_once('–').unwrap_or((told, told));
    assert!(is_rounded(from, least), "{what}: {from} is told, {least} was measured");
    assert!(is_rounded(to, most), "{what}: {to} is told, {most} was measured");
}

/// Whether the figure is the measured one, to its last digit. Zeros at the end of a whole number count as digits
/// within its first two, and below 100 that is all of them. What is measured has been rounded to three digits
/// itself.
fn is_rounded(figure: &str, measured: f64) -> bool {
    let step = if let Some((_, decimals)) = figure.split_once('.') {
        0.1_f64.powi(i32::try_from(decimals.len()).unwrap())
    } else {
        let zeros = figure.len() - figure.trim_end_matches('0').len();
        10_f64.powi(i32::try_from(zeros.min(figure.len().saturating_sub(2))).unwrap())
    };
    let figure: f64 = figure.parse().unwrap_or_else(|_| panic!("{figure:?} is no figure"));
    (figure - measured).abs() <= step / 2.0 + measured / 200.0
}

#[test]
fn a_figure_is_told_to_its_last_digit() {
    for (figure, measured) in
        [("10", 10.4), ("0", 0.4), ("190", 194.0), ("1.2", 1.24), ("100", 104.0)]
    {
        assert!(is_rounded(figure, measured), "{figure} for {measured}");
    }
    for (figure, measured) in
        [("10", 8.0), ("10", 14.0), ("0", 4.0), ("190", 180.0), ("100", 140.0)]
    {
        assert!(!is_rounded(figure, measured), "{figure} for {measured}");
    }
}

/// The medians, in microseconds, and the ratios in docs/BENCHMARKS.md, by table and way.
struct Measured(BTreeMap<(String, String), (f64, String)>);

impl Measured {
    fn row(&self, table: &str, way: &str) -> &(f64, String) {
        let row = self.0.get(&(table.to_owned(), way.to_owned()));
        row.unwrap_or_else(|| panic!("docs/BENCHMARKS.md has no {way:?} in {table:?}"))
    }

    fn median(&self, table: &str, way: &str) -> f64 {
        self.row(table, way).0
    }

    /// As it is told there, else the quotient of both medians.
    fn ratio(&self, table: &str, way: &str, by: &str) -> f64 {
        let told = self.row(table, way).1.split("; ").find_map(|ratio| {
            let (ratio, of) = ratio.split_once(" × ")?;
            (of == by).then(|| ratio.split(' ').next()?.parse().ok())?
        });
        told.unwrap_or_else(|| self.median(table, way) / self.median(table, by))
    }
}

fn measured() -> Measured {
    let mut rows = BTreeMap::new();
    let mut table = String::new();
    for line in BENCHMARKS.lines() {
        if let Some(title) = line.strip_prefix("**").and_then(|line| line.strip_suffix("**")) {
            title.clone_into(&mut table);
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let (true, [way, median, _, ratio, ..]) = (line.starts_with('|'), &*cells)
            && let Some(median) = microseconds(median)
        {
            let way = way.trim_matches('*').to_owned();
            rows.insert((table.clone(), way), (median, (*ratio).to_owned()));
        }
    }
    assert!(!rows.is_empty(), "docs/BENCHMARKS.md has tables");
    Measured(rows)
}

fn microseconds(median: &str) -> Option<f64> {
    let (figure, unit) = median.split_once(' ')?;
    let factor = match unit {
        "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(figure.parse::<f64>().ok()? * factor)
}

/// The cells of each row of the table that begins so.
fn rows_below(document: &'static str, head: &str) -> Vec<Vec<&'static str>> {
    let lines = document.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| {
        let line = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        line.expect("a row ends with a bar").split('|').map(str::trim).collect()
    };
    let rows: Vec<_> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "there is no table that begins with {head}");
    rows
}
