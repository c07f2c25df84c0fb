//! Population, and how a change of it is announced: watch, then read, then wait.

use std::time::Duration;

use containment_core::{Change, Empty, ErrorKind, Group, Operation, Policy, Watch};

use super::{Case, Need, case};
use crate::stage::{LONG, patience};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(the_population_comes_and_goes),
    case!(emptiness_is_announced, needs[Need::Empty(Empty::Notified)]),
    case!(no_announcement_is_lost, needs[Need::Empty(Empty::Notified)]),
    case!(emptiness_is_not_announced, needs[Need::Empty(Empty::Polled)]),
    case!(a_childs_end_is_announced),
    case!(waiting_for_emptiness_has_a_bound),
    case!(waiting_for_emptiness_ends_with_the_last_member),
    case!(reaping_counts_each_once),
];

fn the_population_comes_and_goes(world: &dyn World) {
    let group = world.group();
    let populated = || group.ops().populated().unwrap();
    for _ in 0..2 {
        assert!(!populated());
        let child = world.start(&group, Deed::Sleeps);
        assert!(populated());
        child.signal(containment_core::Signal::TERM).unwrap();
        world.emptied(group.ops());
    }
    world.end_all(group, &[]);
}

fn emptiness_is_announced(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Leaves(2)).wait().unwrap();
    world.members(group.ops(), 2);
    let on = group.ops().watch(Change::Empty).unwrap();
    assert!(!matches!(on, Watch::Backoff), "nothing to wait on while somebody lives");
    group.signal(containment_core::Signal::TERM).unwrap();
    await_announced(world, &group);
    world.end_all(group, &[]);
}

fn no_announcement_is_lost(world: &dyn World) {
    let group = world.group();
    for _ in 0..20 {
        world.start(&group, Deed::Exits(0));
        await_announced(world, &group);
    }
    world.end_all(group, &[]);
}

/// Waits until the group is empty, and never until a wait has timed out.
fn await_announced(world: &dyn World, group: &Group) {
    let waiter = world.driver().waiter();
    loop {
        let on = group.ops().watch(Change::Empty).unwrap();
        group.ops().reap().unwrap();
        if !group.ops().populated().unwrap() {
            return;
        }
        assert!(!matches!(on, Watch::Backoff), "nothing to wait on while somebody lives");
        let until = waiter.now() + patience();
        waiter.wait(until, &on);
        assert!(waiter.now() < until, "the event was lost");
    }
}

fn emptiness_is_not_announced(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    assert!(matches!(group.ops().watch(Change::Empty).unwrap(), Watch::Backoff));
    world.end_all(group, &[]);
}

fn a_childs_end_is_announced(world: &dyn World) {
    let group = world.group();
    let waiter = world.driver().waiter();
    for _ in 0..20 {
        let child = world.start(&group, Deed::Exits(5));
        loop {
            let on = child.watch().unwrap();
            if child.try_wait().unwrap().is_some() {
                break;
            }
            let until = waiter.now() + patience();
            waiter.wait(until, &on);
            assert!(waiter.now() < until, "the child's end was not announced");
        }
    }
    world.end_all(group, &[]);
}

fn waiting_for_emptiness_has_a_bound(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Sleeps);
    let waited = group.wait_empty(Duration::from_millis(20));
    let error = waited.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::TimedOut, Operation::AwaitEmpty));
    assert_eq!(error.group(), Some(group.id().name.as_str()));
    assert_eq!(group.members().unwrap().len(), 1, "it only waits");
    world.end_all(group, &[]);
}

fn waiting_for_emptiness_ends_with_the_last_member(world: &dyn World) {
    let group = world.group();
    group.wait_empty(Duration::ZERO).unwrap();
    world.start(&group, Deed::Exits(0));
    world.start(&group, Deed::Exits(1));
    group.wait_empty(LONG).unwrap();
    assert_eq!(group.members().unwrap(), []);
    let report = world.finish(group, &Policy::graceful(LONG));
    assert_eq!(report.rounds, 0);
}

fn reaping_counts_each_once(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Exits(0));
    child.wait().unwrap();
    world.emptied(group.ops());
    // A keeper ends after what it kept.
    world.eventually("nothing is left to reap", || group.ops().reap().unwrap().count == 0);
    assert_eq!(group.ops().reap().unwrap().count, 0);
    world.end_all(group, &[]);
}
