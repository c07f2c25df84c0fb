//! `contain ps` and `contain stat`, and what is printed on stdout.

use std::io::Write as _;
use std::time::Duration;

use containment::{Error, Member, Operation, Result, Usage, Watch};
use serde::Serialize;

use super::open;
use super::options::{Ps, Stat};
use crate::cli::Global;
use crate::run::report::{UsageEntry, seconds};
use crate::run::stats;
use crate::table::Table;

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

/// Lists the members.
pub(super) fn ps(global: &Global, options: &Ps) -> Result<()> {
    let mut members = open(global, &options.name)?.ops().members()?;
    members.sort_by_key(|member| member.pid);
    let rows: Vec<_> = members.iter().map(Row::new).collect();
    if options.json { print_json(&rows) } else { print(&listed(&rows).to_string()) }
}

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

/// Shows what was used, once or for as long as the group is there.
pub(super) fn stat(global: &Global, options: &Stat) -> Result<()> {
    let group = open(global, &options.name)?;
    print_usage(&group.ops().usage()?, options.json)?;
    let Some(pause) = options.watch else { return Ok(()) };
    loop {
        let until = group.waiter().now() + pause.max(SHORTEST);
        group.waiter().wait(until, &Watch::Backoff);
        match group.ops().usage() {
            Ok(usage) => print_usage(&usage, options.json)?,
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Between two looks: `--watch 0` is no reason to keep a processor busy.
const SHORTEST: Duration = Duration::from_millis(10);

fn print_usage(usage: &Usage, as_json: bool) -> Result<()> {
    if as_json { print_json(&UsageEntry::new(usage)) } else { print(&used(usage).to_string()) }
}

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

/// Prints one document on one line.
pub(super) fn print_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(document).map_err(|error| unprinted(&error.into()))?;
    print(&format!("{text}\n"))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| unprinted(&error))
}

fn unprinted(error: &std::io::Error) -> Error {
    Error::from_io(Operation::Report, error)
        .because("stdout cannot be written to")
        .advise("check stdout")
}
