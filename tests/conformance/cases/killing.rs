//! Killing: every kind of member dies, and nothing runs once it is over.

use containment_core::{ControllerSet, Escape, FreezeState, Kill, KillStep, Outcome, Signal};

use super::{Case, Need, case};
use crate::stage::{A_WHILE, is, name};
use crate::world::{Deed, Known, World};

pub(super) const CASES: &[Case] = &[
    case!(every_kind_of_member_dies),
    case!(a_daemon_dies_where_nobody_escapes, needs[Need::Escape(Escape::Impossible)]),
    case!(nothing_works_after_the_kill),
    case!(who_starts_himself_anew_dies),
    case!(a_kill_step_is_as_strong_as_advertised),
    case!(a_kill_of_an_empty_group_is_no_error),
    case!(a_kill_after_the_kill_is_no_error),
    case!(a_group_that_was_killed_can_be_used_again),
    case!(a_group_made_in_a_killed_one_can_be_used, needs[Need::Nesting(true)]),
    case!(a_kill_leaves_strangers_alone),
    case!(nothing_is_left_of_the_dead),
];

fn every_kind_of_member_dies(world: &dyn World) {
    let group = world.group();
    for deed in [Deed::IgnoresTerm, Deed::StopsItself, Deed::Sleeps] {
        world.start(&group, deed);
    }
    world.start(&group, Deed::Forks(2));
    world.start(&group, Deed::Leaves(2));
    world.start(&group, Deed::ForksTwice);
    // Three, three of a family, two left behind, one without a parent.
    let members = world.members(group.ops(), 9);
    world.end_all(group, &members);
}

fn a_daemon_dies_where_nobody_escapes(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Daemonises);
    world.eventually("there is a daemon", || world.daemon().is_some());
    let daemon = world.daemon().unwrap();
    world.kill(group.ops());
    assert!(!world.lives(daemon));
    world.end_all(group, &[]);
}

fn nothing_works_after_the_kill(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Works);
    world.eventually("it works", || world.work() >= 3);
    world.end_all(group, &[]);
    let work = world.work();
    world.pause(A_WHILE);
    assert_eq!(world.work(), work);
}

fn who_starts_himself_anew_dies(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Respawns);
    world.eventually("it has lived thrice", || world.work() >= 3);
    world.end_all(group, &[]);
    let work = world.work();
    world.pause(A_WHILE);
    assert_eq!(world.work(), work);
}

/// An atomic kill needs no second step, a frozen one freezes or signals, a repeated one signals.
fn a_kill_step_is_as_strong_as_advertised(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Respawns);
    world.start(&group, Deed::Forks(2));
    world.eventually("members come and go", || world.work() >= 2);
    match (group.capabilities().kill, group.ops().kill().unwrap()) {
        (Kill::Atomic, KillStep::Killed) => world.emptied(group.ops()),
        (Kill::Frozen { thaw_after }, KillStep::Freezing) => {
            world.eventually("it is frozen", || is(group.ops(), FreezeState::Frozen));
            assert!(matches!(group.ops().kill().unwrap(), KillStep::Signalled(_)));
            if !thaw_after {
                world.emptied(group.ops());
            }
        }
        (Kill::Frozen { .. } | Kill::Repeated, KillStep::Signalled(pass)) => {
            assert!(pass.failed.is_empty(), "{pass:?}");
        }
        (kill, step) => panic!("{kill} made {step:?}"),
    }
    world.end_all(group, &[]);
}

fn a_kill_of_an_empty_group_is_no_error(world: &dyn World) {
    let group = world.group();
    world.kill(group.ops());
    world.end_all(group, &[]);
}

fn a_kill_after_the_kill_is_no_error(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Sleeps);
    world.kill(group.ops());
    world.kill(group.ops());
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
    world.end_all(group, &[]);
}

/// K42: some kernels kill what is born into such a group; the program runs all the same, and once.
fn a_group_that_was_killed_can_be_used_again(world: &dyn World) {
    let group = world.group();
    for times in 1..=2 {
        world.start(&group, Deed::Sleeps);
        world.kill(group.ops());
        let child = world.start(&group, Deed::WorksOnce(3));
        assert_eq!(child.wait().unwrap(), Outcome::Exited(3));
        assert_eq!(world.work(), times);
    }
    world.end_all(group, &[]);
}

/// K42 again: the group above was reached by a kill that the group below never saw.
fn a_group_made_in_a_killed_one_can_be_used(world: &dyn World) {
    let group = world.group();
    world.kill(group.ops());
    let inner = group.ops().subgroup(&name("inner"), ControllerSet::EMPTY).unwrap();
    let inner = world.guard(inner);
    let child = world.start(&inner, Deed::WorksOnce(3));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(3));
    assert_eq!(world.work(), 1);
    world.end_all(inner, &[]);
    world.end_all(group, &[]);
}

fn a_kill_leaves_strangers_alone(world: &dyn World) {
    let stranger = world.outsider();
    let group = world.group();
    world.start(&group, Deed::Forks(2));
    let members = world.members(group.ops(), 3);
    world.end_all(group, &members);
    assert!(world.lives(stranger));
}

/// What was ours is reaped; orphans of cgroups are init's to reap.
fn nothing_is_left_of_the_dead(world: &dyn World) {
    let group = world.group();
    let ended = world.start(&group, Deed::Exits(0));
    world.start(&group, Deed::Sleeps);
    let members = group.members().unwrap();
    ended.wait().unwrap();
    world.end_all(group, &members);
    for member in &members {
        assert!(!world.exists(Known::from(member)), "{member:?} is a zombie");
    }
}
