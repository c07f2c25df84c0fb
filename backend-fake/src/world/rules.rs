//! The kernel's rules: birth, signals, death, and when a process can run at all.

use std::time::Duration;

use containment_core::{Outcome, Pid, Signal};

use super::{Birth, DYING, Event, Process, World};
use crate::script::{Action, Script};

/// Signals that end nobody by default (signal(7)).
const HARMLESS: [Signal; 3] = [Signal::CHLD, Signal::CONT, Signal::WINCH];

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
            Action::Setsid => process.escaped = true,
            Action::Stop => process.stopped = true,
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
            Action::Meet(signal) => {
                let after = process.script.linger.max(process.script.dying.unwrap_or(DYING));
                self.schedule(after, Event::Act(birth, Action::Succumb(signal)));
            }
            Action::Succumb(signal) => self.end(birth, Outcome::Signaled(signal)),
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
        if let Some(node) = node.filter(|_| self.persona != crate::Persona::ProcessGroup) {
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

    /// Delivers a signal: SIGKILL, SIGSTOP and SIGCONT act on whoever it is, the others on those who run.
    pub(crate) fn send(&mut self, birth: Birth, signal: Signal) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&birth).filter(|p| p.is_alive()) else { return };
        match signal {
            Signal::KILL => {
                let dying = process.script.dying.unwrap_or(DYING);
                process.killed.get_or_insert(now + dying);
                self.schedule(dying, Event::Settle);
            }
            Signal::STOP => process.stopped = true,
            Signal::CONT => process.stopped = false,
            _ if HARMLESS.contains(&signal) || process.script.ignored.contains(signal) => {}
            _ => self.act(birth, Action::Meet(signal)),
        }
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
    fn end(&mut self, birth: Birth, outcome: Outcome) {
        let Some(process) = self.processes.get_mut(&birth) else { return };
        process.ended = Some(outcome);
        process.memory = 0;
        process.deferred.clear();
        if process.program {
            self.outcomes.insert(birth, outcome);
        }
        let parent = process.parent;
        for child in self.processes.values_mut().filter(|p| p.parent == Some(birth)) {
            child.parent = None;
        }
        self.reap_strangers();
        if let Some(parent) = parent.filter(|parent| self.works_after_a_child(*parent)) {
            self.act(parent, Action::Work);
        }
    }

    fn works_after_a_child(&self, birth: Birth) -> bool {
        self.processes.get(&birth).is_some_and(|p| p.script.works_after_a_child)
    }

    /// Init reaps what nobody else has to; a process group's keeper is asked for it by `reap`.
    fn reap_strangers(&mut self) {
        let kept = self.persona == crate::Persona::ProcessGroup;
        self.processes.retain(|_, p| {
            let ours = p.program || (kept && p.node != super::OUTSIDE);
            p.is_alive() || p.parent.is_some() || ours
        });
    }

    /// Takes a zombie away.
    pub(crate) fn reap(&mut self, birth: Birth) {
        if !self.is_alive(birth) {
            self.processes.remove(&birth);
        }
    }

    /// Ends those whose SIGKILL has reached them; says whether there were any.
    pub(super) fn end_the_killed(&mut self) -> bool {
        let due = |p: &Process| p.is_alive() && p.killed.is_some_and(|due| due <= self.now);
        let killed: Vec<_> =
            self.processes.iter().filter(|(_, p)| due(p)).map(|(b, _)| *b).collect();
        let mortal: Vec<_> = killed.into_iter().filter(|birth| !self.is_held(*birth)).collect();
        for birth in &mortal {
            self.end(*birth, Outcome::Signaled(Signal::KILL));
        }
        !mortal.is_empty()
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
    fn can_run(&self, birth: Birth) -> bool {
        self.processes.get(&birth).is_some_and(|p| {
            let free = p.killed.is_none() && !p.stopped && !p.uninterruptible;
            p.is_alive() && free && !self.stands_still(p.node)
        })
    }

    /// Whether even SIGKILL has to wait: in state D, and for version 1's freezer.
    fn is_held(&self, birth: Birth) -> bool {
        self.processes.get(&birth).is_some_and(|p| {
            let frozen = self.persona == crate::Persona::V1 && self.stands_still(p.node);
            p.uninterruptible || frozen
        })
    }
}
