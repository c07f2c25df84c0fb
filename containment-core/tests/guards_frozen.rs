//! A group that stands still as long as somebody holds it: on every persona of the fake, and on mocks.

mod common;

use std::sync::Arc;
use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::mock::{atomic, id, member};
use common::{group_with, ms, secs};
use containment_core::{
    Capabilities, CgroupOps as _, Error, ErrorKind, Freeze, FreezeState, Group, Member,
    MockGroupOps, Operation, ProcessState, Standing, SystemWaiter, Watch,
};

fn group(fake: &Fake) -> Group {
    fake.program("job", Script::new().forks(Duration::ZERO, Script::new()));
    let group = Group::new(group_with(fake, &["job"]), fake.waiter());
    fake.advance(ms(1));
    group
}

#[test]
fn a_guard_thaws_when_it_is_dropped_and_not_when_it_is_kept() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let group = group(&fake);
        let state = || {
            fake.advance(secs(1));
            group.ops().frozen().unwrap()
        };
        let still = group.freeze(secs(1)).unwrap();
        assert_eq!(state(), FreezeState::Frozen, "{persona:?}");
        drop(still);
        assert_eq!(state(), FreezeState::Thawed, "{persona:?}");
        group.freeze(secs(1)).unwrap().keep();
        assert_eq!(state(), FreezeState::Frozen, "{persona:?}");
        group.freeze(secs(1)).unwrap().thaw().unwrap();
        assert_eq!(group.ops().frozen().unwrap(), FreezeState::Thawed, "{persona:?}");
    }
}

#[test]
fn a_freeze_keeps_to_its_bound_and_is_undone() {
    let fake = Fake::v1();
    fake.program("stuck", Script::new().sleeps_uninterruptibly(Duration::ZERO, secs(60)));
    fake.program("job", Script::new());
    let group = Group::new(group_with(&fake, &["stuck", "job"]), fake.waiter());
    fake.advance(ms(1));
    let before = fake.now();
    let not = group.freeze(secs(2)).unwrap_err();
    assert!(fake.now().since(before) < secs(3));
    let names: Vec<_> = not.holdouts.iter().map(|member| &*member.comm).collect();
    assert_eq!((not.error.kind(), names), (ErrorKind::TimedOut, vec!["stuck"]));
    assert_eq!(group.ops().frozen().unwrap(), FreezeState::Thawed);
    fake.advance(secs(60));
}

/// Members in these states, of a group that never freezes.
fn never_frozen(freeze: Freeze, states: [&'static str; 2]) -> MockGroupOps {
    never_frozen_but(freeze, states, || Ok(()))
}

fn never_frozen_but(
    freeze: Freeze,
    states: [&'static str; 2],
    thaw: fn() -> containment_core::Result<()>,
) -> MockGroupOps {
    let mut group = MockGroupOps::new();
    group.expect_id().return_const(id());
    group.expect_capabilities().return_const(Capabilities { freeze, ..atomic() });
    group.expect_program_runs().return_const(false);
    group.expect_watch().returning(|_| Ok(Watch::Backoff));
    group.expect_request_freeze().returning(|| Ok(()));
    group.expect_request_thaw().times(1).returning(thaw);
    group.expect_frozen().times(1).returning(|| Ok(FreezeState::Freezing));
    group.expect_frozen().returning(|| Ok(FreezeState::Thawed));
    group.expect_populated().returning(|| Ok(true));
    let mut looks = states.into_iter();
    group.expect_members().returning(move || {
        let states = looks.next().unwrap_or_default().chars();
        Ok(states.zip(1..).map(|(state, pid)| in_state(pid, state)).collect())
    });
    group
}

#[test]
fn a_group_that_cannot_be_thawed_again_is_told_with_who_held_it_up() {
    let denied = || Err(Error::from_errno(Operation::Thaw, libc::EACCES));
    for (states, who) in [(["RS", "RS"], "for 1 of 2: 1 "), (["", ""], "in time; and")] {
        let group = never_frozen_but(Freeze::Kernel, states, denied);
        let group = Group::new(Box::new(group), Arc::new(SystemWaiter::new()));
        let said = group.freeze(Duration::ZERO).unwrap_err().error.to_string();
        group.keep();
        assert!(said.contains("cannot be thawed: Permission denied"), "{said}");
        assert!(said.contains(who), "{said}");
    }
}

fn in_state(pid: i32, state: char) -> Member {
    Member { state: ProcessState(state), ..member(pid, Standing::Inside) }
}

fn holdouts(freeze: Freeze, states: [&'static str; 2]) -> Vec<i32> {
    let group = never_frozen(freeze, states);
    let group = Group::new(Box::new(group), Arc::new(SystemWaiter::new()));
    let not = group.freeze(Duration::ZERO).unwrap_err();
    group.keep();
    not.holdouts.iter().map(|member| member.pid.as_raw()).collect()
}

#[test]
fn who_was_frozen_in_state_d_is_told_from_who_waits_by_the_thaw() {
    assert_eq!(holdouts(Freeze::Kernel, ["DDRST", "SDRST"]), [2, 3]);
    assert_eq!(holdouts(Freeze::Kernel, ["DDD", "SSS"]), [] as [i32; 0]);
}

#[test]
fn where_members_are_stopped_those_that_are_not_would_not() {
    assert_eq!(holdouts(Freeze::StopSignal, ["TRDtS", ""]), [2, 5]);
}
