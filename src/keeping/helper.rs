//! The helper as its owner sees it: started once, asked for keepers, and started again when somebody
//! killed it.

use std::io::PipeWriter;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backend_pgrp::{KeeperSpawner, Order};
use containment_core::{
    Error, ErrorKind, GroupId, Operation, Pid, ProcessGroup, Program, Result, Signal, SignalSet,
    Stream, SystemWaiter, Waiter as _, Watch,
};
use containment_process::channel::Channel;
use containment_process::pidfd::{Look, PidFd, Waited};
use containment_process::session::own_process_group;
use containment_process::spawn::{Entry, Launch, Memory, spawn};

use super::messages::{Answer, END, Hello, VERSION, pid, read, write};
use super::order::{WrittenOrder, own_streams};
use super::serve::Role;
use crate::registry::{Process, Registry, WrittenId};

/// The helper of this process for one registry.
#[derive(Debug)]
pub(crate) struct Helper {
    program: PathBuf,
    role: Role,
    registry: Registry,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    process: PidFd,
    control: Channel,
    keepers: Vec<PidFd>,
    owner: Pid,
}

/// The helpers that this process has for a registry: one of each role, however many ask for it.
pub(crate) type Helpers = Arc<Mutex<Vec<(Role, Weak<Helper>)>>>;

/// How long a helper that has nothing left to do may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long its keepers may take to end once it is let go: who has learned how a program ended comes here while its keeper
/// does its last steps.
const MOMENT: Duration = Duration::from_millis(20);

/// Helpers that nobody asks for any more, and that have keepers still: children of ours, to be reaped one day.
static RETIRED: Mutex<Vec<PidFd>> = Mutex::new(Vec::new());

/// One more of them, if there is one; those that have ended meanwhile are reaped.
fn retire(process: Option<PidFd>) {
    let mut retired = RETIRED.lock().unwrap_or_else(PoisonError::into_inner);
    retired.extend(process);
    retired.retain(|process| matches!(process.try_wait(Look::Reap), Ok(Waited::Running)));
}

impl Helper {
    /// The helper of this role, which runs now.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn of(registry: &Registry, role: Role, program: &Path) -> Result<Arc<Self>> {
        let mut helpers = registry.helpers().lock().unwrap_or_else(PoisonError::into_inner);
        helpers.retain(|(_, helper)| helper.strong_count() > 0);
        let known = helpers.iter().find(|(known, _)| *known == role);
        if let Some(helper) = known.and_then(|(_, helper)| helper.upgrade()) {
            helper.stand()?;
            return Ok(helper);
        }
        let (program, registry) = (program.to_owned(), registry.clone());
        let helper = Arc::new(Self { program, role, registry, running: Mutex::default() });
        helper.stand()?;
        helpers.push((role, Arc::downgrade(&helper)));
        Ok(helper)
    }

    /// Sees to it that it runs: somebody may have killed it.
    pub(crate) fn stand(&self) -> Result<()> {
        self.running().map(drop)
    }

    fn running(&self) -> Result<MutexGuard<'_, Option<Running>>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = |running: &Running| running.process.has_ended().unwrap_or(true);
        if running.as_ref().is_none_or(lost) {
            *running = Some(self.start()?);
        }
        Ok(running)
    }

    fn start(&self) -> Result<Running> {
        retire(None);
        let failed = |error: std::io::Error| Error::from_io(Operation::Spawn, &error);
        if self.role == Role::Guard {
            // It is to stand beside the lock that tells that we live.
            self.registry.lock()?;
        }
        let owner = Process::current()?;
        let us = PidFd::open(Pid::current()).map_err(failed)?;
        let us = us.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let (control, theirs) = Channel::pair().map_err(failed)?;
        let state_dir = self.registry.path().to_string_lossy().into_owned();
        let hello = write(&Hello { version: VERSION, owner, state_dir }).map_err(failed)?;
        // It waits for it there: nothing has to be waited for here.
        control.send(&hello, &[us.as_fd(), self.registry.descriptor()]).map_err(failed)?;
        let end = theirs.as_fd().try_clone_to_owned().map_err(failed)?;
        let program = Program::new(&self.program)
            .arg(self.role.name())
            .stdin(Stream::from(end))
            .stdout(Stream::Null)
            .signal_mask(SignalSet::ALL);
        let (entry, memory) = (Entry::Nowhere, Memory::Share);
        let process_group = Some(0);
        let launch =
            Launch { program: &program, entry, process_group, mark: None, frozen: None, memory };
        let process = spawn(&launch).map_err(|failure| failure.into_error(&program))?;
        Ok(Running { process, control, keepers: Vec::new(), owner: Pid::current() })
    }

    /// Has a keeper made for a program, which tells over `line`.
    pub(super) fn order(
        &self,
        group: &GroupId,
        program: &Program,
        lasting: bool,
        line: BorrowedFd<'_>,
    ) -> Result<PidFd> {
        let process_group = match program.group() {
            // What outlives us is not in reach of what is sent to our process group.
            ProcessGroup::Auto | ProcessGroup::Lead => 0,
            ProcessGroup::Inherit => own_process_group().map_or(0, Pid::as_raw),
            ProcessGroup::Join(leader) => leader.as_raw(),
        };
        self.ask(&Order { program, process_group, group, lasting }, line)
            .map_err(|error| error.with_backend(group.backend).with_group(&group.name))
    }

    fn ask(&self, order: &Order<'_>, line: BorrowedFd<'_>) -> Result<PidFd> {
        let failed = |error: std::io::Error| Error::from_io(Operation::Spawn, &error);
        let ours = own_streams().map_err(failed)?;
        let group = WrittenId::new(order.group)
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, Operation::Spawn))?;
        let written =
            WrittenOrder::new(group, order.process_group, order.lasting, order.program, &ours);
        let (written, further) = written.map_err(failed)?;
        let descriptors: Vec<_> = [line].into_iter().chain(further).collect();
        let mut running = self.running()?;
        let Some(running) = running.as_mut() else {
            return Err(Error::new(ErrorKind::KeeperLost, Operation::Spawn));
        };
        written.send(&running.control, &descriptors).map_err(failed)?;
        let keeper = running.answer()?;
        running.keepers.retain(|keeper| !keeper.has_ended().unwrap_or(true));
        running.keepers.push(keeper.clone());
        Ok(keeper)
    }
}

