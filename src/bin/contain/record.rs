//! `contain ls` and `contain gc`: the groups on record.

use std::time::{SystemTime, UNIX_EPOCH};

use containment::registry::{Collected, Entry, KeptProgram, Owner, Registry};
use containment::{Error, FreezeState, GroupName, Result};
use serde::Serialize;

use crate::cli::{Gc, Global, Ls};
use crate::run::report::OutcomeEntry;
use crate::table::Table;
use crate::{errors, exit, output};

/// Lists the groups; gives the exit status.
pub(crate) fn ls(global: &Global, options: &Ls) -> u8 {
    let (rows, errors) = match rows(global) {
        Ok(found) => found,
        Err(error) => return errors::failed(&error),
    };
    let printed = if options.json {
        output::print_json(LIST, &rows)
    } else {
        output::print(LIST, &listed(&rows).to_string())
    };
    finish(printed, &errors)
}

/// Ends and removes what is nobody's; gives the exit status.
pub(crate) fn gc(global: &Global, options: &Gc) -> u8 {
    let registry = Registry::open(global.state_dir.as_deref());
    let collected = match registry.and_then(|registry| registry.collect(options.dry_run)) {
        Ok(collected) => collected,
        Err(error) => return errors::failed(&error),
    };
    if options.json {
        let printed = output::print_json(LIST, &CollectedEntry::new(&collected));
        return printed.max(status_of(&collected.errors));
    }
    let printed = output::print(LIST, &told(&collected, options.dry_run).to_string());
    finish(printed, &collected.errors)
}

const LIST: &str = "the list";

/// Tells each error on a line of its own, where stdout took what there is; gives the exit status.
fn finish(printed: u8, errors: &[Error]) -> u8 {
    if printed != exit::DONE {
        return printed;
    }
    errors.iter().for_each(errors::print);
    status_of(errors)
}

fn status_of(errors: &[Error]) -> u8 {
    errors.first().map_or(exit::DONE, exit::of_failure)
}

/// A group as `ls` shows it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: Option<String>,
    backend: &'static str,
    owner: &'static str,
    processes: Option<usize>,
    frozen: Option<bool>,
    age_seconds: u64,
    programs: Vec<ProgramEntry>,
}

fn rows(global: &Global) -> Result<(Vec<Row>, Vec<Error>)> {
    let registry = Registry::open(global.state_dir.as_deref())?;
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for entry in registry.entries()? {
        match entry.and_then(|entry| Row::new(&registry, &entry)) {
            Ok(row) => rows.push(row),
            Err(error) => errors.push(error),
        }
    }
    Ok((rows, errors))
}

/// A program that goes on without whoever started it, or went on; no outcome as long as it runs.
#[derive(Debug, Serialize)]
pub(crate) struct ProgramEntry {
    pid: i32,
    outcome: Option<OutcomeEntry>,
}

impl ProgramEntry {
    pub(crate) fn new(program: &KeptProgram) -> Self {
        Self { pid: program.process.pid, outcome: program.outcome.map(OutcomeEntry::new) }
    }
}

impl Row {
    fn new(registry: &Registry, entry: &Entry) -> Result<Self> {
        let group = match registry.open_group(entry) {
            Ok(group) => Some(group),
            // One that vanished meanwhile, or was never made, has nothing to show.
            Err(error) if error.is_gone() => None,
            Err(error) => {
                tracing::warn!("{}", errors::line(&error));
                None
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Self {
            name: entry.name.to_string(),
            id: entry.id().map(|id| id.to_string()),
            backend: entry.backend.name(),
            owner: match registry.owner(entry)? {
                Owner::Alive => "alive",
                Owner::Dead => "dead",
                Owner::None => "none",
            },
            processes: group.as_ref().and_then(|group| group.members().ok()).map(|all| all.len()),
            frozen: group
                .as_ref()
                .and_then(|group| group.frozen().ok())
                .map(|state| state == FreezeState::Frozen),
            age_seconds: now.saturating_sub(entry.created),
            programs: registry.programs(entry)?.iter().map(ProgramEntry::new).collect(),
        })
    }
}

fn listed(rows: &[Row]) -> Table {
    let mut table = Table::default();
    if !rows.is_empty() {
        table.row(["NAME", "BACKEND", "OWNER", "PROCESSES", "FROZEN", "AGE"]);
    }
    for row in rows {
        let processes = row.processes.map_or("-".to_owned(), |count| count.to_string());
        let frozen = row.frozen.map_or("-", |frozen| if frozen { "yes" } else { "no" });
        let age = format!("{} s", row.age_seconds);
        table.row([&row.name, row.backend, row.owner, &processes, frozen, &age]);
    }
    table
}

#[derive(Debug, Serialize)]
struct CollectedEntry {
    removed: Vec<String>,
    kept: Vec<String>,
    errors: Vec<String>,
}

impl CollectedEntry {
    fn new(collected: &Collected) -> Self {
        let names = |names: &[GroupName]| names.iter().map(ToString::to_string).collect();
        Self {
            removed: names(&collected.removed),
            kept: names(&collected.kept),
            errors: collected.errors.iter().map(errors::line).collect(),
        }
    }
}

fn told(collected: &Collected, dry_run: bool) -> Table {
    let mut table = Table::default();
    let removed = if dry_run { "would be removed" } else { "removed" };
    for (names, what) in [(&collected.removed, removed), (&collected.kept, "kept")] {
        for name in names {
            table.row([name.as_str(), what]);
        }
    }
    table
}
