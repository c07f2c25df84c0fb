//! The line to one keeper: its pipe, and what was heard over it.

use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use containment_core::{
    ChildOps, Error, ErrorKind, GroupId, Operation, Outcome, Pid, ProcessGroup, Program, Result,
    Signal, Source, Watch,
};
use containment_process::pidfd::{Look, PidFd, Waited};
use containment_process::proc::Stat;
use containment_process::rusage::CpuTime;
use containment_process::session::own_process_group;
use containment_process::worker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::keeper::{KeeperConfig, LET_GO, keep};
use crate::keepers::{KeeperSource, Order, Recorder};
use crate::message::Message;
use crate::tree::Trunk;

/// A keeper, and the program that it keeps.
#[derive(Debug)]
pub(crate) struct Line {
    keeper: PidFd,
    pipe: Arc<OwnedFd>,
    trunk: Trunk,
    /// The program, unless it had ended before it could be opened.
    program: Option<PidFd>,
    id: GroupId,
    /// Whether the keeper is a child of ours, which we reap.
    is_ours: bool,
    news: Mutex<News>,
}

/// What was heard so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    /// How the program ended.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) keeping: Keeping,
    keeper_reaped: bool,
}

/// How the keeping stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The keeper has members to keep.
    Goes,
    /// Every member has ended and was reaped.
    Over(CpuTime),
    /// The keeper ended without saying so: what it kept is ours now.
    Lost,
}

/// Why there is no line.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) error: Error,
    /// Whether the program may run all the same: then it descends from who adopts what a lost keeper leaves.
    pub(crate) may_run: bool,
}

impl Unopened {
    fn never(error: Error) -> Self {
        Self { error, may_run: false }
    }

    fn perhaps(error: Error) -> Self {
        Self { error, may_run: true }
    }
}

impl Line {
    /// Makes a keeper and lets it start the program.
    pub(crate) fn open(
        keepers: &KeeperSource,
        id: &GroupId,
        program: &Program,
        lasting: bool,
    ) -> std::result::Result<Self, Unopened> {
        let failed = |error: io::Error| Error::from_io(Operation::Spawn, &error);
        let (reader, writer) = io::pipe().map_err(failed).map_err(Unopened::never)?;
        let order = Order { program, process_group: process_group(program), group: id, lasting };
        let keeper = match keepers {
            KeeperSource::Own(recorder) => fork(order, recorder.clone(), writer),
            KeeperSource::Other(spawner) => spawner.spawn_keeper(&order, writer),
        };
        // Where it fails there may be a keeper all the same, without a descriptor of it.
        let keeper = keeper.map_err(Unopened::perhaps)?;
        let is_ours = matches!(keepers, KeeperSource::Own(_));
        let line = Self::told(&keeper, is_ours, reader, program, id);
        if line.is_err() {
            // It has ended, or is of no use: what it may have started is ours to end then.
            keeper.signal(Signal::KILL).map_err(failed).map_err(Unopened::perhaps)?;
            if is_ours {
                keeper.wait().map_err(failed).map_err(Unopened::perhaps)?;
            }
        }
        line
    }

    /// The line to a keeper, by what that says first.
    fn told(
        keeper: &PidFd,
        is_ours: bool,
        pipe: PipeReader,
        program: &Program,
        id: &GroupId,
    ) -> std::result::Result<Self, Unopened> {
        match first_message(&pipe, keeper) {
            Ok(Some(Message::Started(pid))) => {
                Self::new(keeper, is_ours, pipe, pid, program, id).map_err(Unopened::perhaps)
            }
            Ok(Some(Message::Failed(failure))) => Err(Unopened::never(failure.into_error(program))),
            Ok(_) => Err(Unopened::perhaps(Error::new(ErrorKind::KeeperLost, Operation::Spawn))),
            Err(error) => Err(Unopened::perhaps(Error::from_io(Operation::Spawn, &error))),
        }
    }

