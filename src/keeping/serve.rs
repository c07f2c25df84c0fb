//! The helper's life: it waits for orders, for its owner's death, and for the ends of its keepers.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use backend_pgrp::{KeeperConfig, Order, Recorder};
use containment_core::{
    Backend, Backoff, Error, ErrorKind, GroupName, Operation, Pid, Program, Result, Signal,
    SignalSet, SystemWaiter, Time, Waiter as _, Watch,
};
use containment_process::channel::{Channel, Message};
use containment_process::code::release_code;
use containment_process::pidfd::PidFd;
use containment_process::reap::{Children, become_sub_reaper, reap_children};
use containment_process::signals::{Inbox, set_mask};
use containment_process::spawn::make_ready;
use containment_process::worker;
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use super::kept;
use super::messages::{Answer, END, Hello, ProgramEvent, VERSION, WrittenError, pid, read, write};
use super::order::WrittenOrder;
use crate::registry::{OwnerLock, Process, Registry};
use crate::sweep::end_descendants;

/// What becomes of groups when the process that the helper works for dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// They are ended and removed: `contain guard`.
    Guard,
    /// They go on, and how their programs end is written down: `contain keep`.
    Keep,
}

impl Role {
    /// The subcommand that is this.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Keep => "keep",
        }
    }
}

/// Works as the helper of the process that started this one, with a socket as standard input, until there
/// is nothing left to do. For single-threaded programs.
///
/// ```
/// use containment::{ErrorKind, Role, serve};
/// assert_eq!((Role::Guard.name(), Role::Keep.name()), ("guard", "keep"));
/// let error = serve(Role::Keep).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput, "nobody has started this process as a helper");
/// ```
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) when this process was not started as a helper; what could not be
/// ended of a dead owner's groups.
pub fn serve(role: Role) -> Result<()> {
    let failed = |error: io::Error| Error::from_io(Operation::Serve, &error);
    let control = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    // On what is no line of a supervisor's there may never come a message.
    if !matches!(socket_type(&control), Ok(SocketType::SEQPACKET)) {
        return Err(not_a_helper());
    }
    let server = Server::begin(role, Channel::adopt(control))?;
    server.run()
}

#[derive(Debug)]
struct Server {
    role: Role,
    control: Channel,
    owner: Process,
    supervisor: PidFd,
    /// Ourselves, for keepers.
    own: PidFd,
    registry: Registry,
    /// Beside our owner's.
    _lock: Option<OwnerLock>,
    inbox: Inbox,
    /// Whether our owner said that it needs us no more. The end of its line alone may be its death, which
    /// closes its descriptors before it is announced.
    dismissed: Cell<bool>,
}

/// How long what cannot be ended is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing has to happen until memory is given back. Who starts a program now and then finds the code there.
const QUIET: Duration = Duration::from_secs(10);

/// What there is to do next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Recover,
    End,
}

impl Server {
    fn begin(role: Role, control: Channel) -> Result<Self> {
        let failed = |error: io::Error| Error::from_io(Operation::Serve, &error);
        set_mask(SignalSet::ALL).map_err(failed)?;
        let (hello, [supervisor, state_dir]) = greeting(&control)?;
        let supervisor = PidFd::from_fd(pid(hello.owner.pid).map_err(failed)?, supervisor);
        let registry = Registry::adopt(state_dir, hello.state_dir.as_ref())?;
        let lock = match role {
            Role::Guard => registry.stand_beside(hello.owner)?,
            Role::Keep => None,
        };
        let own = PidFd::open(Pid::current()).map_err(failed)?.ok_or_else(not_a_helper)?;
        let mut kept =
            vec![control.as_fd(), supervisor.as_fd(), own.as_fd(), registry.descriptor()];
        kept.extend(lock.iter().map(OwnerLock::descriptor));
        worker::detach(&kept).map_err(failed)?;
        become_sub_reaper().map_err(failed)?;
        // The keepers'.
        make_ready().map_err(failed)?;
        let inbox = Inbox::open_all(SignalSet::default().with(Signal::CHLD)).map_err(failed)?;
        let owner = hello.owner;
        Ok(Self {
            role,
            control,
            owner,
            supervisor,
            own,
            registry,
            _lock: lock,
            inbox,
            dismissed: Cell::new(false),
        })
    }

    fn run(&self) -> Result<()> {
        let waiter = SystemWaiter::new();
        let mut asked = true;
        loop {
            asked = asked && self.answer_next();
            let orphaned = self.is_orphaned();
            match self.next(orphaned)? {
                Next::Wait => {
                    let mut sources = vec![self.inbox.source()];
                    // A dead owner's pidfd is ready for ever.
                    sources.extend((!orphaned).then(|| self.supervisor.source()));
                    sources.extend(asked.then(|| self.control.source()));
                    wait(&waiter, &Watch::Sources(sources));
                }
                Next::Recover => return self.recover(),
                Next::End => return Ok(()),
            }
        }
    }

    fn next(&self, orphaned: bool) -> Result<Next> {
        let children = self.reap()?;
        Ok(match (orphaned, self.role) {
            (true, Role::Guard) => Next::Recover,
            (true, Role::Keep) if !children => Next::End,
            (false, _) if self.dismissed.get() && !children => Next::End,
            _ => Next::Wait,
        })
    }

    /// What cannot be read is no death.
    fn is_orphaned(&self) -> bool {
        self.supervisor.has_ended().unwrap_or(false)
    }

