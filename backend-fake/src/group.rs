//! One open group of the fake.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use containment_core::{
    Applied, Backend, Capabilities, Change, ChildOps, ControllerSet, Error, ErrorKind, FreezeState,
    GroupId, GroupName, GroupOps, HomeOps, KillStep, Limit, Limits, Member, Operation, Pid,
    Program, Reaped, Result, Signal, Signalled, Usage, Watch,
};

use crate::child::FakeChild;
use crate::home::FakeHome;
use crate::record::SentSignal;
use crate::script::Executable;
use crate::world::{Birth, Handle, Made, Process, Trigger, World};
use crate::{Fake, Persona, Script};

const ENOENT: i32 = 2;
const EACCES: i32 = 13;

#[derive(Debug)]
pub(crate) struct FakeGroup {
    fake: Fake,
    id: GroupId,
    generation: u64,
    handle: Handle,
    removed: AtomicBool,
    /// The levels above it that were made for it, which go with it when they are empty.
    made_above: Vec<u64>,
}

impl FakeGroup {
    /// A group that is there.
    pub(crate) fn new(fake: Fake, world: &mut World, id: GroupId, generation: u64) -> Self {
        let (handle, removed) = (world.new_handle(), AtomicBool::new(false));
        Self { fake, id, generation, handle, removed, made_above: Vec::new() }
    }

    /// A group that was made just now.
    pub(crate) fn made(fake: Fake, world: &mut World, name: &GroupName, made: Made) -> Self {
        let id = fake.identify(name, made.generation);
        Self { made_above: made.above, ..Self::new(fake, world, id, made.generation) }
    }

    /// One call on a group that must still be there.
    fn call<T>(
        &self,
        method: &'static str,
        operation: Operation,
        act: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        let (group, generation) = (Some(&self.id.name), Some(self.generation));
        self.fake.call_on(method, operation, group, generation, act)
    }

    fn inner(&self, world: &mut World, generation: u64) -> Option<Box<dyn GroupOps>> {
        let name = world.node(generation)?.name.clone()?;
        let id = self.fake.identify(&name, generation);
        Some(Box::new(Self::new(self.fake.clone(), world, id, generation)))
    }

    /// One pass of signalling over the subtree, programs first.
    fn pass(&self, world: &mut World, signal: Signal, atomic: bool) -> Signalled {
        let listed: Vec<_> = world.members_of(self.generation).collect();
        for birth in &listed {
            if signal == Signal::KILL && !atomic {
                world.dodge(*birth);
            }
            self.send(world, *birth, signal);
        }
        Signalled { count: listed.len(), failed: Vec::new() }
    }

    fn send(&self, world: &mut World, birth: Birth, signal: Signal) {
        let inside = world.subtree(self.generation);
        let Some(process) = world.process(birth).filter(|p| p.is_alive()) else { return };
        let to_member = inside.contains(&process.node);
        let record = SentSignal { at: world.now, pid: process.pid, signal, to_member };
        world.signals.push(record);
        world.send(birth, signal);
    }

    fn kill_step(&self, world: &mut World) -> Result<KillStep> {
        world.refuse_callers(self.generation, Operation::Kill)?;
        let earlier = world.node_mut(self.generation).map_or(0, |node| {
            node.kill_steps += 1;
            node.kill_steps - 1
        });
        let freezes = match self.fake.persona {
            Persona::V2 | Persona::Hybrid => {
                self.pass(world, Signal::KILL, true);
                return Ok(KillStep::Killed);
            }
            Persona::V2WithoutKill => true,
            // Pidfds first; the freezer only for those who are left then.
            Persona::V1 => earlier > 0,
            Persona::ProcessGroup | Persona::ProcessGroupWithoutKeeper => false,
        };
        if freezes && world.freeze_state(self.generation) != FreezeState::Frozen {
            world.faults.meet(Operation::Freeze)?;
            world.freeze(self.generation);
            return Ok(KillStep::Freezing);
        }
        Ok(KillStep::Signalled(self.pass(world, Signal::KILL, false)))
    }