    fn new(
        keeper: &PidFd,
        is_ours: bool,
        pipe: PipeReader,
        pid: Pid,
        program: &Program,
        id: &GroupId,
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::from_io(Operation::Spawn, &error);
        rustix::io::ioctl_fionbio(&pipe, true).map_err(|errno| failed(errno.into()))?;
        let group = match program.group() {
            ProcessGroup::Auto | ProcessGroup::Lead => pid,
            ProcessGroup::Inherit => own_process_group().unwrap_or(pid),
            ProcessGroup::Join(leader) => leader,
        };
        Ok(Self {
            program: open_child_of(keeper, pid).map_err(failed)?,
            keeper: keeper.clone(),
            pipe: Arc::new(pipe.into()),
            trunk: Trunk { program: pid, group },
            id: id.clone(),
            is_ours,
            news: Mutex::new(News { outcome: None, keeping: Keeping::Goes, keeper_reaped: false }),
        })
    }

    pub(crate) fn keeper(&self) -> &PidFd {
        &self.keeper
    }

    /// The descriptors that it has open.
    pub(crate) fn handles(&self) -> Vec<RawFd> {
        let processes = self.program.iter().chain([&self.keeper]).map(AsRawFd::as_raw_fd);
        processes.chain([self.pipe.as_raw_fd()]).collect()
    }

    pub(crate) fn trunk(&self) -> Trunk {
        self.trunk
    }

    /// What to poll for news.
    pub(crate) fn source(&self) -> Source {
        Source::readable(Arc::clone(&self.pipe))
    }

    /// Signals the process group that the program leads, if it does: found by pidfd, even when the
    /// program has ended. Which group that was; before Linux 6.9 members are found one by one only.
    pub(crate) fn signal_process_group(&self, signal: Signal) -> Result<Option<Pid>> {
        let leads = self.trunk.group == self.trunk.program;
        let Some(program) = self.program.as_ref().filter(|_| leads) else { return Ok(None) };
        match program.signal_process_group(signal) {
            Ok(signalled) => Ok(signalled.then_some(self.trunk.group)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            // Every member is of another user; the pass over them reports each.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(self.error(Error::from_io(Operation::Signal, &error))),
        }
    }

    /// Takes in what the keeper has told meanwhile.
    pub(crate) fn listen(&self) -> Result<News> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        while news.keeping == Keeping::Goes {
            match Message::receive(&*self.pipe) {
                Ok(Some(Message::Ended(outcome))) => news.outcome = Some(outcome),
                Ok(Some(Message::Empty(cpu))) => news.keeping = Keeping::Over(cpu),
                Ok(Some(Message::Started(_) | Message::Failed(_)) | None) => {
                    news.keeping = Keeping::Lost;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A member may have stopped its keeper, which SIGCHLD tells us: it goes on.
                    let continued = self.keeper.signal(Signal::CONT);
                    continued.map_err(|e| self.error(Error::from_io(Operation::Wait, &e)))?;
                    break;
                }
                Err(error) => return Err(self.error(Error::from_io(Operation::Wait, &error))),
            }
        }
        Ok(*news)
    }

    /// What everybody used whom the keeper kept, once nothing is left of them and of it.
    pub(crate) fn used(&self) -> Option<CpuTime> {
        match self.listen().ok()?.keeping {
            Keeping::Over(cpu) => self.reap_keeper().ok()?.then_some(cpu),
            Keeping::Goes | Keeping::Lost => None,
        }
    }

    /// Tells the keeper to leave its group alone when we end.
    pub(crate) fn let_go(&self) {
        if let Err(error) = self.keeper.signal(LET_GO) {
            tracing::warn!(%error, group = %self.id.name, "the group will end with this process");
        }
    }

