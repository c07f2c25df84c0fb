//! `contain ps` and `contain stat`: who is in a group, and what it uses.

use std::time::Duration;

use containment::{Member, Result, Usage, Watch};
use serde::Serialize;

use super::open;
use super::options::{Ps, Stat};
use crate::cli::Global;
use crate::run::report::{UsageEntry, seconds};
use crate::run::stats;
use crate::table::Table;
use crate::{exit, output};

/// A member as `ps` shows it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    pid: i32,
    parent: i32,
    state: String,
    comm: &'a str,
    cpu_seconds: Option<f64>,
    memory_bytes: Option<u64>,
}

/// Lists the members; gives the exit status.
pub(super) fn ps(global: &Global, options: &Ps) -> Result<u8> {
    let mut members = open(global, &options.name)?.ops().members()?;
    members.sort_by_key(|member| member.pid);
    let rows: Vec<_> = members.iter().map(Row::new).collect();
    Ok(if options.json {
        output::print_json(MEMBERS, &rows)
    } else {
        output::print(MEMBERS, &listed(&rows).to_string())
    })
}

const MEMBERS: &str = "the members";

impl<'a> Row<'a> {
    fn new(member: &'a Member) -> Self {
        Self {
            pid: member.pid.as_raw(),
            parent: member.parent,
            state: member.state.to_string(),
            comm: &member.comm,
            cpu_seconds: member.cpu.map(seconds),
            memory_bytes: member.memory,
        }
    }
}

fn listed(rows: &[Row<'_>]) -> Table {
    let mut table = Table::default();
    if !rows.is_empty() {
        table.row(["PID", "PARENT", "STATE", "CPU", "MEMORY", "COMMAND"]);
    }
    for row in rows {
        let cpu = row.cpu_seconds.map_or("-".to_owned(), |cpu| format!("{cpu:.2} s"));
        let memory = row.memory_bytes.map_or("-".to_owned(), stats::bytes);
        // A process chooses its name: it is to leave the terminal alone.
        let comm = row.comm.escape_debug().to_string();
        let (pid, parent) = (row.pid.to_string(), row.parent.to_string());
        table.row([pid, parent, row.state.clone(), cpu, memory, comm]);
    }
    table
}

/// Shows what was used, once or for as long as the group is there; gives the exit status.
pub(super) fn stat(global: &Global, options: &Stat) -> Result<u8> {
    let group = open(global, &options.name)?;
    let mut printed = print_usage(&group.ops().usage()?, options.json);
    let Some(pause) = options.watch else { return Ok(printed) };
    while printed == exit::DONE {
        let until = group.waiter().now() + pause.max(SHORTEST);
        group.waiter().wait(until, &Watch::Backoff);
        match group.ops().usage() {
            Ok(usage) => printed = print_usage(&usage, options.json),
            Err(error) if error.is_gone() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(printed)
}

/// Between two looks: `--watch 0` is no reason to keep a processor busy.
const SHORTEST: Duration = Duration::from_millis(10);

fn print_usage(usage: &Usage, as_json: bool) -> u8 {
    if as_json {
        output::print_json(USAGE, &UsageEntry::new(usage))
    } else {
        output::print(USAGE, &used(usage).to_string())
    }
}

const USAGE: &str = "the usage";

fn used(usage: &Usage) -> Table {
    let mut table = Table::default();
    let now =
        [("memory", usage.memory.map(stats::bytes)), ("pids", usage.pids.map(|n| n.to_string()))];
    let now = now.into_iter().filter_map(|(name, figure)| Some((name, figure?)));
    for (name, figure) in now.chain(stats::figures(usage)) {
        table.row([name, &figure]);
    }
    table
}
