//! Groups inside groups, where they are advertised, and how they are refused where they are not.

use containment_core::{ControllerSet, ErrorKind, Operation, Signal, Standing};

use super::{Case, Need, case};
use crate::stage::name;
use crate::world::{Deed, Known, World};

pub(super) const CASES: &[Case] = &[
    case!(a_sub_group_is_found_and_named_in_full, needs[Need::Nesting(true)]),
    case!(members_of_sub_groups_are_members, needs[Need::Nesting(true)]),
    case!(a_group_ends_with_its_sub_groups, needs[Need::Nesting(true)]),
    case!(a_sub_group_ends_alone, needs[Need::Nesting(true)]),
    case!(a_sub_groups_namesake_is_refused, needs[Need::Nesting(true)]),
    case!(a_name_too_long_to_join_leaves_nothing, needs[Need::Nesting(true)]),
    case!(sub_groups_are_refused, needs[Need::Nesting(false)]),
];

fn a_sub_group_is_found_and_named_in_full(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("a/b"), ControllerSet::EMPTY).unwrap();
    let full = group.id().name.join(&name("a/b")).unwrap();
    assert_eq!(inner.id().name, full);
    assert_eq!(inner.id().backend, group.id().backend);
    let levels = group.ops().subgroups().unwrap();
    assert_eq!(levels.len(), 1);
    assert_eq!(levels[0].id().name, group.id().name.join(&name("a")).unwrap());
    let below = levels[0].subgroups().unwrap();
    assert_eq!(below.len(), 1);
    assert_eq!(below[0].id(), inner.id());
    let opened = world.driver().open(inner.id()).unwrap();
    assert_eq!(opened.id(), inner.id());
    world.end_all(group, &[]);
}

fn members_of_sub_groups_are_members(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("inner"), ControllerSet::EMPTY).unwrap();
    let child = inner.spawn(&world.program(Deed::Forks(2))).unwrap();
    let members = world.members(group.ops(), 3);
    assert_eq!(inner.members().unwrap().len(), 3);
    assert!(group.ops().populated().unwrap() && inner.populated().unwrap());
    // The handle that started it knows it as its program.
    let seen = inner.members().unwrap().into_iter().find(|member| member.pid == child.pid());
    assert_eq!(seen.map(|member| member.standing), Some(Standing::Program));
    let pass = group.signal(Signal::TERM).unwrap();
    assert_eq!((pass.count, pass.failed.len()), (3, 0));
    world.emptied(group.ops());
    inner.reap().unwrap();
    world.end_all(group, &members);
}

fn a_group_ends_with_its_sub_groups(world: &dyn World) {
    let group = world.group();
    let deep = group.ops().subgroup(&name("a/b/c/d/e"), ControllerSet::EMPTY).unwrap();
    let beside = group.ops().subgroup(&name("a/f"), ControllerSet::EMPTY).unwrap();
    let children = [&deep, &beside].map(|inner| inner.spawn(&world.program(Deed::Sleeps)).unwrap());
    world.start(&group, Deed::Sleeps);
    let members = world.members(group.ops(), 3);
    world.end_all(group, &members);
    for (inner, child) in [deep, beside].iter().zip(children) {
        let id = inner.id();
        world.refused(inner.members(), ErrorKind::Gone, Operation::Members, &id.name);
        world.refused(world.driver().open(id), ErrorKind::NotFound, Operation::Open, &id.name);
        // Its status is there for whoever asks, and then it is reaped.
        world.eventually("it is reaped", || child.try_wait().unwrap().is_some());
    }
}

fn a_sub_group_ends_alone(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Sleeps);
    let inner = world.guard(group.ops().subgroup(&name("a/b"), ControllerSet::EMPTY).unwrap());
    world.start(&inner, Deed::Forks(1));
    let inside = world.members(inner.ops(), 2);
    world.end_all(inner, &inside);
    let members = group.members().unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].pid, child.pid());
    assert!(world.lives(Known::from(&members[0])));
    assert!(group.ops().subgroups().unwrap().is_empty(), "the level above it is left");
    world.end_all(group, &members);
}

fn a_sub_groups_namesake_is_refused(world: &dyn World) {
    let group = world.group();
    let inner = group.ops().subgroup(&name("inner"), ControllerSet::EMPTY).unwrap();
    let again = group.ops().subgroup(&name("inner"), ControllerSet::EMPTY);
    world.refused(again, ErrorKind::AlreadyExists, Operation::Create, &inner.id().name);
    world.end_all(group, &[]);
}

fn a_name_too_long_to_join_leaves_nothing(world: &dyn World) {
    let group = world.group();
    let long = vec!["x".repeat(255); 8].join("/");
    let error = group.ops().subgroup(&name(&long), ControllerSet::EMPTY).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Operation::Create));
    assert_eq!(error.backend(), Some(world.driver().backend()));
    assert!(error.group().is_some());
    assert!(group.ops().subgroups().unwrap().is_empty());
    world.end_all(group, &[]);
}

fn sub_groups_are_refused(world: &dyn World) {
    let group = world.group();
    let refused = group.ops().subgroup(&name("inner"), ControllerSet::EMPTY);
    world.refused(refused, ErrorKind::Unsupported, Operation::Create, &group.id().name);
    assert!(group.ops().subgroups().unwrap().is_empty());
    world.end_all(group, &[]);
}
