//! What a teardown found and did.

use std::time::Duration;

use crate::{Error, Member, Standing, Usage};

/// How a teardown went. Every member stands in one list.
#[derive(Debug, Default)]
#[must_use = "a teardown that left survivors is a loss of containment"]
pub struct TeardownReport {
    /// How long it took.
    pub elapsed: Duration,
    /// Members that were alive when the program had ended.
    pub left_behind: Vec<Member>,
    /// Descendants that were found outside the process group, or outside the cgroup.
    pub escaped: Vec<Member>,
    /// Members that were still alive when the teardown gave up.
    pub survivors: Vec<Member>,
    /// Kill steps that were made.
    pub rounds: u32,
    /// Every error on the way, each once.
    pub errors: Vec<Error>,
    /// What the group used, read when it was empty and before it was removed.
    pub usage: Option<Usage>,
    /// Whether it was seen that nothing lives in the group any more.
    pub emptied: bool,
    /// Whether the group is gone.
    pub removed: bool,
}

impl TeardownReport {
    /// Whether nothing is left: no survivor, and the group is gone.
    pub fn is_clean(&self) -> bool {
        self.survivors.is_empty() && self.removed
    }

    pub(super) fn note(&mut self, error: Error) {
        let known = self.errors.iter().any(|e| e.is_like(&error));
        if !known {
            self.errors.push(error);
        }
    }

    /// Takes down who is alive now that the program has ended.
    pub(super) fn note_left_behind(&mut self, members: &[Member]) {
        let escaped = |m: &Member| self.escaped.iter().any(|known| known.is_same(m));
        let inside = members.iter().filter(|m| m.standing == Standing::Inside && !escaped(m));
        self.left_behind = inside.cloned().collect();
    }

    pub(super) fn note_escaped(&mut self, members: &[Member]) {
        for member in members.iter().filter(|m| m.standing == Standing::Escaped) {
            let known = self.escaped.iter().chain(&self.left_behind).any(|m| m.is_same(member));
            if !known {
                self.escaped.push(member.clone());
            }
        }
    }

    pub(super) fn note_survivors(&mut self, members: Vec<Member>) {
        let dead = |m: &Member| !members.iter().any(|survivor| survivor.is_same(m));
        self.left_behind.retain(dead);
        self.escaped.retain(dead);
        self.survivors = members;
    }
}
