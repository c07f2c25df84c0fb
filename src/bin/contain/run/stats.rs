//! `--stats`: the report as a short table.

use std::io::Write as _;
use std::time::Duration;

use containment::{Member, Overrun, Usage};

use super::end::{End, NAMED, Reason};
use crate::table::Table;

/// Writes the table to stderr.
pub(super) fn print(end: &End) {
    // Nobody is left to tell when stderr is gone.
    let _ = write!(anstream::stderr(), "{}", table(end));
}

fn table(end: &End) -> Table {
    let usage = end.teardown.usage.unwrap_or_default();
    let mut table = Table::default();
    table.row(["group", &format!("{} ({})", end.id.name, end.id.backend)]);
    table.row(["outcome", &outcome(end)]);
    table.row(["wall", &seconds(end.wall)]);
    table.row(["teardown", &seconds(end.teardown.elapsed)]);
    for (name, figure) in figures(&usage) {
        table.row([name, &figure]);
    }
    let teardown = &end.teardown;
    list(&mut table, "left behind", &teardown.left_behind);
    list(&mut table, "escaped", &teardown.escaped);
    list(&mut table, "survivors", &teardown.survivors);
    table
}

/// How many there are, and below it who they are and who started them.
fn list(table: &mut Table, name: &str, members: &[Member]) {
    table.row([name, &members.len().to_string()]);
    for member in members.iter().take(NAMED) {
        table.row(["", &member.to_string()]);
    }
    if members.len() > NAMED {
        table.row(["", &format!("and {} more", members.len() - NAMED)]);
    }
}

/// What was measured, by name.
pub(crate) fn figures(usage: &Usage) -> Vec<(&'static str, String)> {
    let figures = [
        ("cpu", usage.cpu.map(seconds)),
        ("cpu user", usage.cpu_user.map(seconds)),
        ("cpu system", usage.cpu_system.map(seconds)),
        ("throttled", usage.throttled.map(seconds)),
        ("memory peak", usage.memory_peak.map(bytes)),
        ("swap", usage.swap.map(bytes)),
        ("pids peak", usage.pids_peak.map(|n| n.to_string())),
        ("read", usage.io_read.map(bytes)),
        ("written", usage.io_write.map(bytes)),
        ("oom kills", usage.oom_kills.map(|n| n.to_string())),
        ("waited for cpu", usage.pressure.cpu.map(|waited| seconds(waited.some))),
        ("waited for memory", usage.pressure.memory.map(|waited| seconds(waited.some))),
        ("waited for io", usage.pressure.io.map(|waited| seconds(waited.some))),
    ];
    figures.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect()
}

fn outcome(end: &End) -> String {
    let own = end.outcome.map_or("not known".to_owned(), |outcome| outcome.to_string());
    match end.reason {
        None => own,
        Some(Reason::Overrun(Overrun::Timeout)) => format!("{own}, ended by the time limit"),
        Some(Reason::Overrun(Overrun::CpuTime)) => format!("{own}, ended by the CPU time limit"),
        Some(Reason::Overrun(Overrun::Oom)) => format!("{own}, ended because memory ran out"),
        Some(Reason::Engine) => format!("{own}, ended because slurmstepd is gone"),
        Some(Reason::Signal(signal)) => format!("{own}, ended by {signal} to contain"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.6} s", time.as_secs_f64())
}

/// A size for people.
pub(crate) fn bytes(bytes: u64) -> String {
    let kib = bytes / 1024;
    if kib < 10 * 1024 { format!("{kib} KiB") } else { format!("{} MiB", kib / 1024) }
}

#[cfg(test)]
mod tests {
    use super::super::end::tests::clean_end;
    use super::*;
    use containment::Signal;

    #[test]
    fn the_table_shows_what_was_measured_and_nothing_else() {
        let mut end = clean_end();
        end.reason = Some(Reason::Signal(Signal::INT));
        end.teardown.usage = Some(Usage {
            cpu: Some(Duration::from_millis(20)),
            memory_peak: Some(64 << 20),
            ..Usage::default()
        });
        insta::assert_snapshot!(table(&end).to_string());
    }
}
