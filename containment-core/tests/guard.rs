//! The owning guard on the fake: what dropping, keeping, terminating and waiting come to.

mod common;

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{group_with, ms, secs};
use containment_core::{
    CgroupOps, ErrorKind, Group, GroupName, Limits, Operation, Outcome, Policy, Program, Signal,
    Step, Time,
};

fn guard(fake: &Fake, programs: &[&str]) -> Group {
    Group::new(group_with(fake, programs), fake.waiter())
}

fn nothing_is_left(fake: &Fake) -> bool {
    let snapshot = fake.snapshot();
    snapshot.living().count() == 0 && snapshot.groups.is_empty()
}

#[test]
fn dropping_kills_and_removes() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().ignores(Signal::TERM).dodges(2));
        drop(guard(&fake, &["job", "job"]));
        assert!(nothing_is_left(&fake), "{persona:?}");
    }
}

#[test]
fn dropping_gives_up_after_a_while() {
    let fake = Fake::v2();
    fake.program("job", Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX));
    drop(guard(&fake, &["job"]));
    assert_eq!(fake.snapshot().living().count(), 1);
    assert!(fake.now() <= Time::since_epoch(secs(6)));
}

#[test]
fn keeping_leaves_everything_alone() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        guard(&fake, &["job"]).keep();
        assert_eq!(fake.snapshot().living().count(), 1, "{persona:?}");
        assert_eq!(fake.snapshot().groups, ["job".parse::<GroupName>().unwrap()]);
        assert!(fake.signals().is_empty());
    }
}

#[test]
fn terminating_reports_and_leaves_nothing_for_the_drop() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().lingers(ms(200)));
        let group = guard(&fake, &[]);
        let child = group.spawn(&Program::new("job")).unwrap();
        let report = group.terminate(&Policy::graceful(secs(10))).unwrap();
        assert!(report.is_clean() && report.rounds == 0, "{persona:?} {report:?}");
        assert!(report.elapsed >= ms(200) && report.elapsed < ms(260), "{report:?}");
        assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
        let removals = fake.calls().into_iter().filter(|call| call.method == "remove");
        assert_eq!(removals.count(), 1, "{persona:?}");
    }
}

#[test]
fn a_termination_that_is_dropped_half_way_kills_at_once() {
    let fake = Fake::v2();
    fake.program("job", Script::new().ignores(Signal::TERM));
    let group = guard(&fake, &["job"]);
    let mut termination = group.begin_termination(Policy::graceful(secs(100))).unwrap();
    assert!(matches!(termination.step(fake.now()), Step::Again));
    assert!(matches!(termination.step(fake.now()), Step::Wait { .. }));
    drop(termination);
    assert!(nothing_is_left(&fake) && fake.now() < Time::since_epoch(ms(10)));
}

#[test]
fn a_termination_can_be_hurried() {
    let fake = Fake::v1();
    fake.program("job", Script::new().ignores(Signal::TERM));
    let group = guard(&fake, &["job"]);
    let clock = fake.waiter();
    let mut termination = group.begin_termination(Policy::graceful(secs(100))).unwrap();
    assert!(matches!(termination.step(clock.now()), Step::Again));
    assert!(matches!(termination.step(clock.now()), Step::Wait { .. }));
    termination.hurry();
    let report = loop {
        match termination.step(clock.now()) {
            Step::Again => {}
            Step::Wait { until, on } => clock.wait(until, &on),
            Step::Done(report) => break report,
        }
    };
    assert!(report.is_clean() && report.elapsed < ms(10), "{report:?}");
}

#[test]
fn waiting_for_emptiness_ends_with_the_last_member() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let child = Script::new().exits(secs(3), 0);
        fake.program("job", Script::new().forks(Duration::ZERO, child).exits(secs(1), 7));
        let group = guard(&fake, &[]);
        let job = group.spawn(&Program::new("job")).unwrap();
        assert_eq!(job.wait().unwrap(), Outcome::Exited(7));
        assert_eq!(fake.now(), Time::since_epoch(secs(1)));
        let early = group.wait_empty(secs(1)).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::TimedOut);
        group.wait_empty(secs(60)).unwrap();
        assert_eq!(fake.now(), Time::since_epoch(secs(3)), "{persona:?}");
    }
}

#[test]
fn waiting_for_emptiness_needs_no_watch() {
    let fake = Fake::v2();
    fake.program("job", Script::new().exits(secs(1), 0));
    let group = guard(&fake, &["job"]);
    fake.fail(Operation::Watch, libc::EMFILE, usize::MAX);
    group.wait_empty(secs(60)).unwrap();
    assert!(fake.now() < Time::since_epoch(ms(1_060)));
}

#[test]
fn waiting_for_a_program_needs_no_watch() {
    let fake = Fake::v2();
    fake.program("job", Script::new().exits(secs(1), 7));
    let group = guard(&fake, &[]);
    let job = group.spawn(&Program::new("job")).unwrap();
    fake.fail(Operation::Watch, libc::EMFILE, usize::MAX);
    assert_eq!(job.wait().unwrap(), Outcome::Exited(7));
    assert!(fake.now() < Time::since_epoch(ms(1_060)));
}

#[test]
fn a_limit_that_is_lacking_is_an_error() {
    let fake = Fake::process_group();
    let group = guard(&fake, &[]);
    let refused = group.set_limits(&Limits::new().pids_max(5)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(fake.create(&"job".parse().unwrap(), Limits::new().asked()).is_err());
}
