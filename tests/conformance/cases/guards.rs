//! The owning guard and the report of a teardown.

use containment_core::{Group, Identity, Outcome, Policy, Step};

use super::{Case, case};
use crate::stage::LONG;
use crate::world::{Deed, Known, World};

pub(super) const CASES: &[Case] = &[
    case!(a_dropped_guard_kills_and_removes),
    case!(a_group_that_is_kept_lives_on),
    case!(the_report_names_who_was_left_behind),
    case!(the_report_names_nobody_where_nobody_was_left),
    case!(a_grace_that_is_hurried_ends_at_once),
];

fn a_dropped_guard_kills_and_removes(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Leaves(2));
    world.start(&group, Deed::IgnoresTerm);
    let members = world.members(group.ops(), 3);
    let id = group.id().clone();
    drop(group);
    for member in &members {
        assert!(!world.lives(Known::from(member)), "{member:?}");
    }
    assert!(!world.driver().list().unwrap().contains(&id));
}

fn a_group_that_is_kept_lives_on(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Forks(1));
    let members = world.members(group.ops(), 2);
    let id = group.id().clone();
    group.keep();
    let living = members.iter().filter(|member| world.lives(Known::from(*member))).count();
    match id.identity {
        Identity::Cgroup(_) => {
            let found = world.guard(world.driver().open(&id).unwrap());
            let again = found.members().unwrap().len();
            world.end_all(found, &[]);
            assert_eq!(again, 2);
        }
        // Nobody knows it any more: it is for the test to end its members.
        _ => members.iter().for_each(|member| world.end(Known::from(member))),
    }
    assert_eq!(living, 2);
    for member in members {
        world.end(Known::from(&member));
    }
}

fn the_report_names_who_was_left_behind(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Leaves(2));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    let mut left = world.members(group.ops(), 2);
    let mut report = world.killed(group, &left);
    for members in [&mut left, &mut report.left_behind] {
        members.sort_by_key(|member| member.pid);
    }
    assert!(left.iter().zip(&report.left_behind).all(|(one, other)| one.is_same(other)));
    assert_eq!(report.left_behind.len(), 2, "{report:?}");
    assert!(report.rounds > 0 && report.survivors.is_empty() && report.escaped.is_empty());
}

fn the_report_names_nobody_where_nobody_was_left(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Exits(0)).wait().unwrap();
    let report = world.finish(group, &Policy::graceful(LONG));
    assert_eq!(report.rounds, 0);
    assert!(report.left_behind.is_empty() && report.escaped.is_empty(), "{report:?}");
}

fn a_grace_that_is_hurried_ends_at_once(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::IgnoresTerm);
    world.eventually("it ignores SIGTERM", || world.work() == 1);
    let waiter = world.driver().waiter();
    let mut ending = Group::begin_termination(group, Policy::graceful(LONG)).unwrap();
    let mut step = ending.step(waiter.now());
    while matches!(step, Step::Again) {
        step = ending.step(waiter.now());
    }
    assert!(matches!(step, Step::Wait { .. }), "{step:?}");
    ending.hurry();
    let report = loop {
        match ending.step(waiter.now()) {
            Step::Again => {}
            Step::Wait { until, on } => waiter.wait(until, &on),
            Step::Done(report) => break report,
        }
    };
    assert!(report.is_clean() && report.rounds > 0, "{report:?}");
}
