//! Groups: a tree by generation, and what may be put into it.

use std::collections::BTreeSet;

use containment_core::{
    ControllerSet, Error, ErrorKind, FreezeState, GroupName, Limits, Operation, Result,
};

use super::freezer::Request;
use super::{Birth, World};

/// The generation of what is no group of ours: the driver's parent group.
pub(crate) const OUTSIDE: u64 = 0;

const EBUSY: i32 = 16;
const EAGAIN: i32 = 11;

/// What making a group came to.
#[derive(Debug)]
pub(crate) struct Made {
    /// The group.
    pub(crate) generation: u64,
    /// The levels above it that were made too, outermost first.
    pub(crate) above: Vec<u64>,
}

/// One group. Its generation is its identity.
#[derive(Debug)]
pub(crate) struct Node {
    /// The full name below the driver's parent group; none for that one.
    pub(crate) name: Option<GroupName>,
    pub(crate) parent: Option<u64>,
    pub(crate) controllers: ControllerSet,
    pub(crate) limits: Limits,
    pub(super) freeze: Option<Request>,
    /// How often what `cgroup.events` says has changed, and up to which change it was read.
    pub(crate) changes: u64,
    pub(crate) seen: u64,
    published: (bool, bool),
    pub(crate) kill_steps: u32,
    pub(crate) oom_kills: u64,
    pub(crate) memory_peak: u64,
    pub(crate) pids_peak: u64,
    /// The process that holds a process group's id, unreaped until the group is removed.
    pub(crate) leader: Option<Birth>,
    pub(crate) mark: Option<String>,
}

impl Node {
    pub(super) fn outside() -> Self {
        Self::new(None, None, ControllerSet::EMPTY)
    }

    fn new(name: Option<GroupName>, parent: Option<u64>, controllers: ControllerSet) -> Self {
        Self {
            name,
            parent,
            controllers,
            limits: Limits::new(),
            freeze: None,
            changes: 0,
            seen: 0,
            published: (false, false),
            kill_steps: 0,
            oom_kills: 0,
            memory_peak: 0,
            pids_peak: 0,
            leader: None,
            mark: None,
        }
    }
}

impl World {
    pub(crate) fn node(&self, generation: u64) -> Option<&Node> {
        self.nodes.get(&generation)
    }

