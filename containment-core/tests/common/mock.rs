//! A mock group that expects exactly one sequence of calls, and a clock to drive it by.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use containment_core::{
    Backend, Capabilities, Change, Empty, Error, ErrorKind, Escape, EventId, Freeze, FreezeState,
    GroupId, Identity, Kill, KillStep, LeaveBy, Member, MockGroupOps, Operation, Pid, ProcessState,
    Reaped, Result, Set, Signal, Signalled, Standing, Step, Teardown, TeardownReport, Time, Usage,
    Watch,
};
use mockall::Sequence;

use super::Waited;

/// One call that the mock expects, and what it answers.
#[derive(Debug)]
pub(crate) enum Expect {
    Reap,
    ReapFails(ErrorKind),
    Populated(Result<bool>),
    Members(Result<Vec<Member>>),
    Signal(Signal, Result<Signalled>),
    Kill(Result<KillStep>),
    HoldStill(Result<Option<Vec<Member>>>),
    Thaw(Result<()>),
    Frozen(Result<FreezeState>),
    Watch(Change, Result<Watch>),
    Usage(Result<()>),
    Remove(Result<()>),
}

pub(crate) fn alive() -> [Expect; 2] {
    [Expect::Reap, Expect::Populated(Ok(true))]
}

pub(crate) fn dead() -> [Expect; 2] {
    [Expect::Reap, Expect::Populated(Ok(false))]
}

/// What follows once the group is empty and nothing is in the way.
pub(crate) fn removal() -> [Expect; 2] {
    [Expect::Usage(Ok(())), Expect::Remove(Ok(()))]
}

pub(crate) fn announced(change: Change) -> Expect {
    Expect::Watch(change, Ok(Watch::Virtual(EventId(0))))
}

pub(crate) fn polled(change: Change) -> Expect {
    Expect::Watch(change, Ok(Watch::Backoff))
}

pub(crate) fn error(kind: ErrorKind, operation: Operation) -> Error {
    Error::new(kind, operation).with_group("job")
}

pub(crate) fn passed() -> Signalled {
    Signalled { count: 1, failed: Vec::new() }
}

pub(crate) fn member(pid: i32, standing: Standing) -> Member {
    Member {
        pid: Pid::new(pid).unwrap(),
        parent: 1,
        started: u64::from(pid.unsigned_abs()),
        comm: "sh".to_owned(),
        state: ProcessState('S'),
        standing,
        cpu: None,
        memory: None,
        origin: None,
    }
}

pub(crate) fn capabilities(kill: Kill, freeze: Freeze, escape: Escape) -> Capabilities {
    Capabilities {
        kill,
        escape,
        leave_by: LeaveBy::None,
        empty: Empty::Notified,
        freeze,
        nesting: true,
        attach: true,
        limits: Set::EMPTY,
        usage: Set::EMPTY,
    }
}

pub(crate) fn atomic() -> Capabilities {
    capabilities(Kill::Atomic, Freeze::Kernel, Escape::Impossible)
}

pub(crate) fn frozen() -> Capabilities {
    capabilities(Kill::Frozen { thaw_after: true }, Freeze::Kernel, Escape::Impossible)
}

pub(crate) fn repeated() -> Capabilities {
    capabilities(Kill::Repeated, Freeze::StopSignal, Escape::Swept)
}

/// A mock that expects these calls, in this order, and no other.
pub(crate) fn group(
    capabilities: Capabilities,
    calls: impl IntoIterator<Item = Expect>,
) -> MockGroupOps {
    group_naming(true, capabilities, calls)
}

/// The same, and whether a report may have to name somebody in it.
pub(crate) fn group_naming(
    some: bool,
    capabilities: Capabilities,
    calls: impl IntoIterator<Item = Expect>,
) -> MockGroupOps {
    let mut mock = MockGroupOps::new();
    mock.expect_id().return_const(id());
    mock.expect_capabilities().return_const(capabilities);
    mock.expect_program_runs().return_const(!some);
    let mut order = Sequence::new();
    for call in calls {
        expect(&mut mock, &mut order, call);
    }
    mock
}

pub(crate) fn id() -> GroupId {
    let name = "job".parse().unwrap();
    GroupId { backend: Backend::Fake, name, identity: Identity::Serial(1) }
}

/// What was done to a mock, looks left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acts(Arc<Mutex<Vec<&'static str>>>);

impl Acts {
    pub(crate) fn list(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, act: &'static str) {
        self.0.lock().unwrap().push(act);
    }
}

