//! `contain exec`: a program in an existing group, until the program has ended. What it leaves belongs to
//! the group, and so does the program itself, should we be killed.

use containment::registry::Entry;
use containment::{
    Backend, Backoff, Child, Error, ErrorKind, OpenGroup, Operation, Outcome, Program, Result,
    Signal, SignalSet, Time, Waiter, Watch, with_group_variable,
};
use containment_process::signals::{Inbox, Received};

use super::options::Exec;
use super::{Found, find};
use crate::cli::Global;
use crate::run::program::named;
use crate::{errors, exit};

/// Runs the program; gives the exit status.
pub(super) fn exec(global: &Global, options: &Exec) -> u8 {
    match run(global, options) {
        Ok(outcome) => exit::of_shell_status(outcome.shell_status()),
        Err(error) => {
            errors::print(&error);
            exit::of_failed_exec(&error)
        }
    }
}

fn run(global: &Global, options: &Exec) -> Result<Outcome> {
    let Found { registry, entry } = find(global, &options.name)?;
    if entry.backend == Backend::ProcessGroup {
        return Err(closed(&entry));
    }
    let group = registry.open_existing(&entry)?;
    // Before the program exists: no signal for it may end us, and no end of it be missed.
    // SIGCHLD besides: where it was ignored, the kernel would keep no status.
    let inbox = Inbox::open(passed_on().into_iter().chain([Signal::CHLD]).collect());
    let inbox = inbox
        .map_err(|error| Error::from_io(Operation::Spawn, &error).with_group(&options.name))?;
    let child = group.spawn(&program(options, &group, inbox.original_mask())?)?;
    see_through(&child, &inbox, &**group.waiter())
}

fn closed(entry: &Entry) -> Error {
    Error::new(ErrorKind::Unsupported, Operation::Spawn)
        .with_backend(entry.backend)
        .with_group(&entry.name)
        .because("only what its own program starts gets into a process group")
        .advise("make a group of a cgroup backend with contain create")
}

fn program(options: &Exec, group: &OpenGroup, mask: SignalSet) -> Result<Program> {
    let program = named(&options.program)?.signal_mask(mask);
    Ok(with_group_variable(program, group.id()))
}

/// The signals that we take by reading. The others do what they do by default: a terminal's Ctrl-Z stops
/// us with the rest of the job.
fn passed_on() -> [Signal; 8] {
    use Signal as S;
    [S::TERM, S::INT, S::HUP, S::QUIT, S::USR1, S::USR2, S::WINCH, S::CONT]
}

/// Waits for the end of the program, and passes signals on until then.
fn see_through(child: &Child, inbox: &Inbox, waiter: &dyn Waiter) -> Result<Outcome> {
    let mut pauses = Backoff::default();
    loop {
        // Watch, then read, then wait: an end in between makes the watch ready.
        // Without a descriptor to spare (EMFILE) there are still pauses.
        let watch = child.watch().unwrap_or(Watch::Backoff);
        deliver(child, inbox);
        if let Some(outcome) = child.try_wait()? {
            return Ok(outcome);
        }
        let until = pauses.bound(waiter.now(), Time::NEVER, &watch);
        let mut sources = vec![inbox.source()];
        if let Watch::Sources(of_child) = watch {
            sources.extend(of_child);
        }
        waiter.wait(until, &Watch::Sources(sources));
    }
}

fn deliver(child: &Child, inbox: &Inbox) {
    loop {
        match inbox.next() {
            Ok(Some(Received { signal: Signal::CHLD, .. })) => {}
            Ok(Some(received)) if is_for_the_program_alone(received) => {
                if let Err(error) = child.signal(received.signal) {
                    tracing::warn!(%error, signal = %received.signal, "a signal could not be passed on");
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "signals to contain cannot be read");
                return;
            }
        }
    }
}

/// What the terminal sends goes to its whole foreground process group, the program as well as us.
fn is_for_the_program_alone(received: Received) -> bool {
    let to_the_job = matches!(received.signal, Signal::INT | Signal::QUIT | Signal::WINCH);
    !(received.from_kernel && to_the_job)
}
