//! Signals to a whole group.

use std::time::Duration;

use containment_core::{Outcome, Policy, Signal};

use super::{Case, case};
use crate::stage::LONG;
use crate::world::{Deed, Known, World};

pub(super) const CASES: &[Case] = &[
    case!(a_signal_reaches_every_member),
    case!(the_program_gets_a_signal_first),
    case!(a_signal_to_an_empty_group_reaches_nobody),
    case!(a_stranger_gets_no_signal),
    case!(who_ignores_the_signal_is_killed_after_the_grace),
    case!(the_grace_ends_with_the_last_member),
    case!(a_stopped_member_acts_on_the_signal),
];

fn a_signal_reaches_every_member(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Forks(3));
    let members = world.members(group.ops(), 4);
    let pass = group.signal(Signal::TERM).unwrap();
    assert!(pass.failed.is_empty(), "{pass:?}");
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
    world.emptied(group.ops());
    let report = world.killed(group, &members);
    assert_eq!(report.rounds, 0);
}

/// A shell whose command dies first runs the next one.
fn the_program_gets_a_signal_first(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::GoesOn);
    let members = world.members(group.ops(), 2);
    group.signal(Signal::TERM).unwrap();
    world.emptied(group.ops());
    assert_eq!(world.work(), 0, "the program went on before it got the signal");
    world.end_all(group, &members);
}

fn a_signal_to_an_empty_group_reaches_nobody(world: &dyn World) {
    let group = world.group();
    let pass = group.signal(Signal::TERM).unwrap();
    assert!(pass.count == 0 && pass.failed.is_empty(), "{pass:?}");
    world.end_all(group, &[]);
}

fn a_stranger_gets_no_signal(world: &dyn World) {
    let stranger = world.outsider();
    let group = world.group();
    world.start(&group, Deed::Forks(1));
    let members = world.members(group.ops(), 2);
    group.signal(Signal::TERM).unwrap();
    world.end_all(group, &members);
    assert!(world.lives(stranger));
}

fn who_ignores_the_signal_is_killed_after_the_grace(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::IgnoresTerm);
    world.eventually("it ignores SIGTERM", || world.work() == 1);
    let grace = Duration::from_millis(50);
    let report = world.finish(group, &Policy::graceful(grace));
    assert!(report.rounds > 0 && report.elapsed >= grace, "{report:?}");
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}

fn the_grace_ends_with_the_last_member(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Forks(2));
    world.members(group.ops(), 3);
    let report = world.finish(group, &Policy::graceful(LONG));
    assert_eq!(report.rounds, 0, "{report:?}");
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
}

fn a_stopped_member_acts_on_the_signal(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::StopsItself);
    world.eventually("it stops", || group.members().unwrap()[0].state.is_stopped());
    let member = Known::from(&group.members().unwrap()[0]);
    let report = world.finish(group, &Policy::graceful(LONG));
    assert_eq!(report.rounds, 0, "{report:?}");
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
    assert!(!world.lives(member));
}
