//! The kernel's rules: birth, death, and when a process can run at all.

use std::time::Duration;

use containment_core::{Outcome, Pid, Signal};

use super::signals::union;
use super::{Birth, Event, Process, World};
use crate::Persona;
use crate::script::{Action, Script};

/// The longest command name, `TASK_COMM_LEN` less its end.
const COMM_MAX: usize = 15;

impl World {
    /// Brings a process to life and sets its script going.
    pub(crate) fn born(&mut self, script: Script, mut process: Process) -> Birth {
        self.births += 1;
        let birth = self.births;
        process.pid = i32::try_from(birth + 1).ok().and_then(Pid::new).unwrap_or(process.pid);
        if let Some(comm) = &script.comm {
            process.comm.clone_from(comm);
        }
        process.comm = process.comm.chars().take(COMM_MAX).collect();
        process.dodges = script.dodges;
        let actions = script.actions.clone();
        process.script = script;
        self.note_birth(process.node);
        self.processes.insert(birth, process);
        for (after, action) in actions {
            if after.is_zero() {
                self.act(birth, action);
            } else {
                self.schedule(after, Event::Act(birth, action));
            }
        }
        birth
    }

    /// Forks `parent`, where the group's limit lets it.
    pub(crate) fn fork(&mut self, parent: Birth, script: Script) -> Option<Birth> {
        let process = self.processes.get(&parent)?;
        let mut script = script;
        script.ignored = union(script.ignored, process.script.ignored);
        let child = Process::child_of(process, parent);
        self.may_be_born(process.node).then(|| self.born(script, child))
    }

    /// Lets a process act, now or once it can run.
    pub(super) fn act(&mut self, birth: Birth, action: Action) {
        if !self.is_alive(birth) {
            return;
        }
        if self.can_run(birth) {
            self.perform(birth, action);
        } else if let Some(process) = self.processes.get_mut(&birth) {
            process.deferred.push_back(action);
        }
    }

    fn perform(&mut self, birth: Birth, action: Action) {
        let Some(process) = self.processes.get_mut(&birth) else { return };
        match action {
            Action::Exit(status) => self.end(birth, Outcome::Exited(status)),
            Action::Fork(script) => drop(self.fork(birth, *script)),
            Action::Respawn => self.respawn(birth),
            Action::Multiply { period, most } => self.multiply(birth, period, most),
            Action::Setsid => self.setsid(birth),
            Action::Stop => process.stopped = true,
            Action::Ignore(signals) => {
                process.script.ignored = union(process.script.ignored, signals);
            }
            Action::FreezeOwnGroup => self.freeze_own_group(birth),
            Action::Work => self.work += 1,
            Action::WorkEvery(period) => {
                self.work += 1;
                self.schedule(period, Event::Act(birth, Action::WorkEvery(period)));
            }
            Action::Allocate(bytes) => self.allocate(birth, bytes),
            Action::SleepUninterruptibly(duration) => {
                process.uninterruptible = true;
                if duration < Duration::MAX {
                    self.schedule(duration, Event::Wake(birth));
                }
            }
            Action::Succumb(signal) => self.end(birth, Outcome::Signaled(signal)),
        }
    }

    /// A new session, which is a new process group too; refused to who leads one (setsid(2)).
    fn setsid(&mut self, birth: Birth) {
        let leads = self.leads_a_group(birth);
        let Some(process) = self.processes.get_mut(&birth).filter(|_| !leads) else { return };
        process.escaped = true;
        if self.persona == Persona::ProcessGroupWithoutKeeper {
            process.node = super::OUTSIDE;
        }
    }

    /// With a keeper every program leads a process group, without one the first does.
    fn leads_a_group(&self, birth: Birth) -> bool {
        let Some(process) = self.processes.get(&birth).filter(|p| p.is_program()) else {
            return false;
        };
        // A first program acts before its group has learnt that it leads it.
        let known = self.node(process.node).and_then(|node| node.leader);
        match self.persona {
            Persona::ProcessGroup => true,
            Persona::ProcessGroupWithoutKeeper => known.is_none_or(|leader| leader == birth),
            _ => false,
        }
    }

    /// A child that joined a group and could not execute its program was a member until it ended.
    pub(crate) fn pass_by(&mut self, node: u64) {
        let led = self.node(node).is_some_and(|node| node.leader.is_some());
        if led && self.persona == Persona::ProcessGroupWithoutKeeper {
            self.orphan(node);
        }
    }

    /// A process group whose last member with a parent outside of it ends is orphaned; where one of it
    /// is stopped all get SIGHUP and SIGCONT (POSIX, `_exit`). With a keeper it has that parent always.
    fn orphan(&mut self, node: u64) {
        let members: Vec<_> = self.alive_in(node).collect();
        let member = |birth: &Birth| &self.processes[birth];
        let parted = !members.iter().any(|birth| member(birth).is_program());
        if parted && members.iter().any(|birth| member(birth).stopped) {
            for birth in members {
                self.send(birth, Signal::HUP);
                self.send(birth, Signal::CONT);
            }
        }
    }

