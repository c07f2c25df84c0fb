//! A seal is refused by the group itself where it would not hold.

mod common;

use backend_fake::{Fake, Persona, Script};
use common::group_with;
use containment_core::{CgroupOps, ErrorKind, Escape, Group, LeaveBy, OpenGroup, Program, Seal};

#[test]
fn a_whole_seal_needs_a_group_that_no_fork_leaves() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let group = Group::new(group_with(&fake, &[]), fake.waiter());
        let holds = fake.capabilities().escape == Escape::Impossible;
        let opened = OpenGroup::new(fake.open(group.id()).unwrap(), fake.waiter());
        let sealed = Program::new("job").seal(Seal::Whole);
        for spawned in [group.spawn(&sealed), opened.spawn(&sealed)] {
            match spawned {
                Ok(_) => assert!(holds, "{persona:?}"),
                Err(error) => {
                    assert!(!holds, "{persona:?}");
                    assert_eq!(error.kind(), ErrorKind::Unsupported);
                    assert_eq!(error.group(), Some(group.id().name.as_str()));
                }
            }
        }
        group.spawn(&Program::new("job").seal(Seal::BestEffort)).unwrap();
        assert_eq!(fake.capabilities().clone().sealed().leave_by, LeaveBy::None);
    }
}