/// A mock that lives by what was done to it, takes everything, announces nothing and never freezes.
pub(crate) fn acting(
    capabilities: Capabilities,
    lives: impl Fn(&[&'static str]) -> bool + Send + 'static,
    kill: impl Fn() -> Result<KillStep> + Send + 'static,
) -> (MockGroupOps, Acts) {
    acting_with(capabilities, lives, kill, || Ok(()))
}

/// The same with an answer to the removal.
pub(crate) fn acting_with(
    capabilities: Capabilities,
    lives: impl Fn(&[&'static str]) -> bool + Send + 'static,
    kill: impl Fn() -> Result<KillStep> + Send + 'static,
    remove: impl Fn() -> Result<()> + Send + 'static,
) -> (MockGroupOps, Acts) {
    let mut mock = MockGroupOps::new();
    let acts = Acts::default();
    let note = |act: &'static str| {
        let acts = acts.clone();
        move || acts.note(act)
    };
    let (killed, held, thawed, removed) =
        (note("kill"), note("freeze"), note("thaw"), note("remove"));
    let (seen, sent) = (acts.clone(), acts.clone());
    mock.expect_id().return_const(id());
    mock.expect_capabilities().return_const(capabilities);
    mock.expect_program_runs().return_const(false);
    mock.expect_reap().returning(|| Ok(Reaped::default()));
    mock.expect_populated().returning(move || Ok(lives(&seen.list())));
    mock.expect_members().returning(|| Ok(vec![member(7, Standing::Program)]));
    mock.expect_frozen().returning(|| Ok(FreezeState::Freezing));
    mock.expect_watch().returning(|_| Ok(Watch::Backoff));
    mock.expect_usage().returning(|| Ok(Usage::default()));
    mock.expect_kill().returning(move || {
        killed();
        kill()
    });
    mock.expect_signal().returning(move |signal| {
        sent.note(if signal == Signal::KILL { "SIGKILL" } else { "signal" });
        Ok(passed())
    });
    mock.expect_hold_still().returning(move || {
        held();
        Ok(None)
    });
    mock.expect_request_thaw().returning(move || {
        thawed();
        Ok(())
    });
    mock.expect_remove().returning(move || {
        removed();
        remove()
    });
    (mock, acts)
}

fn expect(mock: &mut MockGroupOps, order: &mut Sequence, call: Expect) {
    macro_rules! next {
        ($method:ident, $answer:expr) => {
            mock.$method().times(1).in_sequence(order).return_once($answer)
        };
        ($method:ident, $argument:expr, $answer:expr) => {
            mock.$method()
                .with(mockall::predicate::eq($argument))
                .times(1)
                .in_sequence(order)
                .return_once($answer)
        };
    }
    match call {
        Expect::Reap => {
            next!(expect_reap, || Ok(Reaped::default()));
        }
        Expect::ReapFails(kind) => {
            next!(expect_reap, move || Err(error(kind, Operation::Reap)));
        }
        Expect::Populated(answer) => {
            next!(expect_populated, move || answer);
        }
        Expect::Members(answer) => {
            next!(expect_members, move || answer);
        }
        Expect::Signal(signal, answer) => {
            next!(expect_signal, signal, move |_| answer);
        }
        Expect::Kill(answer) => {
            next!(expect_kill, move || answer);
        }
        Expect::HoldStill(answer) => {
            next!(expect_hold_still, move || answer);
        }
        Expect::Thaw(answer) => {
            next!(expect_request_thaw, move || answer);
        }
        Expect::Frozen(answer) => {
            next!(expect_frozen, move || answer);
        }
        Expect::Watch(change, answer) => {
            next!(expect_watch, change, move |_| answer);
        }
        Expect::Usage(answer) => {
            next!(expect_usage, move || answer.map(|()| Usage::default()));
        }
        Expect::Remove(answer) => {
            next!(expect_remove, move || answer);
        }
    }
}

/// How long after the beginning of a wait the mock's announcements come.
pub(crate) const ANNOUNCED_AFTER: Duration = Duration::from_micros(100);

/// Drives a teardown to its end: announcements come at once, pauses last as long as they are.
pub(crate) fn drive(mut teardown: Teardown, group: &MockGroupOps) -> (TeardownReport, Vec<Waited>) {
    let mut waits = Vec::new();
    let mut now = Time::ZERO;
    loop {
        match teardown.step(now, group) {
            Step::Done(report) => return (*report, waits),
            Step::Again => {}
            Step::Wait { until, on } => {
                let bound = until.since(now);
                let announced = matches!(on, Watch::Virtual(_));
                let took = if announced { bound.min(ANNOUNCED_AFTER) } else { bound };
                now = now + took;
                waits.push(Waited { bound, took, on });
            }
        }
        assert!(waits.len() < 100_000, "the teardown does not end");
    }
}
