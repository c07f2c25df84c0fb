//! A seal is refused by the group itself where it would not hold.

mod common;

use backend_fake::{Fake, Persona, Script};
use common::group_with;
use containment_core::{
    CgroupOps, ErrorKind, Escape, Group, LeaveBy, MockGroupOps, OpenGroup, Program, Seal,
};

#[test]
fn a_whole_seal_needs_a_group_that_no_fork_leaves() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let group = Group::new(group_with(&fake, &[]), fake.waiter());
        let holds = fake.capabilities().escape == Escape::Impossible;
        let sealed = Program::new("job").seal(Seal::Whole);
        match group.spawn(&sealed) {
            Ok(_) => assert!(holds, "{persona:?}"),
            Err(error) => {
                assert!(!holds, "{persona:?}");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert_eq!(error.group(), Some(group.id().name.as_str()));
            }
        }
        group.spawn(&Program::new("job").seal(Seal::BestEffort)).unwrap();
        assert_eq!(fake.capabilities().clone().sealed().leave_by, LeaveBy::None);
    }
}

/// Whoever opens a group asks no less of it; the driver, which is a mock, is not asked to spawn.
#[test]
fn a_group_that_was_opened_is_held_to_the_same() {
    let fake = Fake::with_persona(Persona::ProcessGroup);
    let mut ops = MockGroupOps::new();
    ops.expect_id().return_const(common::mock::id());
    ops.expect_capabilities().return_const(fake.capabilities().clone());
    let opened = OpenGroup::new(Box::new(ops), fake.waiter());
    let error = opened.spawn(&Program::new("job").seal(Seal::Whole)).unwrap_err();
    assert_eq!((error.kind(), error.group()), (ErrorKind::Unsupported, Some("job")));
}