    fn place(&self, world: &mut World, program: &Program) -> Result<(Birth, Pid)> {
        if world.is_freezing(self.generation) {
            return Err(Error::new(ErrorKind::Frozen, Operation::Place));
        }
        world.check_place(self.generation, Operation::Place)?;
        world.faults.meet(Operation::Place)?;
        let script = executable(world, program).inspect_err(|_| world.pass_by(self.generation))?;
        let name = program.name().to_string_lossy();
        let comm = name.rsplit('/').next().unwrap_or_default();
        let birth = world.born(script, Process::program(self.generation, comm, self.handle));
        if self.fake.persona.is_process_group()
            && let Some(node) = world.node_mut(self.generation)
        {
            node.leader.get_or_insert(birth);
        }
        Ok((birth, world.process(birth).map_or(Pid::current(), |p| p.pid)))
    }

    fn refuse_removed(&self, operation: Operation) -> Result<()> {
        if self.removed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Gone, operation));
        }
        Ok(())
    }

    /// That somebody else has removed the group is found out when the program is placed.
    fn operation_of_a_spawn(&self) -> Operation {
        let vanished = !self.removed.load(Ordering::Relaxed) && self.fake.is_gone(self.generation);
        if vanished { Operation::Place } else { Operation::Spawn }
    }

    fn stops_instead(&self) -> bool {
        self.fake.persona.is_process_group()
    }

    fn empty_watch(&self, world: &mut World) -> Watch {
        let trigger = match self.fake.persona {
            Persona::V2 | Persona::V2WithoutKill | Persona::Hybrid => {
                Trigger::Changed(self.generation)
            }
            Persona::ProcessGroup | Persona::ProcessGroupWithoutKeeper => {
                Trigger::Empty(self.generation)
            }
            Persona::V1 => match world.members_of(self.generation).last() {
                Some(member) => Trigger::Ended(member),
                None => return Watch::Backoff,
            },
        };
        Watch::Virtual(world.watch(trigger))
    }

    fn apply(world: &mut World, generation: u64, limits: &Limits) {
        let Some(node) = world.node_mut(generation) else { return };
        let old = std::mem::take(&mut node.limits);
        let new = limits.clone();
        let (mut io_max, mut hugetlb) = (old.io_max, old.hugetlb);
        io_max.extend(new.io_max);
        hugetlb.extend(new.hugetlb);
        node.limits = Limits {
            memory_max: new.memory_max.or(old.memory_max),
            memory_high: new.memory_high.or(old.memory_high),
            swap_max: new.swap_max.or(old.swap_max),
            cpus: new.cpus.or(old.cpus),
            cpu_weight: new.cpu_weight.or(old.cpu_weight),
            cpuset: new.cpuset.or(old.cpuset),
            mems: new.mems.or(old.mems),
            pids_max: new.pids_max.or(old.pids_max),
            io_weight: new.io_weight.or(old.io_weight),
            io_max,
            hugetlb,
        };
    }

    fn attach_process(&self, world: &mut World, pid: Pid) -> Result<()> {
        if !self.capabilities().attach {
            return Err(Error::new(ErrorKind::Unsupported, Operation::Attach));
        }
        world.move_to(pid, self.generation)
    }
}

impl GroupOps for FakeGroup {
    fn id(&self) -> &GroupId {
        &self.id
    }

    fn capabilities(&self) -> &Capabilities {
        &self.fake.capabilities
    }

    fn leave_mark(&self, mark: &str) -> Result<bool> {
        self.call("leave_mark", Operation::Register, |world| {
            let keeps = !self.fake.persona.is_process_group();
            if let Some(node) = world.node_mut(self.generation).filter(|_| keeps) {
                node.mark = Some(mark.to_owned());
            }
            Ok(keeps)
        })
    }

    fn mark(&self) -> Result<Option<String>> {
        self.call("mark", Operation::Register, |world| {
            Ok(world.node(self.generation).and_then(|node| node.mark.clone()))
        })
    }

