//! The subcommands that act on a group by its name. Here each is led to its group, and its failure to an
//! exit status; what they do is in the files below.

mod act;
mod exec;
mod make;
pub(crate) mod options;
mod show;

use containment::registry::{Entry, Registry};
use containment::{Error, GroupName, OpenGroup, Result};

use crate::cli::Global;
use crate::{errors, exit};
use options::GroupCommand;

/// Does what the subcommand says; gives the exit status.
pub(crate) fn dispatch(global: &Global, command: &GroupCommand) -> u8 {
    match command {
        GroupCommand::Create(options) => told(make::create(global, options)),
        GroupCommand::Exec(options) => exec::exec(global, options),
        GroupCommand::Attach(options) => told_all(act::attach(global, options)),
        GroupCommand::Set(options) => told(act::set(global, options)),
        GroupCommand::Ps(options) => shown(show::ps(global, options)),
        GroupCommand::Stat(options) => shown(show::stat(global, options)),
        GroupCommand::Freeze(options) => told(act::freeze(global, options)),
        GroupCommand::Thaw(options) => told(act::thaw(global, options)),
        GroupCommand::Signal(options) => told(act::signal(global, options)),
        GroupCommand::Kill(options) => shown(act::kill(global, options)),
        GroupCommand::Rm(options) => told(make::remove(global, options)),
        GroupCommand::Wait(options) => act::wait(global, options),
    }
}

/// The group of that name, as the registry has it.
struct Found {
    registry: Registry,
    entry: Entry,
}

/// Every subcommand finds its group here.
fn find(global: &Global, name: &GroupName) -> Result<Found> {
    let registry = Registry::open(global.state_dir.as_deref())?;
    let entry = registry.find(name, global.backend.explicit())?;
    Ok(Found { registry, entry })
}

fn open(global: &Global, name: &GroupName) -> Result<OpenGroup> {
    let Found { registry, entry } = find(global, name)?;
    registry.open_existing(&entry)
}

fn told(done: Result<()>) -> u8 {
    shown(done.map(|()| exit::DONE))
}

/// The exit status of what was printed, or of a failure, which is told.
fn shown(printed: Result<u8>) -> u8 {
    printed.unwrap_or_else(|error| told_all(Ok(vec![error])))
}

/// Tells each failure; the first one gives the status.
fn told_all(failures: Result<Vec<Error>>) -> u8 {
    let failures = failures.unwrap_or_else(|error| vec![error]);
    failures.iter().for_each(errors::print);
    failures.first().map_or(exit::DONE, exit::of_group_failure)
}