    fn respawn(&mut self, birth: Birth) {
        let Some(process) = self.processes.get(&birth) else { return };
        let script = process.script.clone();
        if self.fork(birth, script).is_some() {
            self.end(birth, Outcome::Exited(0));
        }
    }

    fn freeze_own_group(&mut self, birth: Birth) {
        let node = self.processes.get(&birth).map(|process| process.node);
        if let Some(node) = node.filter(|_| !self.persona.is_process_group()) {
            self.freeze(node);
        }
    }

    fn multiply(&mut self, birth: Birth, period: Duration, most: usize) {
        let Some(process) = self.processes.get(&birth) else { return };
        let (node, script) = (process.node, process.script.clone());
        if self.alive_in(node).count() < most {
            self.fork(birth, script);
        }
        self.schedule(period, Event::Act(birth, Action::Multiply { period, most }));
    }

    /// A listed process that dodges SIGKILL forks a child that is on no list.
    pub(crate) fn dodge(&mut self, birth: Birth) {
        if !self.can_run(birth) {
            return;
        }
        let Some(process) = self.processes.get_mut(&birth).filter(|p| p.dodges > 0) else { return };
        process.dodges -= 1;
        let script = process.script.clone().dodges(process.dodges);
        self.fork(birth, script);
    }

    /// Ends a process: its children go to the next reaper, and it stays a zombie until it is reaped.
    pub(super) fn end(&mut self, birth: Birth, outcome: Outcome) {
        let Some(process) = self.processes.get_mut(&birth) else { return };
        process.ended = Some(outcome);
        process.memory = 0;
        process.deferred.clear();
        if process.is_program() {
            self.outcomes.insert(birth, outcome);
        }
        let (parent, program, node) = (process.parent, process.is_program(), process.node);
        for child in self.processes.values_mut().filter(|p| p.parent == Some(birth)) {
            child.parent = None;
        }
        self.reap_strangers();
        if program && self.persona == Persona::ProcessGroupWithoutKeeper && node != super::OUTSIDE {
            self.orphan(node);
        }
        if let Some(parent) = parent.filter(|parent| self.works_after_a_child(*parent)) {
            self.act(parent, Action::Work);
        }
    }

    fn works_after_a_child(&self, birth: Birth) -> bool {
        self.processes.get(&birth).is_some_and(|p| p.script.works_after_a_child)
    }

    /// Init reaps what nobody else has to; a process group's keeper is asked for it by `reap`.
    fn reap_strangers(&mut self) {
        let kept = self.persona == Persona::ProcessGroup;
        self.processes.retain(|_, p| {
            let ours = p.is_program() || (kept && p.node != super::OUTSIDE);
            p.is_alive() || p.parent.is_some() || ours
        });
    }

    /// Takes a zombie away.
    pub(crate) fn reap(&mut self, birth: Birth) {
        if !self.is_alive(birth) {
            self.processes.remove(&birth);
        }
    }

    /// Lets those act who can run again; says whether there were any.
    pub(super) fn act_on_the_deferred(&mut self) -> bool {
        let waiting = self.processes.iter().filter(|(_, p)| !p.deferred.is_empty());
        let waiting: Vec<_> = waiting.map(|(birth, _)| *birth).collect();
        let mut acted = false;
        for birth in waiting.into_iter().filter(|birth| self.can_run(*birth)).collect::<Vec<_>>() {
            let action = self.processes.get_mut(&birth).and_then(|p| p.deferred.pop_front());
            if let Some(action) = action {
                self.act(birth, action);
                acted = true;
            }
        }
        acted
    }

    pub(crate) fn is_alive(&self, birth: Birth) -> bool {
        self.processes.get(&birth).is_some_and(Process::is_alive)
    }

    /// Whether it executes its program: a killed process does not any more.
    pub(super) fn can_run(&self, birth: Birth) -> bool {
        self.processes.get(&birth).is_some_and(|p| {
            let free = p.killed.is_none() && !p.stopped && !p.uninterruptible;
            p.is_alive() && free && !self.stands_still(p.node)
        })
    }

    /// Whether even SIGKILL has to wait: in state D, and for version 1's freezer.
    pub(super) fn is_held(&self, birth: Birth) -> bool {
        self.processes
            .get(&birth)
            .is_some_and(|p| p.uninterruptible || self.is_frozen_by_version_1(birth))
    }

    /// Whether it is in the freezer that lets nothing through.
    pub(super) fn is_frozen_by_version_1(&self, birth: Birth) -> bool {
        let node = self.processes.get(&birth).map(|process| process.node);
        self.persona == Persona::V1 && node.is_some_and(|node| self.stands_still(node))
    }
}