    fn spawn(&self, program: &Program) -> Result<Box<dyn ChildOps>> {
        let operation = self.operation_of_a_spawn();
        let (birth, pid) = self.call("spawn", operation, |w| self.place(w, program))?;
        Ok(Box::new(FakeChild { fake: self.fake.clone(), birth, pid }))
    }

    fn attach(&self, pid: Pid) -> Result<()> {
        self.call("attach", Operation::Attach, |world| self.attach_process(world, pid))
    }

    fn home(&self) -> Result<Box<dyn HomeOps>> {
        self.call("home", Operation::Attach, |world| {
            if !self.capabilities().attach {
                return Err(Error::new(ErrorKind::Unsupported, Operation::Attach));
            }
            Ok(Box::new(FakeHome { fake: self.fake.clone(), node: world.callers_node() }) as _)
        })
    }

    fn subgroup(&self, name: &GroupName, with: ControllerSet) -> Result<Box<dyn GroupOps>> {
        let full = self.id.name.join(name);
        self.call("subgroup", Operation::Create, |world| {
            if !self.capabilities().nesting {
                return Err(Error::new(ErrorKind::Unsupported, Operation::Create));
            }
            self.fake.refuse_lacking(with)?;
            let invalid = |_| Error::new(ErrorKind::InvalidInput, Operation::Create);
            let full = full.map_err(invalid)?;
            let made = world.make(&full, with).map_err(|error| error.with_group(&full))?;
            Ok(Box::new(Self::made(self.fake.clone(), world, &full, made)) as Box<dyn GroupOps>)
        })
    }

    fn subgroups(&self) -> Result<Vec<Box<dyn GroupOps>>> {
        self.call("subgroups", Operation::List, |world| {
            let inside = world.children(self.generation).into_iter();
            Ok(inside.filter_map(|generation| self.inner(world, generation)).collect())
        })
    }

    fn program_runs(&self) -> bool {
        self.fake.world.lock().runs_started_by(self.handle)
    }

    fn members(&self) -> Result<Vec<Member>> {
        self.call("members", Operation::Members, |world| {
            let members = world.members_of(self.generation);
            Ok(members.filter_map(|birth| world.member(birth, self.handle)).collect())
        })
    }

    fn populated(&self) -> Result<bool> {
        self.call("populated", Operation::Populated, |world| {
            // Reading `cgroup.events` is what re-arms its poll.
            if let Some(node) = world.node_mut(self.generation) {
                node.seen = node.changes;
            }
            Ok(world.populated(self.generation))
        })
    }

    fn signal(&self, signal: Signal) -> Result<Signalled> {
        self.call("signal", Operation::Signal, |world| {
            world.refuse_callers(self.generation, Operation::Signal)?;
            Ok(self.pass(world, signal, false))
        })
    }

    fn kill(&self) -> Result<KillStep> {
        self.call("kill", Operation::Kill, |world| self.kill_step(world))
    }

    fn request_freeze(&self) -> Result<()> {
        self.call("request_freeze", Operation::Freeze, |world| {
            world.refuse_callers(self.generation, Operation::Freeze)?;
            if self.stops_instead() {
                self.pass(world, Signal::STOP, false);
            } else {
                world.freeze(self.generation);
            }
            Ok(())
        })
    }

    fn request_thaw(&self) -> Result<()> {
        self.call("request_thaw", Operation::Thaw, |world| {
            if self.stops_instead() {
                self.pass(world, Signal::CONT, false);
            } else {
                world.thaw(self.generation);
                // By a group around it.
                if world.is_freezing(self.generation) {
                    return Err(Error::new(ErrorKind::Frozen, Operation::Thaw));
                }
            }
            Ok(())
        })
    }

    fn frozen(&self) -> Result<FreezeState> {
        self.call("frozen", Operation::Freeze, |world| {
            if self.stops_instead() {
                return Ok(world.stop_state(self.generation));
            }
            if let Some(node) = world.node_mut(self.generation) {
                node.seen = node.changes;
            }
            Ok(world.freeze_state(self.generation))
        })
    }

