//! The model: processes, groups, and the queue of what is going to happen.
//!
//! Nothing here knows the driver traits' policy; each method is one act of the kernel or of a
//! process. After every act [`World::settle`] lets happen what has become possible by it.

mod caller;
mod freezer;
mod process;
mod rules;
mod signals;
mod tree;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use containment_core::{EventId, Outcome, Pid, Time};

use crate::inject::Faults;
use crate::persona::Persona;
use crate::record::{Call, SentSignal};
use crate::script::{Action, Script};
pub(crate) use process::{Birth, Handle, Process};
pub(crate) use tree::{Made, Node, OUTSIDE};

/// How long the kernel takes to end a process, unless its script says otherwise.
const DYING: Duration = Duration::from_micros(100);

/// So many waits may end in one moment.
const SPINS: u32 = 10_000;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) persona: Persona,
    pub(crate) now: Time,
    pub(crate) faults: Faults,
    pub(crate) calls: Vec<Call>,
    pub(crate) signals: Vec<SentSignal>,
    pub(crate) freezing_takes: Duration,
    pub(crate) sticking_freezes: u32,
    programs: HashMap<OsString, Script>,
    /// By birth, so that a re-used pid is another process.
    processes: BTreeMap<Birth, Process>,
    /// How programs ended, for handles that outlive the zombie.
    outcomes: BTreeMap<Birth, Outcome>,
    /// By generation, so that a re-used name is another group.
    nodes: BTreeMap<u64, Node>,
    events: BTreeMap<(Time, u64), Event>,
    triggers: Vec<Trigger>,
    /// The process that the tests run in, once it was moved.
    caller: Option<Birth>,
    births: u64,
    generations: u64,
    handles: Handle,
    scheduled: u64,
    work: u64,
    /// Waits that took no time, and the moment of the last.
    spins: (Time, u32),
}

/// Something that is going to happen.
#[derive(Debug)]
enum Event {
    Act(Birth, Action),
    Wake(Birth),
    /// A moment at which something becomes possible; `settle` finds out what.
    Settle,
}

/// What a watch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// `cgroup.events` changed since it was read last.
    Changed(u64),
    /// This process has ended: its pidfd is readable.
    Ended(Birth),
    /// The group is empty.
    Empty(u64),
    /// The OOM killer took more than so many members of this group.
    OomKilled(u64, u64),
}

impl World {
    pub(crate) fn new(persona: Persona) -> Self {
        Self {
            persona,
            now: Time::ZERO,
            faults: Faults::default(),
            calls: Vec::new(),
            signals: Vec::new(),
            freezing_takes: Duration::ZERO,
            sticking_freezes: 0,
            programs: HashMap::new(),
            processes: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            nodes: BTreeMap::from([(OUTSIDE, Node::outside())]),
            events: BTreeMap::new(),
            triggers: Vec::new(),
            caller: None,
            births: 0,
            generations: OUTSIDE,
            handles: 0,
            scheduled: 0,
            work: 0,
            spins: (Time::ZERO, 0),
        }
    }

    pub(crate) fn new_handle(&mut self) -> Handle {
        self.handles += 1;
        self.handles
    }

    pub(crate) fn install(&mut self, name: OsString, script: Script) {
        self.programs.insert(name, script);
    }

    pub(crate) fn program(&self, name: &std::ffi::OsStr) -> Option<&Script> {
        self.programs.get(name)
    }

    pub(crate) fn start_outside(&mut self, script: Script) -> Pid {
        let birth = self.born(script, Process::outside());
        self.settle();
        self.processes[&birth].pid
    }

    pub(crate) fn tell(&mut self, pid: Pid, script: Script) {
        let Some(birth) = self.by_pid(pid) else { return };
        self.act(birth, Action::Ignore(script.ignored));
        for (after, action) in script.actions {
            if after.is_zero() {
                self.act(birth, action);
            } else {
                self.schedule(after, Event::Act(birth, action));
            }
        }
        self.settle();
    }

    pub(crate) fn release(&mut self, pid: Pid) {
        for process in self.processes.values_mut().filter(|p| p.pid == pid) {
            process.uninterruptible = false;
        }
        self.settle();
    }

    /// Counts a wait that ended before time passed.
    pub(crate) fn count_spin(&mut self) {
        let (moment, count) = self.spins;
        self.spins = (self.now, if moment == self.now { count + 1 } else { 1 });
        assert!(
            self.spins.1 < SPINS,
            "spinning at {:?}: a watch is ready, and nobody reads it",
            self.now
        );
    }

    /// What the future depends on, in one figure: not what was called and sent before.
    pub(crate) fn fingerprint(&self) -> u64 {
        let events: Vec<_> = self.events.iter().map(|((at, _), event)| (at, event)).collect();
        let there = (&self.processes, &self.outcomes, &self.nodes, &self.triggers, &self.caller);
        let freezing = (self.freezing_takes, self.sticking_freezes);
        let mut hasher = DefaultHasher::new();
        format!("{:?}", (self.now, freezing, there, events)).hash(&mut hasher);
        hasher.finish()
    }

    /// When something is going to happen next.
    pub(crate) fn next_event(&self) -> Option<Time> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    /// Lets everything happen until then.
    pub(crate) fn pass_until(&mut self, until: Time) {
        while let Some(entry) = self.events.first_entry() {
            let at = entry.key().0;
            if at > until {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            self.happen(event);
            self.settle();
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act(birth, action) => self.act(birth, action),
            Event::Wake(birth) => {
                if let Some(process) = self.processes.get_mut(&birth) {
                    process.uninterruptible = false;
                }
            }
            Event::Settle => {}
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + after, self.scheduled), event);
    }

    /// Lets happen what has become possible, and announces what has changed.
    pub(crate) fn settle(&mut self) {
        while self.end_the_killed() | self.meet_the_pending() | self.act_on_the_deferred() {}
        self.publish();
    }

    pub(crate) fn watch(&mut self, trigger: Trigger) -> EventId {
        let known = self.triggers.iter().position(|t| *t == trigger);
        let index = known.unwrap_or_else(|| {
            self.triggers.push(trigger);
            self.triggers.len() - 1
        });
        EventId(index as u64)
    }

    pub(crate) fn is_ready(&self, event: EventId) -> bool {
        let trigger = usize::try_from(event.0).ok().and_then(|index| self.triggers.get(index));
        match trigger {
            Some(Trigger::Changed(node)) => {
                self.nodes.get(node).is_none_or(|node| node.changes != node.seen)
            }
            Some(Trigger::Ended(birth)) => !self.is_alive(*birth),
            Some(Trigger::Empty(node)) => !self.populated(*node),
            Some(Trigger::OomKilled(node, known)) => {
                self.nodes.get(node).is_none_or(|node| node.oom_kills > *known)
            }
            None => false,
        }
    }
}
