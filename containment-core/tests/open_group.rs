//! Groups that somebody else owns, on the fake: what acting on them comes to, and that they stay.

mod common;

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{group_with, ms, secs};
use containment_core::{
    CgroupOps, ErrorKind, FreezeState, GroupName, KillStep, MockGroupOps, NotFrozen, OpenGroup,
    Policy, Program, Reaped, Signal, Time, Watch,
};

fn open(fake: &Fake, programs: &[&str]) -> OpenGroup {
    OpenGroup::new(group_with(fake, programs), fake.waiter())
}

fn groups(fake: &Fake) -> Vec<GroupName> {
    fake.snapshot().groups.clone()
}

#[test]
fn letting_go_of_the_handle_does_nothing() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        drop(open(&fake, &["job"]));
        assert_eq!(fake.snapshot().living().count(), 1, "{persona:?}");
        assert!(fake.signals().is_empty(), "{persona:?}");
    }
}

#[test]
fn a_kill_leaves_the_group_empty_and_able_to_hold_programs() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().ignores(Signal::TERM));
        fake.program("next", Script::new());
        let group = open(&fake, &["job", "job"]);
        let report = group.kill(Policy::kill());
        assert!(report.emptied && !report.removed, "{persona:?}: {report:?}");
        assert!(report.survivors.is_empty(), "{persona:?}: {report:?}");
        assert_eq!(fake.snapshot().living().count(), 0, "{persona:?}");
        assert_eq!(groups(&fake), ["job".parse::<GroupName>().unwrap()], "{persona:?}");
        assert!(group.spawn(&Program::new("next")).is_ok(), "{persona:?}");
    }
}

#[test]
fn who_survives_a_kill_is_named_and_the_group_was_not_emptied() {
    let fake = Fake::v2();
    fake.program("job", Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX));
    let group = open(&fake, &["job"]);
    let report = group.kill(Policy::kill().give_up_after(secs(1)));
    assert_eq!(report.survivors.len(), 1);
    assert!(!report.emptied);
}

/// As on version 2, where somebody moved a process in whose first thread had ended.
#[test]
fn a_group_in_which_somebody_lives_whom_nobody_sees_was_not_emptied() {
    let fake = Fake::v2();
    let mut ops = MockGroupOps::new();
    ops.expect_id().return_const(common::mock::id());
    ops.expect_capabilities().return_const(fake.capabilities().clone());
    ops.expect_program_runs().return_const(false);
    ops.expect_reap().returning(|| Ok(Reaped::default()));
    ops.expect_populated().returning(|| Ok(true));
    ops.expect_members().returning(|| Ok(Vec::new()));
    ops.expect_hold_still().returning(|| Ok(None));
    ops.expect_request_thaw().returning(|| Ok(()));
    ops.expect_kill().returning(|| Ok(KillStep::Killed));
    ops.expect_watch().returning(|_| Ok(Watch::Backoff));
    let group = OpenGroup::new(Box::new(ops), fake.waiter());
    let report = group.kill(Policy::kill().give_up_after(secs(1)));
    assert!(!report.emptied, "{report:?}");
    assert_eq!(report.errors[0].kind(), ErrorKind::TimedOut);
}

#[test]
fn freezing_and_thawing_return_when_it_is_so() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().forks(Duration::ZERO, Script::new()));
        let group = open(&fake, &["job"]);
        fake.advance(ms(1));
        group.freeze(secs(1)).unwrap().keep();
        assert_eq!(group.ops().frozen().unwrap(), FreezeState::Frozen, "{persona:?}");
        group.thaw().unwrap();
        assert_eq!(group.ops().frozen().unwrap(), FreezeState::Thawed, "{persona:?}");
    }
}

#[test]
fn a_freeze_that_does_not_complete_is_undone_and_names_who_would_not() {
    let fake = Fake::v1();
    fake.program("stuck", Script::new().sleeps_uninterruptibly(Duration::ZERO, secs(60)));
    fake.program("job", Script::new());
    let group = open(&fake, &["stuck", "job"]);
    fake.advance(ms(1));
    let NotFrozen { error, holdouts } = group.freeze(secs(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let names: Vec<_> = holdouts.iter().map(|member| &*member.comm).collect();
    assert_eq!(names, ["stuck"]);
    assert!(error.to_string().contains("(stuck, state D)"), "{error}");
    assert_eq!(group.ops().frozen().unwrap(), FreezeState::Thawed);
    assert!(fake.now() < Time::since_epoch(secs(3)), "{:?}", fake.now());
}

#[test]
fn nobody_is_waited_for_in_vain() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().exits(secs(3), 0));
        let group = open(&fake, &["job"]);
        let late = group.wait_empty(Some(secs(1))).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut, "{persona:?}");
        group.wait_empty(None).unwrap();
        group.remove().unwrap();
        assert_eq!(groups(&fake), [], "{persona:?}");
        group.wait_empty(None).unwrap();
    }
}

#[test]
fn a_group_in_which_something_lives_is_not_removed() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let group = open(&fake, &["job"]);
        assert_eq!(group.remove().unwrap_err().kind(), ErrorKind::Busy, "{persona:?}");
        assert_eq!(fake.snapshot().living().count(), 1, "{persona:?}");
        assert_eq!(groups(&fake).len(), 1, "{persona:?}");
    }
}
