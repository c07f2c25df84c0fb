//! Accounts and views: memory and process counts, members, snapshots.

use containment_core::{Member, Most, ProcessState, Signal, Standing, Usage};

use super::{Birth, Handle, OUTSIDE, Process, World};
use crate::Persona;
use crate::record::{ProcessView, Snapshot};

impl World {
    /// Adds to a process's memory; where a limit is passed, the OOM killer takes it.
    pub(super) fn allocate(&mut self, birth: Birth, bytes: u64) {
        let Some(process) = self.processes.get_mut(&birth) else { return };
        process.memory += bytes;
        let node = process.node;
        for generation in self.generations_up(node).collect::<Vec<_>>() {
            let used = self.memory_of(generation);
            let Some(node) = self.nodes.get_mut(&generation) else { continue };
            if node.limits.memory_max.and_then(Most::value).is_some_and(|most| used > most.0) {
                node.oom_kills += 1;
                return self.send(birth, Signal::KILL);
            }
            node.memory_peak = node.memory_peak.max(used);
        }
    }

    /// Counts a process that is about to be born into `node`.
    pub(super) fn note_birth(&mut self, node: u64) {
        for generation in self.generations_up(node).collect::<Vec<_>>() {
            let count = self.members_of(generation).count() as u64 + 1;
            if let Some(node) = self.nodes.get_mut(&generation) {
                node.pids_peak = node.pids_peak.max(count);
            }
        }
    }

    fn memory_of(&self, generation: u64) -> u64 {
        self.members_of(generation).map(|birth| self.processes[&birth].memory).sum()
    }

    pub(crate) fn usage(&self, generation: u64) -> Usage {
        let Some(node) = self.nodes.get(&generation) else { return Usage::default() };
        let groups = !self.persona.is_process_group();
        Usage {
            memory: Some(self.memory_of(generation)),
            memory_peak: groups.then_some(node.memory_peak),
            pids: Some(self.members_of(generation).count() as u64),
            pids_peak: groups.then_some(node.pids_peak),
            oom_kills: groups.then_some(node.oom_kills),
            ..Usage::default()
        }
    }

    pub(crate) fn member(&self, birth: Birth, seen_by: Handle) -> Option<Member> {
        let process = self.processes.get(&birth)?;
        Some(Member {
            pid: process.pid,
            parent: self.parent_of(process),
            started: birth,
            comm: process.comm.clone(),
            state: self.state(process),
            standing: self.standing(process, seen_by),
            cpu: None,
            memory: Some(process.memory),
            origin: None,
        })
    }

    pub(crate) fn process(&self, birth: Birth) -> Option<&Process> {
        self.processes.get(&birth)
    }

    pub(crate) fn process_mut(&mut self, birth: Birth) -> Option<&mut Process> {
        self.processes.get_mut(&birth)
    }

    pub(crate) fn outcome(&self, birth: Birth) -> Option<containment_core::Outcome> {
        self.outcomes.get(&birth).copied()
    }

    /// The living process with this pid.
    pub(crate) fn by_pid(&self, pid: containment_core::Pid) -> Option<Birth> {
        self.processes.iter().find(|(_, p)| p.is_alive() && p.pid == pid).map(|(birth, _)| *birth)
    }

    /// Whether this process holds the id of a process group that was not removed yet.
    pub(crate) fn is_leader(&self, birth: Birth) -> bool {
        self.nodes.values().any(|node| node.leader == Some(birth))
    }

    /// The zombies that are a handle's to reap: its programs, wherever they ended.
    pub(crate) fn zombies_started_by(&self, handle: Handle) -> Vec<Birth> {
        let ours = |p: &Process| !p.is_alive() && p.starter == Some(handle);
        self.processes.iter().filter(|(_, p)| ours(p)).map(|(birth, _)| *birth).collect()
    }

    /// Whether a program of a handle lives, wherever it is.
    pub(crate) fn runs_started_by(&self, handle: Handle) -> bool {
        self.processes.values().any(|p| p.is_alive() && p.starter == Some(handle))
    }

    /// The zombies of a subtree that nobody else reaps.
    pub(crate) fn zombies_of(&self, generation: u64) -> Vec<Birth> {
        let subtree = self.subtree(generation);
        let ours = |p: &Process| !p.is_alive() && p.parent.is_none() && subtree.contains(&p.node);
        self.processes.iter().filter(|(_, p)| ours(p)).map(|(birth, _)| *birth).collect()
    }

    /// What `ps` shows; a task that version 1 has frozen is in state D.
    fn state(&self, process: &Process) -> ProcessState {
        let frozen = self.persona == Persona::V1 && self.stands_still(process.node);
        if process.is_alive() && frozen { ProcessState('D') } else { process.state() }
    }

    fn standing(&self, process: &Process, seen_by: Handle) -> Standing {
        match (process.starter == Some(seen_by), self.persona) {
            (true, _) => Standing::Program,
            (false, Persona::ProcessGroup) if process.escaped => Standing::Escaped,
            (false, _) => Standing::Inside,
        }
    }

    fn parent_of(&self, process: &Process) -> i32 {
        let parent = process.parent.and_then(|birth| self.processes.get(&birth));
        parent.map_or(0, |parent| parent.pid.as_raw())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let view = |(birth, p): (&Birth, &Process)| ProcessView {
            pid: p.pid,
            parent: self.parent_of(p),
            comm: p.comm.clone(),
            state: self.state(p),
            runs: self.can_run(*birth),
            group: self.nodes.get(&p.node).and_then(|node| node.name.clone()),
            escaped: p.escaped,
        };
        let named = self.nodes.iter().filter(|(generation, _)| **generation != OUTSIDE);
        let mut groups: Vec<_> = named.filter_map(|(_, node)| node.name.clone()).collect();
        groups.sort();
        let processes = self.processes.iter().map(view).collect();
        Snapshot { now: self.now, work: self.work, processes, groups }
    }
}