    /// Reaps who has ended; whether there are children left.
    fn reap(&self) -> Result<bool> {
        let failed = |error: io::Error| Error::from_io(Operation::Reap, &error);
        while self.inbox.next().map_err(failed)?.is_some() {}
        loop {
            match reap_children(None).map_err(failed)? {
                Children::Behind => {}
                children => return Ok(children != Children::None),
            }
        }
    }

    /// Answers what was asked, if something was; whether more may come. What else was asked is there to be waited
    /// for: a keeper that was just forked has the CPU the sooner.
    fn answer_next(&self) -> bool {
        let forked = match self.control.try_receive() {
            Ok(Some(message)) if message.text == END => {
                self.dismissed.set(true);
                return false;
            }
            Ok(Some(message)) => self.fork_keeper(message),
            Ok(None) => return false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // Whoever asked waits for an answer.
            Err(error) => Err(Error::from_io(Operation::Spawn, &error)),
        };
        let answer = match &forked {
            Ok(keeper) => Answer::Keeper(keeper.pid().as_raw()),
            Err(error) => Answer::Refused(WrittenError::new(error)),
        };
        let descriptors: Vec<_> = forked.iter().map(PidFd::as_fd).collect();
        self.answer(&answer, &descriptors)
    }

    /// Whether whoever asked could be answered.
    fn answer(&self, answer: &Answer, descriptors: &[BorrowedFd<'_>]) -> bool {
        let sent = write(answer).and_then(|text| self.control.send(&text, descriptors));
        sent.is_ok()
    }

    /// Makes a keeper.
    fn fork_keeper(&self, message: Message) -> Result<PidFd> {
        let failed = |error: io::Error| Error::from_io(Operation::Spawn, &error);
        let malformed = || failed(io::ErrorKind::InvalidData.into());
        let (order, mut descriptors) = WrittenOrder::receive(message).map_err(failed)?;
        let line = descriptors.next().ok_or_else(malformed)?;
        let program = order.program(descriptors.collect()).ok_or_else(malformed)?;
        let (process_group, lasting) = (order.process_group, order.lasting);
        let group = order.group.read().ok_or_else(malformed)?;
        if group.backend == Backend::ProcessGroup {
            let order = Order { program: &program, process_group, group: &group, lasting };
            let recorder = lasting.then(|| Arc::new(self.registry.clone()) as Arc<dyn Recorder>);
            let supervisor = self.supervisor.clone();
            let guardian = Some(self.own.clone()).filter(|_| self.role == Role::Guard);
            let config = KeeperConfig { order, supervisor, guardian, recorder };
            return worker::fork(move || backend_pgrp::keep(config, line.into())).map_err(failed);
        }
        let line = Channel::adopt(line);
        worker::fork(|| self.keep_in(&group.name, &program, &line)).map_err(failed)
    }

    /// The life of a keeper of a program in a cgroup.
    fn keep_in(&self, name: &GroupName, program: &Program, line: &Channel) -> u8 {
        let found = self.registry.find(name, None);
        let group = match found.and_then(|entry| self.registry.open_group(&entry)) {
            Ok(group) => group,
            Err(error) => {
                let told = write(&ProgramEvent::Failed(WrittenError::new(&error)));
                return u8::from(told.and_then(|text| line.send(&text, &[])).is_err());
            }
        };
        let status = kept::serve(&*group, &self.registry, program, line);
        // Its descriptors were closed, and their numbers may be others' by now.
        std::mem::forget(group);
        status
    }

    /// Ends what the dead owner left: what its keepers keep, with them, and its groups. What fails is tried
    /// again for a while: nobody else is there to do it.
    fn recover(&self) -> Result<()> {
        let waiter = SystemWaiter::new();
        let give_up = waiter.now() + PATIENCE;
        let mut pauses = Backoff::default();
        loop {
            let failure = match self.recover_once() {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let now = waiter.now();
            if now >= give_up {
                return Err(failure);
            }
            waiter.wait(pauses.bound(now, give_up, &Watch::Backoff), &Watch::Backoff);
        }
    }

    fn recover_once(&self) -> Result<()> {
        let name: GroupName = "guard".parse().expect("letters make a name");
        let swept = end_descendants(&name, None);
        let collected = self.registry.collect_of(self.owner)?;
        let errors = swept?.errors.into_iter().chain(collected.errors);
        errors.into_iter().next().map_or(Ok(()), Err)
    }
}

/// The first message, with the pidfd and the directory that come with it.
fn greeting(control: &Channel) -> Result<(Hello, [OwnedFd; 2])> {
    let message = control.receive().ok().flatten().ok_or_else(not_a_helper)?;
    let hello: Hello = read(&message.text).map_err(|_| not_a_helper())?;
    if hello.version != VERSION {
        return Err(another_version());
    }
    let descriptors = message.descriptors.try_into().map_err(|_| not_a_helper())?;
    Ok((hello, descriptors))
}

/// Waits until something happens. When nothing does for a while, the code that the start, or the last
/// order, took is given back first.
fn wait(waiter: &SystemWaiter, on: &Watch) {
    let until = waiter.now() + QUIET;
    waiter.wait(until, on);
    if waiter.now() < until {
        return;
    }
    if let Err(error) = release_code() {
        tracing::debug!(%error, "the helper keeps the memory that its start took");
    }
    waiter.wait(Time::NEVER, on);
}

fn not_a_helper() -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Serve)
        .because("programs that use the library start it, and talk to it over its standard input")
        .advise(
            "to run a program, type contain run; to have a library use this one: \
             Containment::builder().helper(path)",
        )
}

fn another_version() -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Serve)
        .because("who started it uses another version of the library")
        .advise("name the contain binary of the library's version as the helper")
}
