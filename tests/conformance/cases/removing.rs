//! Removing groups, and what is left of a handle then.

use containment_core::{
    Change, ControllerSet, ErrorKind, Freeze, GroupOps, Identity, Limits, Operation, Pid, Result,
    Signal,
};

use super::{Case, Need, case};
use crate::stage::name;
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(a_populated_group_is_busy),
    case!(a_group_with_a_populated_sub_group_is_busy, needs[Need::Nesting(true)]),
    case!(empty_sub_groups_go_with_their_group, needs[Need::Nesting(true)]),
    case!(a_removed_group_is_gone_for_every_operation),
    case!(a_group_that_somebody_else_removed_is_gone),
];

fn a_populated_group_is_busy(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Sleeps);
    let name = group.id().name.clone();
    world.refused(group.ops().remove(), ErrorKind::Busy, Operation::Remove, &name);
    assert_eq!(child.try_wait().unwrap(), None);
    let members = group.members().unwrap();
    assert_eq!(members.len(), 1, "as good as before");
    world.end_all(group, &members);
}

fn a_group_with_a_populated_sub_group_is_busy(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("a/b"), ControllerSet::EMPTY).unwrap();
    inner.spawn(&world.program(Deed::Sleeps)).unwrap();
    let outer = &group.id().name;
    world.refused(group.ops().remove(), ErrorKind::Busy, Operation::Remove, outer);
    let members = world.members(&*inner, 1);
    world.end_all(group, &members);
}

fn empty_sub_groups_go_with_their_group(world: &dyn World) {
    let group = world.group();
    for inner in ["a/b/c", "a/d", "e"] {
        group.ops().subgroup(&name(inner), ControllerSet::EMPTY).unwrap();
    }
    group.ops().remove().unwrap();
    let id = group.id().clone();
    drop(group);
    world.refused(world.driver().open(&id), ErrorKind::NotFound, Operation::Open, &id.name);
}

fn a_removed_group_is_gone_for_every_operation(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Exits(0));
    child.wait().unwrap();
    world.emptied(group.ops());
    world.eventually("it can be removed", || group.ops().remove().is_ok());
    assert_gone(world, group.ops());
}

/// Handles, not names: a second one knows what became of the group.
fn a_group_that_somebody_else_removed_is_gone(world: &dyn World) {
    let group = world.group();
    if !matches!(group.id().identity, Identity::Cgroup(_)) {
        // Nobody else has a handle on it.
        world.end_all(group, &[]);
        return;
    }
    let other = world.driver().open(group.id()).unwrap();
    assert!(!other.populated().unwrap());
    group.ops().remove().unwrap();
    let id = group.id().clone();
    assert_gone(world, group.ops());
    for (operation, result) in reading(&*other) {
        world.refused(result, ErrorKind::Gone, operation, &id.name);
    }
    let namesake = world.group_named(&id.name);
    let child = world.start(&namesake, Deed::Sleeps);
    for (operation, result) in acting(world, &*other) {
        world.refused(result, ErrorKind::Gone, operation, &id.name);
    }
    drop(other.remove());
    assert_eq!(child.try_wait().unwrap(), None);
    let members = namesake.members().unwrap();
    assert_eq!(members.len(), 1);
    world.end_all(namesake, &members);
}

fn assert_gone(world: &dyn World, group: &dyn GroupOps) {
    let all = reading(group).into_iter().chain(acting(world, group));
    // What a driver may answer without a look at a group that somebody else removed.
    let others = [
        (Operation::SetLimits, group.set_limits(&Limits::new()).map(drop)),
        (Operation::Watch, group.watch(Change::Frozen).map(drop)),
        (Operation::Remove, group.remove()),
        (Operation::Reap, group.reap().map(drop)),
        (Operation::Register, group.mark().map(drop)),
        (Operation::Register, group.leave_mark("x").map(drop)),
    ];
    for (operation, result) in all.chain(others) {
        world.refused(result, ErrorKind::Gone, operation, &group.id().name);
    }
}

/// What never froze says so first.
fn freezes(group: &dyn GroupOps) -> bool {
    group.capabilities().freeze != Freeze::None
}

type Answers = Vec<(Operation, Result<()>)>;

fn reading(group: &dyn GroupOps) -> Answers {
    let mut answers = vec![
        (Operation::Members, group.members().map(drop)),
        (Operation::Populated, group.populated().map(drop)),
        (Operation::List, group.subgroups().map(drop)),
    ];
    if freezes(group) {
        answers.push((Operation::Freeze, group.frozen().map(drop)));
    }
    if !group.capabilities().usage.is_empty() {
        answers.push((Operation::Usage, group.usage().map(drop)));
    }
    answers
}

fn acting(world: &dyn World, group: &dyn GroupOps) -> Answers {
    let mut answers = vec![
        (Operation::Signal, group.signal(Signal::TERM).map(drop)),
        (Operation::Kill, group.kill().map(drop)),
        (Operation::Watch, group.watch(Change::Empty).map(drop)),
    ];
    if freezes(group) {
        answers.push((Operation::Freeze, group.request_freeze()));
        answers.push((Operation::Thaw, group.request_thaw()));
    }
    let spawned = group.spawn(&world.program(Deed::Sleeps)).map(drop);
    // A driver may find out before the child is made, or when it is placed.
    let placed = matches!(&spawned, Err(error) if error.operation() == Operation::Place);
    answers.push((if placed { Operation::Place } else { Operation::Spawn }, spawned));
    if group.capabilities().nesting {
        let made = group.subgroup(&name("inner"), ControllerSet::EMPTY).map(drop);
        answers.push((Operation::Create, made));
    }
    if group.capabilities().attach {
        answers.push((Operation::Attach, group.attach(Pid::current())));
    }
    answers
}
