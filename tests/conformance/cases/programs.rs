//! Starting programs, and how they end.

use containment_core::{ErrorKind, Operation, Outcome, Signal, Standing};

use super::{Case, case};
use crate::world::{Deed, Known, World};

pub(super) const CASES: &[Case] = &[
    case!(a_program_is_a_member_at_once),
    case!(what_a_program_starts_is_a_member_too),
    case!(a_grandchild_without_parent_is_a_member_too),
    case!(an_exit_status_is_told_and_told_again),
    case!(a_running_program_has_no_status),
    case!(a_killed_program_says_so),
    case!(a_status_outlives_the_group),
    case!(each_program_has_its_own_status),
    case!(a_program_that_is_missing_is_an_error),
    case!(a_program_that_cannot_be_executed_is_an_error),
    case!(a_signal_to_the_child_is_its_alone),
    case!(a_signal_to_an_ended_child_does_nothing),
];

fn a_program_is_a_member_at_once(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Sleeps);
    let members = group.members().unwrap();
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!((members[0].pid, members[0].standing), (child.pid(), Standing::Program));
    assert!(group.ops().populated().unwrap());
    world.end_all(group, &members);
}

fn what_a_program_starts_is_a_member_too(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Forks(3));
    let members = world.members(group.ops(), 4);
    for member in &members {
        let standing = if member.pid == child.pid() { Standing::Program } else { Standing::Inside };
        assert_eq!(member.standing, standing, "{members:?}");
    }
    world.end_all(group, &members);
}

fn a_grandchild_without_parent_is_a_member_too(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::ForksTwice);
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    let members = world.members(group.ops(), 1);
    assert_eq!(members[0].standing, Standing::Inside);
    world.end_all(group, &members);
}

fn an_exit_status_is_told_and_told_again(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Exits(7));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(7));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(7));
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Exited(7)));
    world.emptied(group.ops());
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Exited(7)), "after it was reaped");
    world.end_all(group, &[]);
}

fn a_running_program_has_no_status(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Sleeps);
    assert_eq!(child.try_wait().unwrap(), None);
    world.end_all(group, &[]);
}

fn a_killed_program_says_so(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Sleeps);
    world.kill(group.ops());
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
    world.end_all(group, &[]);
}

fn a_status_outlives_the_group(world: &dyn World) {
    let group = world.group();
    let ended = world.start(&group, Deed::Exits(3));
    let killed = world.start(&group, Deed::Sleeps);
    assert_eq!(ended.wait().unwrap(), Outcome::Exited(3));
    world.end_all(group, &[]);
    assert_eq!(ended.wait().unwrap(), Outcome::Exited(3));
    assert_eq!(killed.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}

fn each_program_has_its_own_status(world: &dyn World) {
    let group = world.group();
    let children = [1, 2, 3].map(|status| world.start(&group, Deed::Exits(status)));
    for (child, status) in children.iter().zip(1..) {
        assert_eq!(child.wait().unwrap(), Outcome::Exited(status));
    }
    world.end_all(group, &[]);
}

fn a_program_that_is_missing_is_an_error(world: &dyn World) {
    fails_to_start(world, Deed::IsMissing, ErrorKind::ProgramNotFound);
}

fn a_program_that_cannot_be_executed_is_an_error(world: &dyn World) {
    fails_to_start(world, Deed::IsNotExecutable, ErrorKind::ProgramNotExecutable);
}

/// Nothing is left of the attempt, and the group is as good as before.
fn fails_to_start(world: &dyn World, deed: Deed, kind: ErrorKind) {
    let group = world.group();
    let program = world.program(deed);
    let failed = group.ops().spawn(&program);
    let path = failed.as_ref().err().and_then(|error| error.path()).map(ToOwned::to_owned);
    assert_eq!(path.as_deref(), Some(program.name().as_ref()));
    world.refused(failed, kind, Operation::Spawn, &group.id().name);
    // Linux 7.2 may say so a moment after the last one was reaped.
    world.eventually("nobody lives", || !group.ops().populated().unwrap());
    assert_eq!(group.members().unwrap(), []);
    let child = world.start(&group, Deed::Exits(4));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(4));
    world.end_all(group, &[]);
}

fn a_signal_to_the_child_is_its_alone(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Forks(2));
    let members = world.members(group.ops(), 3);
    child.signal(Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
    for member in members.iter().filter(|member| member.pid != child.pid()) {
        assert!(world.lives(Known::from(member)), "{member:?} died");
    }
    world.end_all(group, &members);
}

fn a_signal_to_an_ended_child_does_nothing(world: &dyn World) {
    let group = world.group();
    let child = world.start(&group, Deed::Leaves(1));
    child.wait().unwrap();
    let members = world.members(group.ops(), 1);
    child.signal(Signal::KILL).unwrap();
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Exited(0)));
    assert!(world.lives(Known::from(&members[0])));
    world.end_all(group, &members);
}
