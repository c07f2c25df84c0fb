//! Freezing, where it is advertised, and how it is refused where it is not.

use containment_core::{
    ControllerSet, ErrorKind, Freeze, FreezeState, Operation, Outcome, Policy, Signal,
};

use super::{Case, Need, case};
use crate::stage::{A_WHILE, LONG, is, name};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(frozen_members_stand_still_until_they_are_thawed, needs[Need::AnyFreeze]),
    case!(freezing_and_thawing_twice_is_no_error, needs[Need::AnyFreeze]),
    case!(a_frozen_group_is_killed, needs[Need::AnyFreeze]),
    case!(a_graceful_end_thaws, needs[Need::AnyFreeze]),
    case!(a_kernel_freeze_is_not_seen_by_members, needs[Need::Freeze(Freeze::Kernel)]),
    case!(a_frozen_group_takes_no_program, needs[Need::Freeze(Freeze::Kernel)]),
    case!(stopped_members_are_seen_to_be, needs[Need::Freeze(Freeze::StopSignal)]),
    case!(
        a_freeze_reaches_sub_groups,
        needs [Need::Nesting(true), Need::Freeze(Freeze::Kernel)]
    ),
    case!(
        a_thaw_reaches_sub_groups_that_others_froze,
        needs [Need::Nesting(true), Need::Freeze(Freeze::Kernel)]
    ),
    case!(
        a_thaw_does_not_reach_a_group_around_it,
        needs [Need::Nesting(true), Need::Freeze(Freeze::Kernel)]
    ),
    case!(
        a_frozen_sub_group_is_killed,
        needs [Need::Nesting(true), Need::Freeze(Freeze::Kernel)]
    ),
    case!(freezing_is_refused, needs[Need::Freeze(Freeze::None)]),
];

fn frozen_members_stand_still_until_they_are_thawed(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Works);
    world.eventually("it works", || world.work() >= 3);
    world.freeze(group.ops());
    let work = world.work();
    world.pause(A_WHILE);
    assert_eq!(world.work(), work, "it worked on");
    assert!(group.ops().populated().unwrap());
    world.thaw(group.ops());
    world.eventually("it works again", || world.work() > work);
    world.end_all(group, &[]);
}

fn freezing_and_thawing_twice_is_no_error(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    group.ops().request_thaw().unwrap();
    world.freeze(group.ops());
    world.freeze(group.ops());
    world.thaw(group.ops());
    world.thaw(group.ops());
    world.end_all(group, &[]);
}

fn a_frozen_group_is_killed(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Forks(2));
    let members = world.members(group.ops(), 3);
    world.freeze(group.ops());
    world.end_all(group, &members);
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}

fn a_graceful_end_thaws(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Forks(2));
    world.members(group.ops(), 3);
    world.freeze(group.ops());
    let report = world.finish(group, &Policy::graceful(LONG));
    assert_eq!(report.rounds, 0, "{report:?}");
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
}

fn a_kernel_freeze_is_not_seen_by_members(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    world.freeze(group.ops());
    let members = group.members().unwrap();
    assert!(members.iter().all(|member| !member.state.is_stopped()), "{members:?}");
    // What thaws one of them is the freezer alone.
    group.signal(Signal::CONT).unwrap();
    assert!(is(group.ops(), FreezeState::Frozen));
    world.end_all(group, &members);
}

/// K07: a child born there would hold the thread that spawns it.
fn a_frozen_group_takes_no_program(world: &dyn World) {
    let group = world.group();
    world.freeze(group.ops());
    let refused = group.ops().spawn(&world.program(Deed::Sleeps));
    world.refused(refused, ErrorKind::Frozen, Operation::Place, &group.id().name);
    assert!(!group.ops().populated().unwrap());
    world.thaw(group.ops());
    let child = world.start(&group, Deed::Exits(0));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    world.end_all(group, &[]);
}

fn stopped_members_are_seen_to_be(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Forks(1));
    world.members(group.ops(), 2);
    world.freeze(group.ops());
    let members = group.members().unwrap();
    assert!(members.iter().all(|member| member.state.is_stopped()), "{members:?}");
    // Anybody can continue one of them: that is what makes it the weaker freeze.
    group.signal(Signal::CONT).unwrap();
    world.eventually("it runs", || is(group.ops(), FreezeState::Thawed));
    world.end_all(group, &members);
}

fn a_freeze_reaches_sub_groups(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("inner"), ControllerSet::EMPTY).unwrap();
    inner.spawn(&world.program(Deed::Works)).unwrap();
    world.eventually("it works", || world.work() >= 3);
    world.freeze(group.ops());
    assert!(is(&*inner, FreezeState::Frozen));
    let work = world.work();
    world.pause(A_WHILE);
    assert_eq!(world.work(), work, "it worked on");
    world.thaw(group.ops());
    world.eventually("it works again", || world.work() > work);
    world.end_all(group, &[]);
}

fn a_thaw_reaches_sub_groups_that_others_froze(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("x/inner"), ControllerSet::EMPTY).unwrap();
    inner.spawn(&world.program(Deed::Works)).unwrap();
    world.freeze(&*inner);
    group.ops().request_thaw().unwrap();
    world.eventually("it is thawed", || is(&*inner, FreezeState::Thawed));
    let work = world.work();
    world.eventually("it works again", || world.work() > work);
    world.end_all(group, &[]);
}

fn a_thaw_does_not_reach_a_group_around_it(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("x/inner"), ControllerSet::EMPTY).unwrap();
    inner.spawn(&world.program(Deed::Works)).unwrap();
    world.freeze(group.ops());
    world.freeze(&*inner);
    world.refused(inner.request_thaw(), ErrorKind::Frozen, Operation::Thaw, &inner.id().name);
    assert!(is(&*inner, FreezeState::Frozen));
    // Its own freeze was undone all the same.
    world.thaw(group.ops());
    let work = world.work();
    world.eventually("it works again", || world.work() > work);
    assert!(is(&*inner, FreezeState::Thawed));
    world.end_all(group, &[]);
}

/// K02: what is frozen below dies too.
fn a_frozen_sub_group_is_killed(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("x/inner"), ControllerSet::EMPTY).unwrap();
    inner.spawn(&world.program(Deed::Forks(1))).unwrap();
    let members = world.members(group.ops(), 2);
    world.freeze(&*inner);
    world.end_all(group, &members);
}

fn freezing_is_refused(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    let name = group.id().name.clone();
    let refused = group.ops().request_freeze();
    world.refused(refused, ErrorKind::Unsupported, Operation::Freeze, &name);
    world.refused(group.ops().request_thaw(), ErrorKind::Unsupported, Operation::Thaw, &name);
    world.refused(group.ops().frozen(), ErrorKind::Unsupported, Operation::Freeze, &name);
    world.end_all(group, &[]);
}
