//! The keeper: a small process that starts the program, adopts and reaps whatever it leaves, tells
//! its supervisor, and ends everything when the supervisor dies.
//!
//! It has a process group of its own, works in `/`, blocks every signal but SIGCONT and those that cannot be
//! blocked, and holds no descriptor of the program's. It ends when its last child was reaped.

use std::borrow::Cow;
use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use containment_core::{
    Capabilities, Change, Error, ErrorKind, FreezeState, GroupId, GroupOps, KillStep, Member,
    Operation, Pid, Policy, Reaped, Result, Signal, SignalSet, Signalled, SystemWaiter, Teardown,
    Time, Usage, Waiter, Watch,
};
use containment_process::pidfd::{Look, PidFd, Waited};
use containment_process::proc::Stat;
use containment_process::reap::{Children, become_sub_reaper, reap_children};
use containment_process::session::has_no_terminal;
use containment_process::signals::{Inbox, only_continue, set_mask};
use containment_process::spawn::{Entry, Failure, Launch, Memory, spawn};
use containment_process::{rusage, worker};
use rustix::process::{setpgid, setsid};

use crate::capabilities;
use crate::keepers::{Order, Recorder};
use crate::lacking::{OfProcesses, lacking, starts_nothing};
use crate::message::Message;
use crate::tree::{Struck, Tree};

/// What a keeper is told when it is made.
#[derive(Debug)]
pub struct KeeperConfig<'a> {
    /// What it is to keep.
    pub order: Order<'a>,
    /// Whose end is the group's, unless that let go of it.
    pub supervisor: PidFd,
    /// Who ends the group when the supervisor has died, for as long as it lives: one pass over all of its
    /// groups is less than one pass of each keeper.
    pub guardian: Option<PidFd>,
    /// Who writes down what becomes of the program.
    pub recorder: Option<Arc<dyn Recorder>>,
}

/// The signal by which its supervisor tells a keeper that the group is to outlive it. A real-time signal:
/// each is queued, so that none that somebody else sends takes its place (signal(7)).
pub(crate) const LET_GO: Signal = Signal::new(64).expect("there are 64 signals");

/// The exit status of a keeper that could not do its work.
const FAILED: u8 = 125;

/// The keeper's life, from the fork to its exit status. The program's signal mask is that of the calling
/// thread unless it has one of its own.
pub fn keep(config: KeeperConfig<'_>, pipe: PipeWriter) -> u8 {
    match Keeper::begin(config, pipe) {
        Ok(Some(keeper)) => keeper.keep().map_or(FAILED, |()| 0),
        Ok(None) => 0,
        Err(_) => FAILED,
    }
}

#[derive(Debug)]
struct Keeper {
    pipe: PipeWriter,
    inbox: Inbox,
    supervisor: PidFd,
    guardian: Option<PidFd>,
    program: PidFd,
    /// Whether the program's end was told.
    told: AtomicBool,
    /// Whether the group is to outlive the supervisor.
    let_go: AtomicBool,
    recorder: Option<Arc<dyn Recorder>>,
    id: GroupId,
    capabilities: Capabilities,
}

impl Keeper {
    /// Starts the program and tells it. `None` when the program does not run, which was told.
    fn begin(config: KeeperConfig<'_>, pipe: PipeWriter) -> io::Result<Option<Self>> {
        let inherited = set_mask(SignalSet::ALL)?;
        become_sub_reaper()?;
        let orphaned = is_orphaned(config.supervisor.pid())?;
        if !orphaned {
            // First of all: what is sent to the supervisor's process group is not for us.
            setpgid(None, None)?;
        }
        let program = match start(&config.order, inherited) {
            Ok(program) => program,
            Err(failure) => {
                Message::send(&[Message::Failed(failure)], pipe.as_fd())?;
                return Ok(None);
            }
        };
        if let Some(recorder) = &config.recorder {
            // Before it is told: whoever knows of the program finds it on record.
            recorder.started(config.order.group, program.pid());
        }
        Message::send(&[Message::Started(program.pid())], pipe.as_fd())?;
        if orphaned {
            // To the terminal all stays as it was without us: a process group that nobody in its session
            // would continue is not stopped by Ctrl-Z, and we, the program's parent, must not seem to be
            // somebody who would. Before its start the program could not have joined the group.
            setsid()?;
        }
        Self::of(program, config, pipe).map(Some)
    }

