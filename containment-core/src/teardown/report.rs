//! What a teardown found and did.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::{Error, Member, Standing, Usage};

/// How a teardown went. Every member stands in one list.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program};
///
/// let fake = Fake::new();
/// fake.program("dd", Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX));
/// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// job.spawn(&Program::new("dd"))?;
/// let report = job.terminate(&Policy::kill().give_up_after(Duration::from_secs(3)))?;
/// assert!(!report.is_clean() && !report.emptied && !report.removed);
/// assert_eq!(report.survivors[0].comm, "dd", "no kill ends a process in state D");
/// assert!(report.rounds > 0 && report.elapsed >= Duration::from_secs(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// What the group used, read when it was empty and before it was removed; where the policy asks for it.
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

    /// Who is alive now that the program has ended.
    pub(super) fn left_behind_among(&self, members: &[Member]) -> Vec<Member> {
        let escaped = |m: &Member| self.escaped.iter().any(|known| known.is_same(m));
        let inside = members.iter().filter(|m| m.standing == Standing::Inside && !escaped(m));
        inside.cloned().collect()
    }

    /// Who has left the group's bounds and stands in no list yet.
    pub(super) fn newly_escaped_among(&self, members: &[Member]) -> Vec<Member> {
        let listed = || self.escaped.iter().chain(&self.left_behind);
        let known: HashSet<_> = listed().map(|m| (m.pid, m.started)).collect();
        let escaped = members.iter().filter(|m| m.standing == Standing::Escaped);
        escaped.filter(|m| !known.contains(&(m.pid, m.started))).cloned().collect()
    }

    /// The same members, with the origins of those that were listed before.
    pub(super) fn with_known_origins(&self, members: &[Member]) -> Vec<Member> {
        let listed = self.left_behind.iter().chain(&self.escaped);
        let known: HashMap<_, _> = listed.map(|m| ((m.pid, m.started), &m.origin)).collect();
        let origin =
            |m: &Member| known.get(&(m.pid, m.started)).and_then(|origin| (*origin).clone());
        members.iter().map(|m| Member { origin: origin(m), ..m.clone() }).collect()
    }

    pub(super) fn note_survivors(&mut self, members: Vec<Member>) {
        let surviving: HashSet<_> = members.iter().map(|m| (m.pid, m.started)).collect();
        self.left_behind.retain(|m| !surviving.contains(&(m.pid, m.started)));
        self.escaped.retain(|m| !surviving.contains(&(m.pid, m.started)));
        self.survivors = members;
    }
}