    fn set_limits(&self, limits: &Limits) -> Result<Applied> {
        self.call("set_limits", Operation::SetLimits, |world| {
            let offered = self.capabilities().limits;
            let refuse = |limit: Limit| {
                let error = Error::new(ErrorKind::Unsupported, Operation::SetLimits);
                (limit, error.with_backend(Backend::Fake).with_group(&self.id.name))
            };
            let (applied, refused): (Vec<_>, Vec<_>) =
                limits.asked().iter().partition(|limit| offered.contains(*limit));
            if !applied.is_empty() {
                Self::apply(world, self.generation, limits);
            }
            Ok(Applied { applied, refused: refused.into_iter().map(refuse).collect() })
        })
    }

    fn usage(&self) -> Result<Usage> {
        self.call("usage", Operation::Usage, |world| Ok(world.usage(self.generation)))
    }

    fn oom_kills(&self) -> Result<u64> {
        self.call("oom_kills", Operation::Usage, |world| {
            let kills = world.usage(self.generation).oom_kills;
            kills.ok_or_else(|| Error::new(ErrorKind::Unsupported, Operation::Usage))
        })
    }

    fn watch(&self, change: Change) -> Result<Watch> {
        self.call("watch", Operation::Watch, |world| {
            Ok(match change {
                Change::Oom if self.fake.persona.is_process_group() => {
                    return Err(Error::new(ErrorKind::Unsupported, Operation::Watch));
                }
                Change::Oom => {
                    let known = world.node(self.generation).map_or(0, |node| node.oom_kills);
                    Watch::Virtual(world.watch(Trigger::OomKilled(self.generation, known)))
                }
                Change::Empty => self.empty_watch(world),
                Change::Frozen if self.fake.persona.has_events() => {
                    Watch::Virtual(world.watch(Trigger::Changed(self.generation)))
                }
                // Reading is what completes version 1's freeze, and nothing announces a stop.
                Change::Frozen => Watch::Backoff,
            })
        })
    }

    /// Nothing of it is the kernel's.
    fn handles(&self) -> Vec<RawFd> {
        Vec::new()
    }

    fn reap(&self) -> Result<Reaped> {
        let (group, operation) = (Some(&self.id.name), Operation::Reap);
        // Programs are children of ours, whatever became of their group.
        self.fake.call_on("reap", operation, group, None, |world| {
            self.refuse_removed(operation)?;
            let held = world.node(self.generation).and_then(|node| node.leader);
            let zombies = match self.fake.persona {
                Persona::ProcessGroup => world.zombies_of(self.generation),
                _ => world.zombies_started_by(self.handle),
            };
            let ours = zombies.into_iter().filter(|birth| Some(*birth) != held);
            Ok(Reaped { count: ours.inspect(|birth| world.reap(*birth)).count() })
        })
    }

    fn remove(&self) -> Result<()> {
        let (group, operation) = (Some(&self.id.name), Operation::Remove);
        self.fake.call_on("remove", operation, group, None, |world| {
            self.refuse_removed(operation)?;
            // Somebody else's removal is as good as ours.
            if world.node(self.generation).is_some() {
                world.remove(self.generation)?;
            }
            self.removed.store(true, Ordering::Relaxed);
            world.remove_levels(&self.made_above);
            Ok(())
        })
    }
}

/// What a program does, if it can be executed.
fn executable(world: &World, program: &Program) -> Result<Script> {
    let refuse = |kind, errno| {
        let error = Error::from_errno(Operation::Spawn, errno).with_kind(kind);
        Err(error.with_path(program.name()))
    };
    match world.program(program.name()) {
        None => refuse(ErrorKind::ProgramNotFound, ENOENT),
        Some(script) if script.executable == Executable::No => {
            refuse(ErrorKind::ProgramNotExecutable, EACCES)
        }
        Some(script) => Ok(script.clone()),
    }
}
