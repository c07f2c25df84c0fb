//! The guardian's post: who ends the group should `contain` itself be killed.

use containment::registry::Registry;
use containment::{Backend, Degradation, Error, Group, Guardian, Source};

use crate::cli::Orphans;

/// What it means that nobody stands there.
const UNGUARDED: &str = "if contain is killed, too, run: contain gc";

/// Where a guardian stands, if one has to. A process group needs none: its keeper is one.
#[derive(Debug)]
pub(super) struct Post {
    orphans: Orphans,
    registry: Option<Registry>,
    guardian: Option<Guardian>,
    vacant: Option<Error>,
}

impl Post {
    pub(super) fn new(orphans: Orphans, registry: Option<Registry>) -> Self {
        Self { orphans, registry, guardian: None, vacant: None }
    }

    /// Posts a guardian over a group that was just made, instead of one over a group that did not work.
    pub(super) fn fill(&mut self, group: &Group) {
        self.guardian = None;
        // Why none stood over the group before says nothing of this one.
        self.vacant = None;
        if self.orphans == Orphans::Keep || group.id().backend == Backend::ProcessGroup {
            return;
        }
        match Guardian::post(group, self.registry.as_ref()) {
            Ok(guardian) => self.guardian = Some(guardian),
            Err(error) => self.vacant = Some(error),
        }
    }

    /// Posts a new guardian where the old one was killed. One that could not stand has no successor: each
    /// would end as soon as it was posted.
    pub(super) fn refill(&mut self, group: &Group) {
        let Some(lost) = self.guardian.take_if(|guardian| guardian.is_lost()) else { return };
        if lost.has_failed() {
            tracing::warn!("the guardian cannot stand (descriptors, memory); {UNGUARDED}");
            return;
        }
        self.fill(group);
        if let Some(error) = self.vacant.take() {
            tracing::warn!(
                "the guardian was killed, and no other can stand: {error:#}; {UNGUARDED}"
            );
        }
    }

    /// What announces that the guardian was killed.
    pub(super) fn source(&self) -> Option<Source> {
        self.guardian.as_ref().map(Guardian::source)
    }

    /// Lets the guardian end: the group is gone, or kept. Its end is waited for when this is dropped.
    pub(super) fn dismiss(&self) {
        if let Some(guardian) = &self.guardian {
            guardian.dismiss();
        }
    }

    /// Waits for the end of a guardian that was dismissed: it descends from us, and is nobody who escaped.
    pub(super) fn leave(&mut self) {
        self.guardian = None;
    }

    /// Leaves it to the guardian to end what could not be ended. It may do better: a member can have
    /// moved us into the group, which then refuses our kill.
    pub(super) fn hand_over(&mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.stand();
        }
    }

    /// That nobody stands there, and why.
    pub(super) fn degradation(&mut self) -> Option<Degradation> {
        let why = self.vacant.take()?;
        Some(Degradation { what: "orphans".to_owned(), why })
    }
}
