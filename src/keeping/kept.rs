//! A program in a cgroup that is started by a keeper, which waits for it and writes down how it ended: it
//! outlives this process, and its status does.

use std::borrow::Cow;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use containment_core::{
    ChildOps, Error, ErrorKind, GroupId, GroupOps, Operation, Outcome, Pid, Program, Result,
    Signal, SignalSet, SystemWaiter, Time, Waiter as _, Watch,
};
use containment_process::channel::{Channel, Message};
use containment_process::pidfd::{Look, PidFd, Waited};
use containment_process::signals::set_mask;
use containment_process::worker;
use rustix::process::setsid;

use super::helper::Helper;
use super::messages::{ProgramEvent, WrittenError, pid, read, write};
use crate::registry::{Registry, WrittenOutcome, warn};

/// Who makes keepers.
#[derive(Debug, Clone)]
pub(crate) enum Keep {
    /// This process, by forks: it has one thread.
    Fork,
    /// The helper.
    Helper(Arc<Helper>),
}

/// Has a keeper start a program in a group.
pub(crate) fn spawn_kept(
    keep: &Keep,
    group: &dyn GroupOps,
    registry: &Registry,
    program: &Program,
) -> Result<KeptChild> {
    let failed = |error: std::io::Error| {
        let error = Error::from_io(Operation::Spawn, &error);
        error.with_backend(group.id().backend).with_group(&group.id().name)
    };
    let (line, theirs) = Channel::pair().map_err(failed)?;
    let keeper = match keep {
        Keep::Fork => worker::fork(|| serve(group, registry, program, &theirs)).map_err(failed)?,
        Keep::Helper(helper) => helper.order(group.id(), program, true, theirs.as_fd())?,
    };
    drop(theirs);
    let is_ours = matches!(keep, Keep::Fork);
    let started = first_word(&line, group.id());
    let program = started.inspect_err(|_| {
        if is_ours {
            // It ends as soon as it has told.
            let _ = keeper.wait();
        }
    })?;
    let id = group.id().clone();
    Ok(KeptChild { program, keeper, line, is_ours, id, heard: Mutex::new(Heard::Nothing) })
}

fn first_word(line: &Channel, id: &GroupId) -> Result<PidFd> {
    let about = |error: Error| error.with_backend(id.backend).with_group(&id.name);
    let lost = || about(Error::new(ErrorKind::KeeperLost, Operation::Spawn));
    let failed = |error: std::io::Error| about(Error::from_io(Operation::Spawn, &error));
    let message = line.receive().map_err(failed)?.ok_or_else(lost)?;
    match read(&message.text).map_err(failed)? {
        ProgramEvent::Started(raw) => {
            let descriptor = message.descriptors.into_iter().next().ok_or_else(lost)?;
            Ok(PidFd::from_fd(pid(raw).map_err(failed)?, descriptor))
        }
        ProgramEvent::Failed(error) => Err(about(error.read())),
        ProgramEvent::Ended(_) => Err(lost()),
    }
}

/// A keeper's life, from the fork to its exit status.
pub(super) fn serve(
    group: &dyn GroupOps,
    registry: &Registry,
    program: &Program,
    line: &Channel,
) -> u8 {
    let Ok(inherited) = set_mask(SignalSet::ALL) else { return FAILED };
    let masked = match program.mask() {
        Some(_) => Cow::Borrowed(program),
        None => Cow::Owned(program.clone().signal_mask(inherited)),
    };
    let child = match group.spawn(&masked) {
        Ok(child) => child,
        Err(error) => {
            let told = write(&ProgramEvent::Failed(WrittenError::new(&error)));
            return told.and_then(|text| line.send(&text, &[])).map_or(FAILED, |()| 0);
        }
    };
    // Its directory and its streams are let go of first: nobody may have to wait for us.
    let kept = see_through(&*child, group.id(), registry, line);
    // What owns the descriptors that were closed must not close those that have their numbers now.
    std::mem::forget((masked, child));
    kept.map_or(FAILED, |()| 0)
}

/// The exit status of a keeper that could not do its work.
const FAILED: u8 = 125;

