//! What the suites share: waiters that keep a record, mocks that say what they are told, policies.
#![allow(dead_code, reason = "each suite uses its part")]
#![allow(clippy::allow_attributes, reason = "`expect` cannot hold in every suite at once")]

pub(crate) mod mock;
pub(crate) mod warnings;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend_fake::Fake;
use containment_core::{
    CgroupOps, ControllerSet, GroupOps, Policy, Program, Teardown, TeardownReport, Time, Waiter,
    Watch,
};

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One wait: how long it was, at most and in truth, and what it waited on.
#[derive(Debug, Clone)]
pub(crate) struct Waited {
    pub(crate) bound: Duration,
    pub(crate) took: Duration,
    pub(crate) on: Watch,
}

impl Waited {
    /// Whether an announcement was waited for in vain, or nothing announced at all.
    pub(crate) fn timed_out(&self) -> bool {
        self.took >= self.bound
    }

    pub(crate) fn is_announced(&self) -> bool {
        !matches!(self.on, Watch::Backoff)
    }
}

/// A waiter that keeps a record of its waits.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    inner: Arc<dyn Waiter>,
    waits: Arc<Mutex<Vec<Waited>>>,
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Waiter>) -> Self {
        Self { inner, waits: Arc::default() }
    }

    pub(crate) fn waits(&self) -> Vec<Waited> {
        self.waits.lock().unwrap().clone()
    }
}

impl Waiter for Recorder {
    fn now(&self) -> Time {
        self.inner.now()
    }

    fn wait(&self, until: Time, on: &Watch) {
        let start = self.inner.now();
        self.inner.wait(until, on);
        let took = self.inner.now().since(start);
        self.waits.lock().unwrap().push(Waited { bound: until.since(start), took, on: on.clone() });
    }
}

/// A group of the fake in which these programs, installed before, were spawned.
pub(crate) fn group_with(fake: &Fake, programs: &[&str]) -> Box<dyn GroupOps> {
    let group = fake.create(&"job".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    for program in programs {
        group.spawn(&Program::new(*program)).unwrap();
    }
    group
}

/// Runs a teardown on the fake's clock and says how it went and how it waited.
pub(crate) fn tear_down(
    fake: &Fake,
    group: &dyn GroupOps,
    policy: &Policy,
) -> (TeardownReport, Vec<Waited>) {
    let recorder = Recorder::new(fake.waiter());
    let report = Teardown::new(policy.clone().measuring()).run(group, &recorder);
    (report, recorder.waits())
}

/// No signal ever went to a process that was no member of the group acted on.
pub(crate) fn assert_members_only(fake: &Fake) {
    let strays: Vec<_> = fake.signals().into_iter().filter(|s| !s.to_member).collect();
    assert!(strays.is_empty(), "signals to strangers: {strays:?}");
}

/// Each process stands in one list of the report.
pub(crate) fn assert_one_list_each(report: &TeardownReport) {
    let lists = [&report.left_behind, &report.escaped, &report.survivors];
    let mut seen: Vec<_> = lists.iter().flat_map(|list| list.iter().map(|m| m.started)).collect();
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all, "a member stands in two lists: {report:?}");
}