    /// Whether nothing is left of the keeper.
    pub(crate) fn is_keeper_reaped(&self) -> bool {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).keeper_reaped
    }

    /// Whether the keeper has ended, reaped or not.
    pub(crate) fn has_keeper_ended(&self) -> Result<bool> {
        let ended = if self.is_keeper_reaped() { Ok(true) } else { self.keeper.has_ended() };
        ended.map_err(|e| self.error(Error::from_io(Operation::Populated, &e)))
    }

    /// Reaps the keeper if it has ended; whether it is gone.
    pub(crate) fn reap_keeper(&self) -> Result<bool> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if !news.keeper_reaped {
            let gone = if self.is_ours {
                self.keeper.try_wait(Look::Reap).map(|waited| waited != Waited::Running)
            } else {
                self.keeper.has_ended()
            };
            news.keeper_reaped =
                gone.map_err(|e| self.error(Error::from_io(Operation::Reap, &e)))?;
        }
        Ok(news.keeper_reaped)
    }

    fn error(&self, error: Error) -> Error {
        error.with_backend(self.id.backend).with_group(&self.id.name).with_pid(self.trunk.program)
    }
}

/// The program at the end of a line.
#[derive(Debug)]
pub(crate) struct Kept(pub(crate) Arc<Line>);

impl ChildOps for Kept {
    fn pid(&self) -> Pid {
        self.0.trunk.program
    }

    fn try_wait(&self) -> Result<Option<Outcome>> {
        let news = self.0.listen()?;
        match (news.outcome, news.keeping) {
            (None, Keeping::Lost) => {
                let lost = self.0.error(Error::new(ErrorKind::KeeperLost, Operation::Wait));
                Err(lost.advise("somebody killed it; run the program again"))
            }
            (outcome, _) => Ok(outcome),
        }
    }

    fn watch(&self) -> Result<Watch> {
        Ok(Watch::Sources(vec![self.0.source()]))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let running = self.0.listen()?.outcome.is_none();
        let Some(program) = self.0.program.as_ref().filter(|_| running) else { return Ok(()) };
        let sent = program.signal(signal).map(drop);
        sent.map_err(|error| self.0.error(Error::from_io(Operation::Signal, &error)))
    }
}

/// A keeper that is a fork of this process.
fn fork(
    order: Order<'_>,
    recorder: Option<Arc<dyn Recorder>>,
    pipe: io::PipeWriter,
) -> Result<PidFd> {
    let failed = |error: io::Error| Error::from_io(Operation::Spawn, &error);
    let supervisor = PidFd::open(Pid::current()).map_err(failed)?;
    let supervisor = supervisor.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let config = KeeperConfig { order, supervisor, guardian: None, recorder };
    worker::fork(move || keep(config, pipe)).map_err(failed)
}

/// How long a keeper may take for its first word until it is taken for stopped.
const FIRST_WORD: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// What a keeper says first. Its own program may stop it before it has said it: it is told to go on.
fn first_message(pipe: &PipeReader, keeper: &PidFd) -> io::Result<Option<Message>> {
    loop {
        let mut ready = [PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut ready, Some(&FIRST_WORD)) {
            Ok(0) => drop(keeper.signal(Signal::CONT)?),
            Ok(_) => return Message::receive(pipe),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The argument of setpgid(2) for the program: 0 to lead a group of its own.
fn process_group(program: &Program) -> i32 {
    match program.group() {
        ProcessGroup::Auto | ProcessGroup::Lead => 0,
        // The keeper will not be in ours any more.
        ProcessGroup::Inherit => own_process_group().map_or(0, Pid::as_raw),
        ProcessGroup::Join(leader) => leader.as_raw(),
    }
}

/// Opens the process `pid`, if it is the child of `keeper` still: it may have ended and been reaped,
/// and its pid be another's.
fn open_child_of(keeper: &PidFd, pid: Pid) -> io::Result<Option<PidFd>> {
    let process = PidFd::open(pid)?;
    let parent = Stat::read(pid)?.map(|stat| stat.parent);
    Ok(process.filter(|_| parent == Some(keeper.pid().as_raw())))
}