fn see_through(
    child: &dyn ChildOps,
    group: &GroupId,
    registry: &Registry,
    line: &Channel,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::from_io(Operation::Wait, &error);
    // Before it is told: whoever knows of the program finds it on record.
    warn(registry.note_started(&group.name, child.pid()));
    let process = PidFd::open(child.pid()).map_err(failed)?;
    let process = process.ok_or_else(|| Error::new(ErrorKind::StatusLost, Operation::Wait))?;
    let told = write(&ProgramEvent::Started(child.pid().as_raw())).map_err(failed)?;
    line.send(&told, &[process.as_fd()]).map_err(failed)?;
    // The terminal's signals are not for us, nor do we make its job seem to have a shell.
    let _ = setsid();
    worker::detach(&[line.as_fd(), process.as_fd(), registry.descriptor()]).map_err(failed)?;
    let on = Watch::Sources(vec![process.source()]);
    let waiter = SystemWaiter::new();
    loop {
        if let Waited::Ended(outcome) = process.try_wait(Look::Hold).map_err(failed)? {
            // Before it is reaped: until then its pid is its own.
            warn(registry.note_ended(&group.name, process.pid(), outcome));
            process.try_wait(Look::Reap).map_err(failed)?;
            return tell_end(line, outcome);
        }
        waiter.wait(Time::NEVER, &on);
    }
}

fn tell_end(line: &Channel, outcome: Outcome) -> Result<()> {
    let told = write(&ProgramEvent::Ended(WrittenOutcome::new(outcome)));
    match told.and_then(|text| line.send(&text, &[])) {
        // Whoever asked for the program has died.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        told => told.map_err(|error| Error::from_io(Operation::Wait, &error)),
    }
}

/// A program at the end of a line.
#[derive(Debug)]
pub(crate) struct KeptChild {
    program: PidFd,
    keeper: PidFd,
    line: Channel,
    /// Whether the keeper is a child of ours, which we reap.
    is_ours: bool,
    id: GroupId,
    heard: Mutex<Heard>,
}

#[derive(Debug, Clone, Copy)]
enum Heard {
    Nothing,
    Ended(Outcome),
    /// The keeper ended without having told.
    Lost,
}

impl KeptChild {
    fn listen(&self) -> Result<Heard> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*heard, Heard::Nothing) {
            return Ok(*heard);
        }
        *heard = match self.line.try_receive() {
            Ok(Some(Message { text, .. })) => {
                let event = read(&text).map_err(|error| self.error(&error))?;
                let outcome = if let ProgramEvent::Ended(end) = event { end.read() } else { None };
                outcome.map_or(Heard::Lost, Heard::Ended)
            }
            Ok(None) => Heard::Lost,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Heard::Nothing,
            Err(error) => return Err(self.error(&error)),
        };
        if self.is_ours && !matches!(*heard, Heard::Nothing) {
            // It has nothing left to do but to end.
            self.keeper.wait().map_err(|error| self.error(&error))?;
        }
        Ok(*heard)
    }

    fn error(&self, error: &std::io::Error) -> Error {
        self.describe(Error::from_io(Operation::Wait, error))
    }

    fn describe(&self, error: Error) -> Error {
        error.with_backend(self.id.backend).with_group(&self.id.name).with_pid(self.program.pid())
    }
}

impl ChildOps for KeptChild {
    fn pid(&self) -> Pid {
        self.program.pid()
    }

    fn try_wait(&self) -> Result<Option<Outcome>> {
        match self.listen()? {
            Heard::Nothing => Ok(None),
            Heard::Ended(outcome) => Ok(Some(outcome)),
            Heard::Lost if !self.program.has_ended().map_err(|e| self.error(&e))? => Ok(None),
            // Since Linux 6.15 the kernel tells it whoever reaped the program.
            Heard::Lost => match self.program.told_end().map_err(|e| self.error(&e))? {
                Some(outcome) => Ok(Some(outcome)),
                None => Err(self.describe(Error::new(ErrorKind::KeeperLost, Operation::Wait))),
            },
        }
    }

    fn watch(&self) -> Result<Watch> {
        let source = match self.listen()? {
            Heard::Lost => self.program.source(),
            Heard::Nothing | Heard::Ended(_) => self.line.source(),
        };
        Ok(Watch::Sources(vec![source]))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let sent = self.program.signal(signal).map(drop);
        sent.map_err(|error| self.error(&error).during(Operation::Signal))
    }
}
