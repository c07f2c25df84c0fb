//! Making, naming, listing and opening groups.

use containment_core::{
    Capabilities, ControllerSet, Element, ErrorKind, Freeze, FreezeState, GroupId, GroupName,
    Identity, Limit, Operation,
};

use super::{Case, Need, case};
use crate::stage::{fresh_name, is, name};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(a_new_group_is_empty),
    case!(a_group_guarantees_what_its_driver_does),
    case!(a_namesake_is_refused_and_left_alone),
    case!(a_name_that_is_used_again_is_another_group),
    case!(a_group_is_listed_until_it_is_removed),
    case!(a_group_is_opened_by_its_identity),
    case!(names_that_climb_or_clash_are_none),
    case!(a_nested_name_goes_with_its_levels, needs[Need::Nesting(true)]),
    case!(a_level_that_others_use_stays, needs[Need::Nesting(true)]),
    case!(a_level_cannot_be_made_again, needs[Need::Nesting(true)]),
    case!(controllers_that_are_not_advertised_are_refused),
];

fn a_new_group_is_empty(world: &dyn World) {
    let name = fresh_name();
    let group = world.group_named(&name);
    assert_eq!(group.id().name, name);
    assert_eq!(group.id().backend, world.driver().backend());
    assert!(!group.ops().populated().unwrap());
    assert_eq!(group.members().unwrap(), []);
    assert!(group.ops().subgroups().unwrap().is_empty());
    let freezes = group.capabilities().freeze != Freeze::None;
    assert!(!freezes || is(group.ops(), FreezeState::Thawed));
    world.end_all(group, &[]);
}

/// Of limits and figures a group has those of the controllers that it was made with.
fn a_group_guarantees_what_its_driver_does(world: &dyn World) {
    let driver = world.driver();
    let advertised = driver.capabilities();
    for with in [ControllerSet::EMPTY, advertised.limits] {
        let group = world.guard(driver.create(&fresh_name(), with).unwrap());
        let own = group.capabilities();
        let sets = Capabilities { limits: own.limits, usage: own.usage, ..advertised.clone() };
        assert_eq!(*own, sets);
        assert!(with.iter().all(|limit| own.limits.contains(limit)), "{own:?}");
        assert!(own.limits.iter().all(|limit| advertised.limits.contains(limit)), "{own:?}");
        assert!(advertised.usage.iter().all(|figure| own.usage.contains(figure)), "{own:?}");
        world.end_all(group, &[]);
    }
}

fn a_namesake_is_refused_and_left_alone(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    let name = group.id().name.clone();
    let again = world.driver().create(&name, ControllerSet::EMPTY);
    world.refused(again, ErrorKind::AlreadyExists, Operation::Create, &name);
    assert_eq!(group.members().unwrap().len(), 1);
    world.end_all(group, &[]);
    world.end_all(world.group_named(&name), &[]);
}

fn a_name_that_is_used_again_is_another_group(world: &dyn World) {
    let name = fresh_name();
    let old = world.group_named(&name);
    old.ops().remove().unwrap();
    let new = world.group_named(&name);
    assert_ne!(old.id(), new.id());
    let child = world.start(&new, Deed::Sleeps);
    world.refused(old.ops().kill(), ErrorKind::Gone, Operation::Kill, &name);
    world.refused(old.ops().remove(), ErrorKind::Gone, Operation::Remove, &name);
    drop(old);
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(new.members().unwrap().len(), 1);
    world.end_all(new, &[]);
}

fn a_group_is_listed_until_it_is_removed(world: &dyn World) {
    let group = world.group();
    let id = group.id().clone();
    assert!(world.driver().list().unwrap().contains(&id));
    world.end_all(group, &[]);
    assert!(!world.driver().list().unwrap().contains(&id));
}

/// What the kernel knows by an identity can be opened by it; a group that only its maker knows cannot.
fn a_group_is_opened_by_its_identity(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    let id = group.id().clone();
    let opened = world.driver().open(&id);
    if matches!(id.identity, Identity::Serial(_)) {
        world.refused(opened, ErrorKind::Unsupported, Operation::Open, &id.name);
        world.end_all(group, &[]);
        return;
    }
    let opened = opened.unwrap();
    assert_eq!(*opened.id(), id);
    assert_eq!(opened.members().unwrap().len(), 1);
    world.end_all(group, &[]);
    let namesake = world.group_named(&id.name);
    world.refused(world.driver().open(&id), ErrorKind::NotFound, Operation::Open, &id.name);
    world.end_all(namesake, &[]);
    world.refused(world.driver().open(&id), ErrorKind::NotFound, Operation::Open, &id.name);
}

fn names_that_climb_or_clash_are_none(_: &dyn World) {
    let long = "x".repeat(300);
    for bad in ["", "/x", "x/", "..", "../x", "a/../../b", "a\nb", "cgroup.procs", "tasks", &long] {
        assert!(bad.parse::<GroupName>().is_err(), "{bad:?} was taken");
    }
}

fn a_nested_name_goes_with_its_levels(world: &dyn World) {
    let outer = fresh_name();
    let group = world.group_named(&outer.join(&name("b/c")).unwrap());
    world.start(&group, Deed::Sleeps);
    assert!(listed(world, &outer).is_some());
    world.end_all(group, &[]);
    assert_eq!(listed(world, &outer), None);
}

fn a_level_that_others_use_stays(world: &dyn World) {
    let outer = fresh_name();
    let first = world.group_named(&outer.join(&name("first")).unwrap());
    let second = world.group_named(&outer.join(&name("second")).unwrap());
    world.start(&second, Deed::Sleeps);
    world.end_all(first, &[]);
    assert_eq!(second.members().unwrap().len(), 1);
    world.end_all(second, &[]);
    if let Some(level) = listed(world, &outer) {
        world.driver().open(&level).unwrap().remove().unwrap();
    }
}

fn a_level_cannot_be_made_again(world: &dyn World) {
    let outer = fresh_name();
    let group = world.group_named(&outer.join(&name("inner")).unwrap());
    let again = world.driver().create(&outer, ControllerSet::EMPTY);
    world.refused(again, ErrorKind::AlreadyExists, Operation::Create, &outer);
    world.end_all(group, &[]);
}

fn controllers_that_are_not_advertised_are_refused(world: &dyn World) {
    let advertised = world.driver().capabilities().limits;
    for limit in Limit::ALL.iter().filter(|limit| !advertised.contains(**limit)) {
        let name = fresh_name();
        let refused = world.driver().create(&name, ControllerSet::EMPTY.with(*limit));
        world.refused(refused, ErrorKind::Unsupported, Operation::SetLimits, &name);
        assert_eq!(listed(world, &name), None);
    }
}

fn listed(world: &dyn World, name: &GroupName) -> Option<GroupId> {
    world.driver().list().unwrap().into_iter().find(|id| id.name == *name)
}
