//! `docs/BENCHMARKS.md` and its plots, from what the rows found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::measure::Result;
use crate::plot;
use crate::results::{Absent, Fact, Kind, Line, Row, Table, Verdict};
use crate::stats::{self, Ratio};

/// The texts that stand around the tables.
const HEAD: &str = include_str!("head.md");

/// Writes the document into `docs`, from the rows in `docs/benchmarks`.
pub fn document(docs: &Path, names: &[&str]) -> Result<()> {
    let results = docs.join("benchmarks");
    let rows = names.iter().filter_map(|name| Row::load(&results, name).transpose());
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let mut text = HEAD.to_owned();
    text += &targets(&rows);
    for row in &rows {
        text += &section(row);
        for series in series(row) {
            let file = format!("{}-{}.svg", row.name, series.replace(", ", "-").replace(' ', "-"));
            plot::write(&results.join(&file), row, series)?;
            writeln!(text, "![cost against N: {series}](benchmarks/{file})\n")?;
        }
    }
    Ok(fs::write(docs.join("BENCHMARKS.md"), text.trim_end().to_owned() + "\n")?)
}

/// Every target and what came of it, in one table.
fn targets(rows: &[Row]) -> String {
    let mut text = "## Targets\n\n| row | what | beside | ratio | 95 % | target | verdict |\n|---|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        for table in &row.tables {
            for (line, floor, target, ratio) in bounded(table) {
                text += &target_line(
                    row,
                    &format!("{}: {}", table.title, line.name),
                    floor,
                    ratio,
                    target,
                );
            }
        }
        for (what, ratio) in slopes(row) {
            text += &target_line(row, &what, "slope of its floor", ratio, 1.0);
        }
        for fact in &row.facts {
            let Some(target) = fact.target else { continue };
            let verdict = if fact.value <= target { Verdict::Reached } else { Verdict::Missed };
            let unit = &fact.unit;
            text += &format!(
                "| [{0}](#{0}) | {1} | | {2:.2} {unit} | | ≤ {target} {unit} | {3} |\n",
                row.name,
                fact.name,
                fact.value,
                verdict.words()
            );
        }
    }
    text + "\n"
}

fn target_line(row: &Row, what: &str, floor: &str, ratio: Ratio, target: f64) -> String {
    format!(
        "| [{0}](#{0}) | {what} | {floor} | {1:.2} | {2:.2}–{3:.2} | ≤ {target} | {4} |\n",
        row.name,
        ratio.value,
        ratio.low,
        ratio.high,
        Verdict::of(ratio, target).words(),
    )
}

/// The lines with a target.
fn bounded(table: &Table) -> impl Iterator<Item = (&Line, &str, f64, Ratio)> {
    let bounds =
        table.lines.iter().flat_map(|line| line.bounds.iter().map(move |bound| (line, bound)));
    bounds.filter_map(|(line, bound)| {
        Some((line, &*bound.floor, bound.target?, table.ratio(line, bound)?))
    })
}

/// What one member more costs us, divided by what it costs the floor that we are to be beside.
fn slopes(row: &Row) -> Vec<(String, Ratio)> {
    let mut found = Vec::new();
    for series in series(row) {
        let tables = points(row, series);
        let Some((_, last)) = tables.last() else { continue };
        for (line, floor, ..) in bounded(last) {
            let steep = |name: &str, rounds: &[usize]| {
                let medians = tables.iter().filter_map(|(size, table)| {
                    let line = table.lines.iter().find(|line| line.name == name)?;
                    let drawn: Vec<_> = rounds
                        .iter()
                        .filter_map(|round| line.micros.get(*round))
                        .copied()
                        .collect();
                    Some((*size as f64, stats::median(&drawn)))
                });
                stats::slope(&medians.collect::<Vec<_>>())
            };
            // Every size has at least as many rounds as the largest has.
            let ratio = stats::of_rounds(line.micros.len(), |rounds| {
                steep(&line.name, rounds) / steep(floor, rounds)
            });
            found.push((format!("{series}, slope against N: {}", line.name), ratio));
        }
    }
    found
}

/// The plots that a row has.
pub fn series(row: &Row) -> Vec<&str> {
    let mut names: Vec<_> =
        row.tables.iter().filter_map(|table| Some(&*table.series.as_ref()?.0)).collect();
    names.dedup();
    names
}

/// The tables of a plot, by size.
pub fn points<'a>(row: &'a Row, series: &str) -> Vec<(u64, &'a Table)> {
    let of_series = row.tables.iter().filter_map(|table| {
        let (name, size) = table.series.as_ref()?;
        (name == series).then_some((*size, table))
    });
    of_series.collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn section(row: &Row) -> String {
    let machine = &row.machine;
    let mut text = format!("## {}\n\n### {}\n\n{}\n\n", row.name, row.title, row.method);
    text += &format!(
        "{}, {} CPUs, {} GiB; Linux {}; cgroups: {}; {}; commit {}, {}.\n\n",
        machine.cpu,
        machine.cpus,
        machine.memory_gib,
        machine.kernel,
        machine.cgroups,
        machine.compiler,
        machine.commit,
        machine.date
    );
    row.tables.iter().for_each(|one| text += &table(one));
    text += &absent(row);
    text += &facts(&row.facts);
    text
}

fn table(table: &Table) -> String {
    let mut text = format!("**{}**\n\n", table.title);
    text += "| way | median | middle half | ratio (95 %) | target | guarantee |\n|---|--:|---|---|---|---|\n";
    for line in &table.lines {
        let spread = line.spread();
        let name =
            if line.kind == Kind::Ours { format!("**{}**", line.name) } else { line.name.clone() };
        text += &format!(
            "| {name} | {} | {}–{} | {} | {} | {} |\n",
            micros(spread.median),
            micros(spread.lower_quartile),
            micros(spread.upper_quartile),
            ratios(table, line),
            verdicts(table, line),
            line.guarantee
        );
    }
    text + "\n"
}

fn ratios(table: &Table, line: &Line) -> String {
    let each = line.bounds.iter().filter_map(|bound| {
        let Ratio { value, low, high } = table.ratio(line, bound)?;
        Some(format!("{value:.2} ({low:.2}–{high:.2}) × {}", bound.floor))
    });
    each.collect::<Vec<_>>().join("; ")
}

fn verdicts(table: &Table, line: &Line) -> String {
    let each = line.bounds.iter().filter_map(|bound| {
        let (ratio, target) = (table.ratio(line, bound)?, bound.target?);
        Some(format!("≤ {target}: {}", Verdict::of(ratio, target).words()))
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Three digits that say something.
fn micros(time: f64) -> String {
    match time {
        1e5.. => format!("{:.0} ms", time / 1e3),
        1e4.. => format!("{:.1} ms", time / 1e3),
        1e3.. => format!("{:.2} ms", time / 1e3),
        1e2.. => format!("{time:.0} µs"),
        _ => format!("{time:.1} µs"),
    }
}

/// Each once, though it is missing in every contest.
fn absent(row: &Row) -> String {
    let mut all: Vec<&Absent> = Vec::new();
    for one in row.tables.iter().flat_map(|table| &table.absent) {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    let lines: String = all.iter().map(|one| format!("- {}: {}\n", one.name, one.why)).collect();
    if lines.is_empty() { lines } else { format!("Not measured here:\n\n{lines}\n") }
}

fn facts(facts: &[Fact]) -> String {
    let lines: String = facts
        .iter()
        .map(|fact| format!("- {}: {:.2} {}\n", fact.name, fact.value, fact.unit))
        .collect();
    if lines.is_empty() { lines } else { format!("{lines}\n") }
}