    /// The keeper of a program that runs: lets go of everything that is not needed to keep it.
    fn of(program: PidFd, config: KeeperConfig<'_>, pipe: PipeWriter) -> io::Result<Self> {
        let KeeperConfig { order, supervisor, guardian, recorder } = config;
        let mut handles = vec![pipe.as_fd(), supervisor.as_fd(), program.as_fd()];
        handles.extend(guardian.iter().map(PidFd::as_fd));
        handles.extend(recorder.iter().flat_map(|recorder| recorder.handles()));
        worker::detach(&handles)?;
        let inbox = Inbox::open_all(SignalSet::default().with(Signal::CHLD).with(LET_GO))?;
        // Its supervisor sends it whenever it has heard nothing.
        only_continue()?;
        let [told, let_go] = [false, order.lasting].map(AtomicBool::new);
        Ok(Self {
            pipe,
            inbox,
            supervisor,
            guardian,
            program,
            told,
            let_go,
            recorder,
            id: order.group.clone(),
            capabilities: capabilities(crate::Keeper::Worker),
        })
    }

    /// Reaps and tells until nothing is left; ends the group when the supervisor has died, unless that
    /// let go of it. A supervisor that lives does the rest for a keeper that fails; for a dead one
    /// nobody would.
    fn keep(&self) -> io::Result<()> {
        let waiter = SystemWaiter::new();
        let kept = self.attend(&waiter);
        let alone = || self.supervisor.has_ended().unwrap_or(true);
        match kept {
            Err(_) if !self.let_go.load(Ordering::Relaxed) && alone() => self.end_all(&waiter),
            kept => kept,
        }
    }

    fn attend(&self, waiter: &SystemWaiter) -> io::Result<()> {
        loop {
            // Before the inbox is read: what a supervisor told before it died is in there by then.
            let orphaned = self.supervisor.has_ended()?;
            let children = self.look()?;
            if children == Children::None {
                return Ok(());
            }
            let mut sources = vec![self.inbox.source()];
            if !self.let_go.load(Ordering::Relaxed) {
                match &self.guardian {
                    _ if !orphaned => sources.push(self.supervisor.source()),
                    Some(guardian) if !guardian.has_ended()? => sources.push(guardian.source()),
                    _ => return self.end_all(waiter),
                }
            }
            // What is left to reap is announced no more.
            let until = if children == Children::Behind { Time::ZERO } else { Time::NEVER };
            waiter.wait(until, &Watch::Sources(sources));
        }
    }