impl Running {
    /// Whether its keepers have ended, or do so in a moment.
    fn keepers_end(&self, waiter: &SystemWaiter) -> bool {
        let until = waiter.now() + MOMENT;
        loop {
            let living = self.keepers.iter().filter(|keeper| !keeper.has_ended().unwrap_or(true));
            let living: Vec<_> = living.map(PidFd::source).collect();
            if living.is_empty() || waiter.now() >= until {
                return living.is_empty();
            }
            waiter.wait(until, &Watch::Sources(living));
        }
    }

    fn answer(&self) -> Result<PidFd> {
        let failed = |error: std::io::Error| Error::from_io(Operation::Spawn, &error);
        let lost = || {
            Error::new(ErrorKind::KeeperLost, Operation::Spawn)
                .because("the helper ended before it answered")
                .advise("name the contain binary of this version as the helper")
        };
        let message = self.control.receive().map_err(failed)?.ok_or_else(lost)?;
        match read(&message.text).map_err(failed)? {
            Answer::Keeper(raw) => {
                let descriptor = message.descriptors.into_iter().next().ok_or_else(lost)?;
                Ok(PidFd::from_fd(pid(raw).map_err(failed)?, descriptor))
            }
            Answer::Refused(error) => Err(error.read()),
        }
    }
}

impl KeeperSpawner for Helper {
    fn spawn_keeper(&self, order: &Order<'_>, pipe: PipeWriter) -> Result<PidFd> {
        self.ask(order, pipe.as_fd())
    }

    fn sub_reaper(&self) -> Pid {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map_or_else(Pid::current, |running| running.process.pid())
    }

    fn keepers(&self) -> Vec<Pid> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let living = |keeper: &&PidFd| !keeper.has_ended().unwrap_or(true);
        running.iter().flat_map(|r| r.keepers.iter().filter(living).map(PidFd::pid)).collect()
    }
}

impl Drop for Running {
    /// Lets it end, and reaps it, at once unless it has keepers still.
    fn drop(&mut self) {
        if self.owner != Pid::current() {
            return;
        }
        // A helper that cannot be told is gone, or ends with us.
        let _ = self.control.send(END, &[]);
        let waiter = SystemWaiter::new();
        if !self.keepers_end(&waiter) {
            return retire(Some(self.process.clone()));
        }
        waiter.wait(waiter.now() + PATIENCE, &Watch::Sources(vec![self.process.source()]));
        let ended = self.process.has_ended().and_then(|ended| {
            if !ended {
                self.process.signal(Signal::KILL)?;
            }
            self.process.wait()
        });
        if let Err(error) = ended {
            tracing::debug!(%error, "the helper was reaped by somebody else");
        }
    }
}
