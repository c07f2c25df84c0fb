//! Moving running processes in, where that is advertised, and how it is refused where it is not.

use containment_core::{ErrorKind, Operation, Standing};

use super::{Case, Need, case};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(a_process_that_was_moved_in_is_a_member, needs[Need::Attach(true)]),
    case!(a_process_that_has_ended_is_not_moved_in, needs[Need::Attach(true)]),
    case!(moving_in_is_refused, needs[Need::Attach(false)]),
];

fn a_process_that_was_moved_in_is_a_member(world: &dyn World) {
    let process = world.outsider();
    let group = world.group();
    group.ops().attach(process.pid).unwrap();
    let members = group.members().unwrap();
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!((members[0].pid, members[0].standing), (process.pid, Standing::Inside));
    assert!(group.ops().populated().unwrap());
    group.ops().attach(process.pid).unwrap();
    world.end_all(group, &members);
}

fn a_process_that_has_ended_is_not_moved_in(world: &dyn World) {
    const ESRCH: i32 = 3;
    let group = world.group();
    let child = world.start(&group, Deed::Exits(0));
    child.wait().unwrap();
    world.emptied(group.ops());
    let refused = group.ops().attach(child.pid());
    let error = refused.as_ref().unwrap_err();
    assert_eq!((error.errno(), error.pid()), (Some(ESRCH), Some(child.pid())), "{error:?}");
    world.refused(refused, ErrorKind::System, Operation::Attach, &group.id().name);
    world.end_all(group, &[]);
}

fn moving_in_is_refused(world: &dyn World) {
    let process = world.outsider();
    let group = world.group();
    let refused = group.ops().attach(process.pid);
    world.refused(refused, ErrorKind::Unsupported, Operation::Attach, &group.id().name);
    assert_eq!(group.members().unwrap(), []);
    world.end_all(group, &[]);
    assert!(world.lives(process));
}
