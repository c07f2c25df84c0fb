//! A group of the fake to which something may happen before every call: members end, fork, leave, come in,
//! fall into a sleep that nothing interrupts; a freeze sticks; the call fails; the group vanishes.

use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backend_fake::{Call, Fake, Persona, ProcessView, Script};
use containment_core::{
    Applied, Capabilities, CgroupOps, Change, ChildOps, ControllerSet, FreezeState, GroupId,
    GroupName, GroupOps, HomeOps, KillStep, Limits, Member, Operation, Pid, Program, Reaped,
    Result, Signal, Signalled, Usage, Watch,
};

use crate::schedule::Schedules;

/// A rule of kernel or driver that is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// None is.
    Nothing,
    /// A populated group is called empty, and its removal succeeds without one.
    EmptyAndRemoved,
    /// A kill reaches the group beside, too.
    KillsNeighbours,
    /// A kill reaches nobody, and says that it did.
    KillsNobody,
}

/// The world of one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) group: Box<dyn GroupOps>,
    neighbour: Box<dyn GroupOps>,
    /// Of the group beside.
    neighbours: Pid,
    stranger: Pid,
    broken: Broken,
}

/// Something that happens in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Exit(Pid),
    Fork(Pid),
    Daemonise(Pid),
    Stop(Pid),
    Sleep(Pid),
    MoveIn(Pid),
    FreezeSticks,
    Fails(i32),
    Vanishes,
}

const EIO: i32 = 5;
const EBUSY: i32 = 16;

impl World {
    /// A group with a program and one that ignores SIGTERM, a group beside it, and a stranger.
    pub(crate) fn new(persona: Persona, broken: Broken) -> Self {
        let fake = Fake::with_persona(persona);
        let stranger = fake.start_outside(Script::new().named("stranger"));
        fake.program("plain", Script::new());
        fake.program("stubborn", Script::new().ignores(Signal::TERM));
        let make = |name: &str| fake.create(&name.parse().unwrap(), ControllerSet::EMPTY).unwrap();
        let neighbour = make("neighbour");
        let neighbours = neighbour.spawn(&Program::new("plain")).unwrap().pid();
        let group = make("job");
        for program in ["plain", "stubborn"] {
            group.spawn(&Program::new(program)).unwrap();
        }
        fake.freezing_takes(Duration::from_millis(3));
        Self { fake, group, neighbour, neighbours, stranger, broken }
    }

    /// The living members of the group, oldest first.
    pub(crate) fn members(&self) -> Vec<ProcessView> {
        let inside =
            |p: &ProcessView| p.group.as_ref().is_some_and(|name| name.as_str().starts_with("job"));
        self.fake.snapshot().living().filter(|p| inside(p)).cloned().collect()
    }

    /// Whether those outside of the group live; one that was moved in is none of them.
    pub(crate) fn others_live(&self) -> bool {
        let all = self.fake.snapshot();
        let moved = |call: &Call| call.method == "attach" && call.failed.is_none();
        let came_in = self.fake.calls().iter().any(moved);
        all.lives(self.neighbours) && (came_in || all.lives(self.stranger))
    }

    /// What could happen before a call of this operation, besides nothing.
    fn possible(&self, operation: Operation) -> Vec<Happening> {
        let members = self.members();
        let mut all = Vec::new();
        if let (Some(oldest), Some(youngest)) = (members.first(), members.last()) {
            all.extend([Happening::Exit(oldest.pid), Happening::Fork(youngest.pid)]);
            if oldest.pid != youngest.pid {
                all.push(Happening::Exit(youngest.pid));
            }
            all.extend([Happening::Stop(youngest.pid), Happening::Sleep(youngest.pid)]);
            if self.group.capabilities().nesting {
                all.extend(
                    self.is_outside(self.stranger).then_some(Happening::MoveIn(self.stranger)),
                );
            } else {
                all.push(Happening::Daemonise(youngest.pid));
            }
        } else if operation != Operation::Remove && !self.is_gone() {
            all.push(Happening::Vanishes);
        }
        if matches!(operation, Operation::Freeze | Operation::Kill) {
            all.push(Happening::FreezeSticks);
        }
        all.push(Happening::Fails(if operation == Operation::Remove { EBUSY } else { EIO }));
        all
    }

    fn is_outside(&self, pid: Pid) -> bool {
        self.fake.snapshot().living().any(|process| process.pid == pid && process.group.is_none())
    }

