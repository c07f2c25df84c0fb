//! Who leaves by `setsid`: nobody can, or is found all the same, or is lost and said to be.

use containment_core::{Escape, Group, Member, Outcome, Standing};

use super::{Case, Need, case};
use crate::world::{Deed, Known, World};

pub(super) const CASES: &[Case] = &[
    case!(a_daemon_is_inside, needs[Need::Escape(Escape::Impossible)]),
    case!(a_daemon_has_escaped_and_is_found, needs[Need::Escape(Escape::Swept)]),
    case!(a_daemon_is_lost, needs[Need::Escape(Escape::Voluntary)]),
    case!(who_stays_has_not_escaped),
];

/// A group in which a program started a daemon and ended.
fn with_daemon(world: &dyn World) -> (Group, Known) {
    let group = world.group();
    let child = world.start(&group, Deed::Daemonises);
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    world.eventually("there is a daemon", || world.daemon().is_some());
    (group, world.daemon().unwrap())
}

fn a_daemon_is_inside(world: &dyn World) {
    let (group, daemon) = with_daemon(world);
    world.eventually("the daemon is alone", || group.members().unwrap().len() == 1);
    let members = group.members().unwrap();
    assert_eq!((members[0].pid, members[0].standing), (daemon.pid, Standing::Inside));
    let report = world.killed(group, &members);
    assert!(!world.lives(daemon));
    assert!(names(&report.left_behind, &members) && report.escaped.is_empty(), "{report:?}");
}

fn a_daemon_has_escaped_and_is_found(world: &dyn World) {
    let (group, daemon) = with_daemon(world);
    world.eventually("the daemon is alone", || group.members().unwrap().len() == 1);
    let members = group.members().unwrap();
    assert_eq!((members[0].pid, members[0].standing), (daemon.pid, Standing::Escaped));
    let report = world.killed(group, &members);
    assert!(!world.lives(daemon));
    assert!(names(&report.escaped, &members) && report.left_behind.is_empty(), "{report:?}");
}

/// Whether these are the same processes: name and state may have changed.
fn names(report: &[Member], members: &[Member]) -> bool {
    report.len() == members.len()
        && report.iter().zip(members).all(|(one, other)| one.is_same(other))
}

fn a_daemon_is_lost(world: &dyn World) {
    let (group, daemon) = with_daemon(world);
    world.emptied(group.ops());
    assert_eq!(group.members().unwrap(), []);
    let report = world.killed(group, &[]);
    let lives = world.lives(daemon);
    world.end(daemon);
    assert!(lives, "it was found: that is more than is advertised");
    assert!(report.left_behind.is_empty() && report.escaped.is_empty(), "{report:?}");
}

fn who_stays_has_not_escaped(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Forks(2));
    let members = world.members(group.ops(), 3);
    assert!(members.iter().all(|member| member.standing != Standing::Escaped), "{members:?}");
    let report = world.killed(group, &members);
    assert!(report.escaped.is_empty(), "{report:?}");
}
