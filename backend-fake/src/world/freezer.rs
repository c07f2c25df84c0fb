//! The freezer: a request works on the whole subtree, takes time, and may never complete.

use containment_core::{FreezeState, Signal, Time};

use super::{Event, World};

/// A freeze that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// When members stand still.
    due: Time,
    /// Whether the kernel never says that it is complete.
    sticks: bool,
}

impl World {
    /// Asks for a group to be frozen. Asking again changes nothing.
    pub(crate) fn freeze(&mut self, generation: u64) {
        let sticks = self.sticking_freezes > 0;
        let due = self.now + self.freezing_takes;
        let Some(node) = self.nodes.get_mut(&generation) else { return };
        if node.freeze.is_none() && generation != super::OUTSIDE {
            node.freeze = Some(Request { due, sticks });
            self.sticking_freezes = self.sticking_freezes.saturating_sub(1);
            self.schedule(self.freezing_takes, Event::Settle);
        }
    }

    /// Thaws a group and every group in it, whoever froze them.
    pub(crate) fn thaw(&mut self, generation: u64) {
        for node in self.subtree(generation) {
            if let Some(node) = self.nodes.get_mut(&node) {
                node.freeze = None;
            }
        }
    }

    pub(crate) fn freeze_state(&self, generation: u64) -> FreezeState {
        let requests: Vec<_> = self.requests(generation).collect();
        if requests.is_empty() {
            return FreezeState::Thawed;
        }
        // A killed member is on its way out and holds up nothing.
        let awake = |p: &super::Process| p.uninterruptible && p.killed.is_none();
        let held = self.members_of(generation).any(|birth| awake(&self.processes[&birth]));
        let complete = requests.iter().any(|r| r.due <= self.now && !r.sticks);
        if complete && !held { FreezeState::Frozen } else { FreezeState::Freezing }
    }

    /// How far stopping every member has come, where SIGSTOP stands for a freezer.
    pub(crate) fn stop_state(&self, generation: u64) -> FreezeState {
        let members: Vec<_> = self.members_of(generation).collect();
        // Who sleeps uninterruptibly stops before it executes anything more.
        let stands = |p: &super::Process| {
            p.stopped || (p.uninterruptible && p.pending.contains(Signal::STOP))
        };
        match members.iter().filter(|birth| stands(&self.processes[*birth])).count() {
            0 => FreezeState::Thawed,
            all if all == members.len() => FreezeState::Frozen,
            _ => FreezeState::Freezing,
        }
    }

    /// Whether the group is to be frozen, itself or by a group around it.
    pub(crate) fn is_freezing(&self, generation: u64) -> bool {
        self.requests(generation).next().is_some()
    }

    /// Whether the tasks of this group do not run.
    pub(super) fn stands_still(&self, generation: u64) -> bool {
        self.requests(generation).any(|request| request.due <= self.now)
    }

    fn requests(&self, generation: u64) -> impl Iterator<Item = Request> {
        self.lineage(generation).filter_map(|node| node.freeze)
    }
}