    fn is_gone(&self) -> bool {
        !self.fake.snapshot().groups.iter().any(|name| name.as_str() == "job")
    }

    fn happen(&self, what: Happening, operation: Operation) {
        let tell = |pid, script| self.fake.tell(pid, script);
        let now = Duration::ZERO;
        match what {
            Happening::Exit(pid) => tell(pid, Script::new().exits(now, 0)),
            Happening::Fork(pid) => tell(pid, Script::new().forks(now, Script::new())),
            Happening::Daemonise(pid) => tell(pid, Script::new().daemonises(now, Script::new())),
            Happening::Stop(pid) => tell(pid, Script::new().stops_itself(now)),
            Happening::Sleep(pid) => {
                tell(pid, Script::new().sleeps_uninterruptibly(now, Duration::MAX));
            }
            // A group that is gone takes nobody; that is no concern of the machine's.
            Happening::MoveIn(pid) => drop(self.group.attach(pid)),
            Happening::FreezeSticks => self.fake.freezes_stick(1),
            Happening::Fails(errno) => self.fake.fail(operation, errno, 1),
            Happening::Vanishes => {
                let same = self.fake.open(self.group.id());
                drop(same.and_then(|group| group.remove()));
            }
        }
    }
}

/// The group as the machine gets it.
#[derive(Debug)]
pub(crate) struct Disturbed<'a> {
    pub(crate) world: &'a World,
    pub(crate) schedules: &'a Mutex<Schedules>,
}

impl Disturbed<'_> {
    /// Lets something happen, or nothing; then the group is called.
    fn before(&self, operation: Operation) -> &dyn GroupOps {
        let mut schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        if schedules.is_spent() {
            return self.plain();
        }
        let possible = self.world.possible(operation);
        let choice = schedules.choose(possible.len() + 1);
        if let Some(what) = choice.checked_sub(1).and_then(|index| possible.get(index)) {
            self.world.happen(*what, operation);
        }
        &*self.world.group
    }

    fn plain(&self) -> &dyn GroupOps {
        &*self.world.group
    }
}

impl GroupOps for Disturbed<'_> {
    fn handles(&self) -> Vec<RawFd> {
        self.plain().handles()
    }

    fn program_runs(&self) -> bool {
        self.plain().program_runs()
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.before(Operation::Members).members()
    }

    fn populated(&self) -> Result<bool> {
        let populated = self.before(Operation::Populated).populated();
        if self.world.broken == Broken::EmptyAndRemoved {
            populated.map(|_| false)
        } else {
            populated
        }
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.before(Operation::Signal).signal(signal)
    }

    fn kill(&self) -> Result<KillStep> {
        let group = self.before(Operation::Kill);
        match self.world.broken {
            Broken::KillsNobody => return Ok(KillStep::Killed),
            Broken::KillsNeighbours => drop(self.world.neighbour.kill()?),
            Broken::Nothing | Broken::EmptyAndRemoved => {}
        }
        group.kill()
    }

    fn request_freeze(&self) -> Result<()> {
        self.before(Operation::Freeze).request_freeze()
    }

    fn request_thaw(&self) -> Result<()> {
        self.before(Operation::Thaw).request_thaw()
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.before(Operation::Freeze).frozen()
    }

    fn usage(&self) -> Result<Usage> {
        self.plain().usage()
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        self.before(Operation::Watch).watch(change)
    }

    fn reap(&self) -> Result<Reaped> {
        self.before(Operation::Reap).reap()
    }

    fn remove(&self) -> Result<()> {
        let group = self.before(Operation::Remove);
        if self.world.broken == Broken::EmptyAndRemoved { Ok(()) } else { group.remove() }
    }

    fn id(&self) -> &GroupId {
        self.plain().id()
    }

    fn capabilities(&self) -> &Capabilities {
        self.plain().capabilities()
    }

    fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.plain().leave_mark(mark)
    }

    fn mark(&self) -> Result<Option<String>> {
        self.plain().mark()
    }

    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        self.plain().spawn(program)
    }

    fn attach(&self, pid: Pid) -> Result<()> {
        self.plain().attach(pid)
    }

    fn home(&self) -> Result<Box<dyn HomeOps>> {
        self.plain().home()
    }

    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        self.plain().subgroup(name, with)
    }

    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        self.plain().subgroups()
    }

    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.plain().set_limits(limits)
    }

    fn oom_kills(&self) -> Result<u64> {
        self.plain().oom_kills()
    }
}
