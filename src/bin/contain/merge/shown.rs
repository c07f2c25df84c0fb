//! The totals for a person, and the rest of the JSON document.

use serde::Serialize;

use super::totals::{Names, Run, Sums, Top, Totals};
use crate::run::stats::bytes;
use crate::table::Table;

/// So many names of processes are shown.
const NAMES: usize = 10;

/// Everything but the runs themselves.
#[derive(Debug, Serialize)]
pub(super) struct Rest<'a> {
    nodes: Vec<Row<'a>>,
    totals: TotalsEntry<'a>,
    slowest: Vec<Slow<'a>>,
    hungriest: Vec<Hungry<'a>>,
    errors: &'a [String],
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    node: Option<&'a str>,
    outcome: &'a str,
    #[serde(flatten)]
    sums: &'a Sums,
}

#[derive(Debug, Serialize)]
struct TotalsEntry<'a> {
    nodes: usize,
    #[serde(flatten)]
    sums: &'a Sums,
    /// Runs that lost containment.
    lost: u64,
}

#[derive(Debug, Serialize)]
struct Slow<'a> {
    #[serde(flatten)]
    run: &'a Run,
    wall_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Hungry<'a> {
    #[serde(flatten)]
    run: &'a Run,
    memory_peak_bytes: u64,
}

impl<'a> Rest<'a> {
    pub(super) fn of(totals: &'a Totals) -> Self {
        let rows = totals.rows.iter();
        let nodes = rows
            .map(|((node, outcome), sums)| Row { node: node.as_deref(), outcome, sums })
            .collect();
        let slow = |(wall_seconds, run): &'a (f64, Run)| Slow { run, wall_seconds: *wall_seconds };
        let hungry = |(peak, run): &'a (u64, Run)| Hungry { run, memory_peak_bytes: *peak };
        Self {
            nodes,
            totals: TotalsEntry { nodes: totals.nodes(), sums: &totals.all, lost: totals.lost },
            slowest: totals.slowest.0.iter().map(slow).collect(),
            hungriest: totals.hungriest.0.iter().map(hungry).collect(),
            errors: &totals.errors,
        }
    }
}

/// A table by node and outcome; below it who was found, and which runs stand out.
pub(super) fn for_a_person(totals: &Totals) -> String {
    if totals.all.runs == 0 {
        return String::new();
    }
    let mut notes = Table::default();
    names(&mut notes, "left behind", &totals.left_behind);
    names(&mut notes, "escaped", &totals.escaped);
    names(&mut notes, "survived", &totals.survivors);
    top(&mut notes, "slowest", &totals.slowest, |time| seconds(*time));
    top(&mut notes, "hungriest", &totals.hungriest, |peak| bytes(*peak));
    lost(&mut notes, totals);
    format!("{}\n{notes}", table(totals))
}

fn table(totals: &Totals) -> Table {
    let mut table = Table::default();
    table.row([
        "NODE",
        "OUTCOME",
        "RUNS",
        "CPU",
        "PEAK MEMORY",
        "LEFT BEHIND",
        "ESCAPED",
        "SURVIVED",
    ]);
    for ((node, outcome), sums) in &totals.rows {
        row(&mut table, node.as_deref().unwrap_or("-"), outcome, sums);
    }
    row(&mut table, "total", "", &totals.all);
    table
}

fn row(table: &mut Table, node: &str, outcome: &str, sums: &Sums) {
    let cpu = sums.cpu_seconds.map_or("-".to_owned(), seconds);
    let peak = sums.memory_peak_bytes.map_or("-".to_owned(), bytes);
    let runs = sums.runs.to_string();
    let [left, escaped, survived] =
        [sums.left_behind, sums.escaped, sums.survivors].map(|count| count.to_string());
    table.row([node, outcome, &runs, &cpu, &peak, &left, &escaped, &survived]);
}

fn names(table: &mut Table, what: &str, names: &Names) {
    let all = names.by_count();
    if all.is_empty() {
        return;
    }
    let shown: Vec<_> =
        all.iter().take(NAMES).map(|(name, count)| format!("{count} {name}")).collect();
    let rest: u64 = all.iter().skip(NAMES).map(|(_, count)| count).sum::<u64>() + names.others;
    let rest = if rest > 0 { format!(", {rest} others") } else { String::new() };
    table.row([what, &format!("in {} runs: {}{rest}", names.runs, shown.join(", "))]);
}

fn top<T>(table: &mut Table, what: &str, top: &Top<T>, show: impl Fn(&T) -> String) {
    for (index, (figure, run)) in top.0.iter().enumerate() {
        let what = if index == 0 { what } else { "" };
        table.row([what, &format!("{} {}", show(figure), name(run))]);
    }
}

fn lost(table: &mut Table, totals: &Totals) {
    for (index, run) in totals.lost_runs.iter().enumerate() {
        table.row([if index == 0 { "lost" } else { "" }, &name(run)]);
    }
    let more = totals.lost - totals.lost_runs.len() as u64;
    if more > 0 {
        table.row(["", &format!("and {more} more")]);
    }
}

/// What to look for: the step, else the group, and where.
fn name(run: &Run) -> String {
    let what = run.step.as_deref().unwrap_or(&run.group);
    run.node.as_ref().map_or(what.to_owned(), |node| format!("{what} on {node}"))
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::report;
    use super::*;
    use serde_json::json;

    fn totals() -> Totals {
        let mut totals = Totals::default();
        let process = |pid, comm| json!({"pid": pid, "comm": comm});
        let teardown = |left: serde_json::Value, survivors: serde_json::Value| {
            json!({"seconds": 0.5, "left_behind": left, "escaped": [process(7, "d")],
                   "survivors": survivors, "errors": []})
        };
        let two = json!([process(5, "sleep"), process(6, "sleep")]);
        totals.add(&report(&json!({"step": "42.0", "teardown": teardown(two, json!([]))})));
        totals.add(&report(&json!({"node": "n2", "step": null, "wall_seconds": 9.25,
                                   "reason": "timeout", "usage": {}})));
        let stuck = json!([process(9, "nfsd")]);
        totals.add(&report(&json!({"step": "43.0", "containment": "lost",
                                   "teardown": teardown(json!([]), stuck)})));
        totals.add_error("failed to read a report: it is empty: x".to_owned());
        totals
    }

    #[test]
    fn a_person_sees_a_table_and_what_stands_out() {
        insta::assert_snapshot!(for_a_person(&totals()));
    }

    #[test]
    fn the_json_is_the_documented_one() {
        let totals = totals();
        insta::assert_snapshot!(serde_json::to_string_pretty(&Rest::of(&totals)).unwrap());
        assert!(!totals.is_sound());
    }

    #[test]
    fn without_a_report_there_is_nothing_to_show() {
        assert_eq!(for_a_person(&Totals::default()), "");
    }
}
