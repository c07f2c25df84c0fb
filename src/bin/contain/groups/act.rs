//! What is done to a group and its members.

use containment::{
    Error, ErrorKind, FreezeGuard, OpenGroup, Operation, Policy, Result, TeardownReport,
};

use super::options::{Attach, Freeze, Kill, Send, Set, Thaw, Wait};
use super::{Found, find, open, shown, told};
use crate::cli::Global;
use crate::record::ProgramEntry;
use crate::run::report::TeardownEntry;
use crate::{exit, output};

/// Moves processes in, also where one cannot be; gives the failures.
pub(super) fn attach(global: &Global, options: &Attach) -> Result<Vec<Error>> {
    let group = open(global, &options.name)?;
    let mut attached = group.attach(options.pids.iter().copied());
    attached.failed.extend(attached.gone.iter().map(|pid| {
        Error::new(ErrorKind::NotFound, Operation::Attach)
            .with_group(&options.name)
            .with_pid(*pid)
            .because("it has ended")
            .advise("check the pid")
    }));
    Ok(attached.failed)
}

pub(super) fn set(global: &Global, options: &Set) -> Result<()> {
    open(global, &options.name)?.set_limits(&options.limits.limits()?)
}

pub(super) fn freeze(global: &Global, options: &Freeze) -> Result<()> {
    let group = open(global, &options.name)?;
    let frozen = group.freeze(options.timeout).map(FreezeGuard::keep).map_err(Error::from);
    frozen.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => {
            error.advise("it was thawed again; give it more time with --timeout")
        }
        _ => error,
    })
}

pub(super) fn thaw(global: &Global, options: &Thaw) -> Result<()> {
    open(global, &options.name)?.thaw()
}

pub(super) fn signal(global: &Global, options: &Send) -> Result<()> {
    open(global, &options.name)?.signal(options.signal).map(drop)
}

/// Kills; gives the exit status.
pub(super) fn kill(global: &Global, options: &Kill) -> Result<u8> {
    let group = open(global, &options.name)?;
    let report = group.kill(Policy::graceful(options.grace));
    let printed = if options.json {
        output::print_json("the teardown", &TeardownEntry::new(&report))
    } else {
        exit::DONE
    };
    if report.emptied { Ok(printed) } else { Err(survived(&group, report)) }
}

/// Why the group is not empty: what was in the way of the kill, or who outlived it.
fn survived(group: &OpenGroup, report: TeardownReport) -> Error {
    let named = report.survivors.iter().take(8);
    let named = named.map(|m| format!("{} {} ({})", m.pid, m.comm, m.state));
    let named = named.collect::<Vec<_>>().join(", ");
    let own = |error: &Error| error.kind() == ErrorKind::HoldsCaller;
    let mut errors = report.errors.into_iter();
    match errors.find(|error| own(error) || named.is_empty()) {
        // Whatever was tried first.
        Some(error) if own(&error) => {
            error.during(Operation::Kill).advise("run contain outside of the group")
        }
        Some(error) => error,
        None => Error::new(ErrorKind::TimedOut, Operation::Kill)
            .with_group(&group.id().name)
            .because(format!("still alive: {named}"))
            .advise("look at what holds them (/proc/PID/stack), and try again"),
    }
}

/// Waits; gives the exit status.
pub(super) fn wait(global: &Global, options: &Wait) -> u8 {
    let waited = find(global, &options.name).and_then(|found| {
        found.registry.open_existing(&found.entry)?.wait_empty(options.timeout)?;
        if options.json { print_statuses(&found) } else { Ok(exit::DONE) }
    });
    match waited {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            let error = error
                .because("it is not empty yet")
                .advise("give it more time, or end it: contain kill");
            told(Err(error)).max(exit::TIMED_OUT)
        }
        waited => shown(waited),
    }
}

/// Prints how the programs on record ended; the last one's end may be written down a moment after the group is
/// empty, so it is waited for. Gives the exit status.
fn print_statuses(found: &Found) -> Result<u8> {
    let Found { registry, entry } = found;
    for program in registry.reopen(entry)?.1 {
        match program.wait() {
            // It has none, which the document says.
            Err(error) if error.kind() == ErrorKind::StatusLost => {}
            waited => drop(waited?),
        }
    }
    let programs = registry.programs(entry)?;
    let ended: Vec<_> = programs.iter().map(ProgramEntry::new).collect();
    Ok(output::print_json("the programs", &ended))
}