    fn end_all(&self, waiter: &SystemWaiter) -> io::Result<()> {
        let report = Teardown::new(Policy::kill()).run(self, waiter);
        if report.is_clean() { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    /// Reaps whoever has ended and tells what is news: the program's end, and that nobody is left;
    /// both at once where they come together, so that the supervisor wakes up once. The inbox is
    /// emptied first: an end after that fills it again.
    fn look(&self) -> io::Result<Children> {
        while let Some(received) = self.inbox.next()? {
            if received.signal == LET_GO && received.sender == Some(self.supervisor.pid()) {
                self.let_go.store(true, Ordering::Relaxed);
            }
        }
        let mut news = Vec::new();
        if !self.told.load(Ordering::Relaxed)
            && let Waited::Ended(outcome) = self.program.try_wait(Look::Hold)?
        {
            if let Some(recorder) = &self.recorder {
                // Before it is reaped: until then its pid is its own, and the next one can still ask.
                recorder.ended(&self.id, self.program.pid(), outcome);
            }
            self.program.try_wait(Look::Reap)?;
            self.told.store(true, Ordering::Relaxed);
            news.push(Message::Ended(outcome));
        }
        let held = (!self.told.load(Ordering::Relaxed)).then(|| self.program.pid());
        let children = reap_children(held)?;
        if children == Children::None {
            news.push(Message::Empty(rusage::of_reaped_children()?));
        }
        match Message::send(&news, self.pipe.as_fd()) {
            // The supervisor has died, and nobody listens any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            told => told?,
        }
        Ok(children)
    }

    fn tree() -> Tree {
        Tree { roots: vec![Pid::current()], except: Vec::new(), others: Vec::new() }
    }
}

/// Whether no member of a process's group, from that process up, has a parent in another group of the
/// same session: it is orphaned (credentials(7)). Without a terminal it does not matter.
fn is_orphaned(member: Pid) -> io::Result<bool> {
    if has_no_terminal(member) {
        return Ok(false);
    }
    let Some(member) = Stat::read(member)? else { return Ok(true) };
    if member.tty == 0 {
        return Ok(false);
    }
    let mut above = member.parent;
    loop {
        let parent = Pid::new(above).map(Stat::read).transpose()?.flatten();
        let Some(parent) = parent.filter(|parent| parent.session == member.session) else {
            return Ok(true);
        };
        if parent.group != member.group {
            return Ok(false);
        }
        above = parent.parent;
    }
}

fn start(order: &Order<'_>, inherited: SignalSet) -> Result<PidFd, Failure> {
    let program = match order.program.mask() {
        Some(_) => Cow::Borrowed(order.program),
        None => Cow::Owned(order.program.clone().signal_mask(inherited)),
    };
    spawn(&Launch {
        program: &program,
        entry: Entry::Nowhere,
        process_group: Some(order.process_group),
        mark: None,
        frozen: None,
        memory: Memory::Share,
    })
}

impl OfProcesses for Keeper {
    fn present(&self, _: Operation) -> Result<()> {
        Ok(())
    }

    fn describe(&self, error: Error) -> Error {
        error
    }
}

/// What the teardown of an orphaned group needs; nobody can ask a keeper for anything else.
impl GroupOps for Keeper {
    fn id(&self) -> &GroupId {
        &self.id
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    lacking!();
    starts_nothing!();

    fn handles(&self) -> Vec<RawFd> {
        let processes = [&self.supervisor, &self.program].into_iter().chain(&self.guardian);
        processes.map(AsRawFd::as_raw_fd).chain([self.pipe.as_raw_fd()]).collect()
    }

    fn members(&self) -> Result<Vec<Member>> {
        Self::tree().members(&[], Operation::Members)
    }

    fn populated(&self) -> Result<bool> {
        let children = self.look().map_err(|error| Error::from_io(Operation::Populated, &error))?;
        Ok(children != Children::None)
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        Self::tree().signal(signal, &[], &Struck::default())
    }

    fn kill(&self) -> Result<KillStep> {
        self.signal(Signal::KILL).map(KillStep::Signalled)
    }

    fn frozen(&self) -> Result<FreezeState> {
        Self::tree().frozen()
    }

    fn request_freeze(&self) -> Result<()> {
        self.signal(Signal::STOP).map(drop)
    }

    fn request_thaw(&self) -> Result<()> {
        self.signal(Signal::CONT).map(drop)
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        match change {
            // Its inbox tells of ends alone.
            Change::Empty => Ok(Watch::Sources(vec![self.inbox.source()])),
            Change::Frozen => Ok(Watch::Backoff),
            Change::Oom => self.lacks(Operation::Watch),
        }
    }

    /// `populated` reaps.
    fn reap(&self) -> Result<Reaped> {
        Ok(Reaped::default())
    }

    fn remove(&self) -> Result<()> {
        if self.populated()? {
            return Err(Error::new(ErrorKind::Busy, Operation::Remove).with_group(&self.id().name));
        }
        Ok(())
    }

    fn usage(&self) -> Result<Usage> {
        self.lacks(Operation::Usage)
    }
}
