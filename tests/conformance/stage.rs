//! What the cases share: making groups, waiting by the clock of the world, checking refusals.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use containment_core::{
    Child, ControllerSet, ErrorKind, FreezeState, Group, GroupName, GroupOps, Kill, KillStep,
    Member, Operation, Policy, Result, TeardownReport, Watch,
};

use crate::time::{patient, scaled};
use crate::world::{Deed, Known, World};

/// How long anything that has to happen may take.
pub(crate) fn patience() -> Duration {
    scaled(Duration::from_secs(10))
}

/// A grace that no case waits for.
pub(crate) const LONG: Duration = Duration::from_secs(100_000);

/// Long enough to see that nothing happens.
pub(crate) const A_WHILE: Duration = Duration::from_millis(30);

impl dyn World + '_ {
    /// A group without controllers.
    pub(crate) fn group(&self) -> Group {
        self.group_named(&fresh_name())
    }

    pub(crate) fn group_named(&self, name: &GroupName) -> Group {
        self.guard(self.driver().create(name, ControllerSet::EMPTY).expect("it can be made"))
    }

    pub(crate) fn guard(&self, ops: Box<dyn GroupOps>) -> Group {
        Group::new(ops, self.driver().waiter())
    }

    /// Starts a program that does this.
    pub(crate) fn start(&self, group: &Group, deed: Deed) -> Child {
        let child = group.spawn(&self.program(deed));
        child.unwrap_or_else(|error| panic!("{deed:?} cannot be started: {error:?}"))
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, time: Duration) {
        let waiter = self.driver().waiter();
        waiter.wait(waiter.now() + time, &Watch::Backoff);
    }

    /// Waits until it is so, looking again after pauses.
    pub(crate) fn eventually(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let waiter = self.driver().waiter();
        let until = waiter.now() + patience();
        while !happened() {
            assert!(waiter.now() < until, "not in time: {what}");
            self.pause(Duration::from_millis(1));
        }
    }

    /// Waits until the group has so many members.
    pub(crate) fn members(&self, group: &dyn GroupOps, count: usize) -> Vec<Member> {
        let mut members = Vec::new();
        self.eventually(&format!("{count} members"), || {
            members = group.members().expect("members can be listed");
            members.len() == count
        });
        members
    }

    /// Waits until nothing in the group lives.
    pub(crate) fn emptied(&self, group: &dyn GroupOps) {
        self.eventually("the group is empty", || {
            group.reap().expect("what ended can be reaped");
            !group.populated().expect("the population can be read")
        });
    }

    /// Freezes the group, and waits until that is complete.
    /// Asked each time, as core does: version 1 forgets whoever is starting a program, since Linux 6.1.
    pub(crate) fn freeze(&self, group: &dyn GroupOps) {
        self.eventually("the group is frozen", || {
            group.request_freeze().expect("it can be frozen");
            is(group, FreezeState::Frozen)
        });
    }

    /// Thaws the group, and waits until that is complete.
    pub(crate) fn thaw(&self, group: &dyn GroupOps) {
        group.request_thaw().expect("it can be thawed");
        self.eventually("the group is thawed", || is(group, FreezeState::Thawed));
    }

    /// Kills, step by step as the backend wants it, until nothing lives; the group stays.
    pub(crate) fn kill(&self, group: &dyn GroupOps) {
        self.eventually("the kill is over", || {
            if matches!(group.kill(), Ok(KillStep::Freezing)) {
                self.eventually("the freeze is complete", || is(group, FreezeState::Frozen));
                return false;
            }
            if matches!(group.capabilities().kill, Kill::Frozen { .. }) {
                group.request_thaw().expect("it can be thawed");
            }
            self.pause(Duration::from_millis(1));
            group.reap().expect("what ended can be reaped");
            !group.populated().expect("the population can be read")
        });
    }

    /// Ends the group by SIGKILL; nothing may go wrong, and none of these may live on.
    pub(crate) fn end_all(&self, group: Group, members: &[Member]) {
        drop(self.killed(group, members));
    }

    /// The same, and how it went.
    pub(crate) fn killed(&self, group: Group, members: &[Member]) -> TeardownReport {
        let report = self.finish(group, &Policy::kill().measuring());
        for member in members {
            assert!(!self.lives(Known::from(member)), "{member:?} lives on: {report:?}");
        }
        report
    }

    /// Ends the group, in which nothing may go wrong.
    pub(crate) fn finish(&self, group: Group, policy: &Policy) -> TeardownReport {
        let id = group.id().clone();
        let report = group.terminate(&patient(policy)).expect("it is ours");
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
        let listed = self.driver().list().expect("groups can be listed");
        assert!(!listed.contains(&id), "{id} is still listed");
        report
    }

    /// Checks that it was refused: in this way, by this backend, in this group.
    pub(crate) fn refused<T>(
        &self,
        result: Result<T>,
        kind: ErrorKind,
        operation: Operation,
        group: &GroupName,
    ) {
        let Err(error) = result else { panic!("{operation:?} was not refused") };
        assert_eq!((error.kind(), error.operation()), (kind, operation), "{error:?}");
        assert_eq!(error.backend(), Some(self.driver().backend()), "{error:?}");
        assert_eq!(error.group(), Some(group.as_str()), "{error:?}");
    }
}

/// A name that no other case uses.
pub(crate) fn fresh_name() -> GroupName {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    name(&format!("contain-conf-{}-{serial}", std::process::id()))
}

pub(crate) fn name(text: &str) -> GroupName {
    text.parse().expect("it is a name")
}

pub(crate) fn is(group: &dyn GroupOps, state: FreezeState) -> bool {
    group.frozen().expect("the freezer can be read") == state
}
