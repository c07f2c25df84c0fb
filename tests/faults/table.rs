//! What came of all strikes, as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::acts::{Act, Played};
use crate::plan::Point;

/// One strike and what came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) backend: String,
    pub(crate) act: Act,
    pub(crate) point: Point,
    pub(crate) played: Result<Played, String>,
}

/// Good strikes, those that were passed by, and failures.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    good: usize,
    missed: usize,
    failed: usize,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match &outcome.played {
            Ok(played) if played.hit => self.good += 1,
            Ok(_) => self.missed += 1,
            Err(_) => self.failed += 1,
        }
    }

    fn cell(self) -> String {
        let Self { good, missed, failed } = self;
        match (good, missed, failed) {
            (0, 0, 0) => String::new(),
            (_, _, 0) => format!("ok {good}"),
            _ => format!("**{failed} failed** of {}", good + failed),
        }
    }
}

/// The tables, in Markdown: acts by backend, and system calls and faults by backend.
pub(crate) fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let by_act = |outcome: &Outcome| vec![outcome.act.name().to_owned()];
    table(&mut text, &["act"], outcomes, by_act);
    let by_call = |outcome: &Outcome| {
        vec![format!("`{}`", outcome.point.call), outcome.point.fault.to_string()]
    };
    table(&mut text, &["system call", "fault"], outcomes, by_call);
    times(&mut text, outcomes);
    text
}

fn table(
    text: &mut String,
    heads: &[&str],
    outcomes: &[Outcome],
    row: impl Fn(&Outcome) -> Vec<String>,
) {
    let mut backends: Vec<&str> = outcomes.iter().map(|o| o.backend.as_str()).collect();
    backends.sort_unstable();
    backends.dedup();
    let mut rows: BTreeMap<Vec<String>, BTreeMap<&str, Tally>> = BTreeMap::new();
    for outcome in outcomes {
        let cells = rows.entry(row(outcome)).or_default();
        cells.entry(&outcome.backend).or_default().count(outcome);
    }
    let columns: Vec<_> = heads.iter().chain(&backends).copied().collect();
    let _ = writeln!(text, "| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for (row, tallies) in rows {
        let cells = backends.iter().map(|b| tallies.get(b).copied().unwrap_or_default().cell());
        let cells: Vec<_> = row.into_iter().chain(cells).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
}

/// How long processes lived on after the process that owned them was killed.
fn times(text: &mut String, outcomes: &[Outcome]) {
    for act in [Act::Run, Act::Crash] {
        let killed = outcomes.iter().filter(|o| o.act == act && o.point.fault.is_kill());
        let mut times: Vec<Duration> =
            killed.filter_map(|o| o.played.as_ref().ok().map(|played| played.cleared)).collect();
        times.sort_unstable();
        let Some(longest) = times.last() else { continue };
        let (half, most) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let _ = writeln!(
            text,
            "{}: after SIGKILL the last process was gone within {half:.1?} (median), {most:.1?} (99 of 100), \
             {longest:.1?} (all {}).\n",
            act.name(),
            times.len()
        );
    }
}

/// The failures, one a line.
pub(crate) fn failures(outcomes: &[Outcome]) -> Vec<String> {
    let failed = outcomes.iter().filter_map(|outcome| {
        let why = outcome.played.as_ref().err()?;
        let Outcome { backend, act, point, .. } = outcome;
        Some(format!("{backend}/{}: {point}: {}", act.name(), why.trim().replace('\n', " / ")))
    });
    failed.collect()
}

/// Strikes, those among them that came about, those after which `gc` had to tidy up, and failures.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let good = || outcomes.iter().filter_map(|outcome| outcome.played.as_ref().ok());
    let hit = good().filter(|played| played.hit).count();
    let gc = good().filter(|played| played.gc).count();
    format!(
        "{} strikes: {hit} came about and were taken well ({gc} left something for `contain gc`), {} were \
         passed by, {} failed",
        outcomes.len(),
        good().count() - hit,
        outcomes.len() - good().count()
    )
}