    pub(crate) fn node_mut(&mut self, generation: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&generation)
    }

    /// Makes the group of this full name, and the levels that are missing on the way. What was made
    /// is removed again when something fails.
    pub(crate) fn make(&mut self, name: &GroupName, with: ControllerSet) -> Result<Made> {
        if self.find(name).is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, Operation::Create));
        }
        let mut above = Vec::new();
        let generation = self.descend(name, with, &mut above);
        match generation {
            Ok(generation) => Ok(Made { generation, above }),
            Err(error) => {
                self.remove_levels(&above);
                Err(error)
            }
        }
    }

    fn descend(
        &mut self,
        name: &GroupName,
        with: ControllerSet,
        made: &mut Vec<u64>,
    ) -> Result<u64> {
        let level = name.split_last().0.filter(|_| self.persona.capabilities().nesting);
        let Some(level) = level else { return self.insert(name.clone(), OUTSIDE, with) };
        let level = level.parse().map_err(|_| invalid())?;
        let above = if let Some(known) = self.find(&level) {
            known
        } else {
            let above = self.descend(&level, with, made)?;
            made.push(above);
            above
        };
        self.insert(name.clone(), above, with)
    }

    /// Removes levels that were made for a group, outermost first in the list, as far as they are empty.
    pub(crate) fn remove_levels(&mut self, levels: &[u64]) {
        for level in levels.iter().rev() {
            if !self.children(*level).is_empty() || self.remove(*level).is_err() {
                return;
            }
        }
    }

    fn insert(&mut self, name: GroupName, parent: u64, with: ControllerSet) -> Result<u64> {
        let occupied = parent != OUTSIDE && self.alive_in(parent).next().is_some();
        if self.persona.no_internal_processes() && !with.is_empty() && occupied {
            return Err(internal_processes(Operation::Create));
        }
        self.generations += 1;
        self.nodes.insert(self.generations, Node::new(Some(name), Some(parent), with));
        Ok(self.generations)
    }

    /// Whether a process may be put into this group.
    pub(crate) fn check_place(&self, generation: u64, operation: Operation) -> Result<()> {
        let hands_on =
            |node: &Node| node.parent == Some(generation) && !node.controllers.is_empty();
        if self.persona.no_internal_processes() && self.nodes.values().any(hands_on) {
            return Err(internal_processes(operation));
        }
        if !self.may_be_born(generation) {
            return Err(Error::from_errno(operation, EAGAIN));
        }
        Ok(())
    }

    /// Whether the limits on processes leave room for one more.
    pub(super) fn may_be_born(&self, generation: u64) -> bool {
        let full = |g: &u64| {
            let most = self.nodes.get(g).and_then(|node| node.limits.pids_max?.value());
            most.is_some_and(|most| self.members_of(*g).count() as u64 >= most)
        };
        !self.generations_up(generation).any(|g| full(&g))
    }

    /// Removes a group and the empty groups in it; those go too when it cannot.
    pub(crate) fn remove(&mut self, generation: u64) -> Result<()> {
        if self.populated(generation) {
            self.remove_empty(generation);
            return Err(Error::from_errno(Operation::Remove, EBUSY));
        }
        let leader = self.nodes.get(&generation).and_then(|node| node.leader);
        if let Some(leader) = leader {
            self.reap(leader);
        }
        for zombie in self.zombies_of(generation) {
            if !self.processes[&zombie].is_program() {
                self.reap(zombie);
            }
        }
        for gone in self.subtree(generation) {
            self.nodes.remove(&gone);
        }
        Ok(())
    }

    /// Removes the groups of the subtree in which nothing lives.
    fn remove_empty(&mut self, generation: u64) {
        for inside in self.subtree(generation) {
            if !self.populated(inside) {
                self.nodes.remove(&inside);
            }
        }
    }

    pub(crate) fn find(&self, name: &GroupName) -> Option<u64> {
        self.nodes.iter().find(|(_, node)| node.name.as_ref() == Some(name)).map(|(g, _)| *g)
    }

    pub(crate) fn children(&self, generation: u64) -> Vec<u64> {
        let inside = self.nodes.iter().filter(|(_, node)| node.parent == Some(generation));
        inside.map(|(generation, _)| *generation).collect()
    }

    /// The group and all groups in it.
    pub(crate) fn subtree(&self, generation: u64) -> BTreeSet<u64> {
        self.nodes
            .keys()
            .copied()
            .filter(|g| self.generations_up(*g).any(|up| up == generation))
            .collect()
    }

    /// The group and all groups around it.
    pub(super) fn lineage(&self, generation: u64) -> impl Iterator<Item = &Node> {
        self.generations_up(generation).filter_map(|g| self.nodes.get(&g))
    }

    pub(super) fn generations_up(&self, generation: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(generation), |g| self.nodes.get(g).and_then(|node| node.parent))
    }

    /// The living processes of this one group, oldest first.
    pub(super) fn alive_in(&self, generation: u64) -> impl Iterator<Item = Birth> {
        let alive = move |p: &super::Process| p.is_alive() && p.node == generation;
        self.processes.iter().filter(move |(_, p)| alive(p)).map(|(birth, _)| *birth)
    }

    /// The living processes of the subtree, programs first, then oldest first.
    pub(crate) fn members_of(&self, generation: u64) -> impl Iterator<Item = Birth> {
        let subtree = self.subtree(generation);
        let inside = |p: &super::Process| p.is_alive() && subtree.contains(&p.node);
        let mut members: Vec<_> = self.processes.iter().filter(|(_, p)| inside(p)).collect();
        members.sort_by_key(|(_, p)| !p.is_program());
        members.into_iter().map(|(birth, _)| *birth).collect::<Vec<_>>().into_iter()
    }

    pub(crate) fn populated(&self, generation: u64) -> bool {
        self.members_of(generation).next().is_some()
    }

    /// Takes note of what `cgroup.events` says by now of every group.
    pub(super) fn publish(&mut self) {
        for generation in self.nodes.keys().copied().collect::<Vec<_>>() {
            let frozen = self.freeze_state(generation) == FreezeState::Frozen;
            let state = (self.populated(generation), frozen);
            if let Some(node) = self.nodes.get_mut(&generation)
                && node.published != state
            {
                node.published = state;
                node.changes += 1;
            }
        }
    }
}

fn invalid() -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Create)
}

fn internal_processes(operation: Operation) -> Error {
    Error::from_errno(operation, EBUSY).with_kind(ErrorKind::InternalProcesses)
}
