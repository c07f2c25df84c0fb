//! A stay of this process in a group, on the fake: in and back (row C6), and what refuses it.

mod common;

use backend_fake::{Fake, Persona, ProcessView, Script};
use common::warnings;
use containment_core::{
    CgroupOps, ControllerSet, ErrorKind, Group, Operation, Pid, Policy, Program,
};

fn group(fake: &Fake, name: &str) -> Group {
    Group::new(fake.create(&name.parse().unwrap(), ControllerSet::EMPTY).unwrap(), fake.waiter())
}

/// The group that this process is in, in the fake's world.
fn own_group(fake: &Fake) -> Option<String> {
    let snapshot = fake.snapshot();
    let is_own = |process: &&ProcessView| process.comm == "caller" && process.pid == Pid::current();
    snapshot.living().find(is_own)?.group.as_ref().map(ToString::to_string)
}

fn personas_that_attach() -> impl Iterator<Item = Fake> {
    Persona::ALL.into_iter().map(Fake::with_persona).filter(|fake| fake.capabilities().attach)
}

#[test]
fn a_stay_ends_where_it_began() {
    for fake in personas_that_attach() {
        let (outer, inner) = (group(&fake, "outer"), group(&fake, "inner"));
        let first = outer.enter().unwrap();
        assert_eq!(own_group(&fake).as_deref(), Some("outer"));
        let second = inner.enter().unwrap();
        assert_eq!(own_group(&fake).as_deref(), Some("inner"));
        drop(second);
        assert_eq!(own_group(&fake).as_deref(), Some("outer"), "back to where it was");
        first.leave().unwrap();
        assert_eq!(own_group(&fake), None);
        assert!(outer.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// K38 by way of a guard.
#[test]
fn the_group_that_holds_the_caller_is_not_killed() {
    for fake in personas_that_attach() {
        let job = group(&fake, "job");
        let inside = job.enter().unwrap();
        fake.program("other", Script::new());
        job.spawn(&Program::new("other")).unwrap();
        let report = job.terminate(&Policy::kill()).unwrap();
        assert!(!report.removed, "{report:?}");
        assert!(report.errors.iter().any(|e| e.kind() == ErrorKind::HoldsCaller), "{report:?}");
        assert!(fake.signals().is_empty() && fake.snapshot().living().count() == 2);
        inside.leave().unwrap();
    }
}

#[test]
fn process_groups_cannot_be_entered() {
    let fake = Fake::process_group();
    let refused = group(&fake, "job").enter().unwrap_err();
    assert_eq!((refused.kind(), refused.operation()), (ErrorKind::Unsupported, Operation::Attach));
}

#[test]
fn a_frozen_group_is_not_entered() {
    let fake = Fake::v2();
    let job = group(&fake, "job");
    job.ops().request_freeze().unwrap();
    let refused = job.enter().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Frozen);
    assert!(refused.remedy().is_some());
    assert_eq!(own_group(&fake), None);
}

#[test]
fn a_group_that_vanished_says_so() {
    let fake = Fake::v2();
    let job = group(&fake, "job");
    job.ops().remove().unwrap();
    assert_eq!(job.enter().unwrap_err().kind(), ErrorKind::Gone);
}

#[test]
fn a_way_back_that_fails_is_told_once() {
    let fake = Fake::v2();
    let job = group(&fake, "job");
    let inside = job.enter().unwrap();
    fake.fail(Operation::Attach, libc::EACCES, 1);
    let warned = warnings::of(|| drop(inside));
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("group=job") && warned[0].contains("EACCES"), "{warned:?}");
    assert_eq!(own_group(&fake).as_deref(), Some("job"));
    let inside = job.enter().unwrap();
    fake.fail(Operation::Attach, libc::EACCES, 1);
    let mut refused = None;
    let warned = warnings::of(|| refused = inside.leave().err());
    assert_eq!(refused.unwrap().kind(), ErrorKind::PermissionDenied);
    assert_eq!(warned, [] as [&str; 0], "told by the answer alone");
    job.keep();
}
