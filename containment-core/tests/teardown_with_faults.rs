//! Every operation of every persona fails, once and for ever: the teardown goes on as far as it can.

mod common;

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{assert_members_only, group_with, ms, secs, tear_down};
use containment_core::{ErrorKind, Operation, Policy};

const OPERATIONS: [Operation; 9] = [
    Operation::Members,
    Operation::Populated,
    Operation::Signal,
    Operation::Kill,
    Operation::Freeze,
    Operation::Thaw,
    Operation::Usage,
    Operation::Watch,
    Operation::Reap,
];

const ERRNOS: [i32; 5] = [libc::EIO, libc::EACCES, libc::EMFILE, libc::ENOMEM, libc::EINTR];

fn world(persona: Persona) -> Fake {
    let fake = Fake::with_persona(persona);
    fake.program("job", Script::new().dodges(2).forks(Duration::ZERO, Script::new()));
    fake
}

#[test]
fn one_failure_of_any_operation_is_survived_and_reported() {
    for persona in Persona::ALL {
        for operation in OPERATIONS {
            for errno in ERRNOS {
                let fake = world(persona);
                let group = group_with(&fake, &["job"]);
                fake.fail(operation, errno, 1);
                let (report, _) = tear_down(&fake, &*group, &Policy::graceful(ms(50)));
                let case = format!("{persona:?} {operation:?} {errno}: {report:?}");
                assert!(report.is_clean(), "{case}");
                assert!(report.elapsed < secs(2), "{case}");
                let met = fake.calls().iter().any(|call| call.failed.is_some());
                let told = report.errors.iter().any(|error| error.errno() == Some(errno));
                assert_eq!(met, told, "{case}");
                assert_members_only(&fake);
            }
        }
    }
}

#[test]
fn lasting_failures_end_within_the_bounds() {
    for persona in Persona::ALL {
        for operation in OPERATIONS.into_iter().chain([Operation::Remove]) {
            let fake = world(persona);
            let group = group_with(&fake, &["job"]);
            fake.fail(operation, libc::EIO, usize::MAX);
            let policy = Policy::kill().give_up_after(secs(3));
            let (report, _) = tear_down(&fake, &*group, &policy);
            let case = format!("{persona:?} {operation:?}: {report:?}");
            assert!(report.elapsed <= secs(6), "{case}");
            assert_eq!(fake.snapshot().groups.is_empty(), report.removed, "{case}");
            if fake.snapshot().living().count() > 0 {
                assert!(!report.is_clean(), "{case}");
            }
        }
    }
}

/// Nor members that cannot be listed: the kernel refuses to remove what holds somebody.
#[test]
fn a_population_that_cannot_be_read_does_not_keep_an_empty_group() {
    let blind = [&[Operation::Populated][..], &[Operation::Populated, Operation::Members]];
    for (persona, unread) in
        Persona::ALL.into_iter().flat_map(|it| blind.map(|unread| (it, unread)))
    {
        let fake = world(persona);
        let group = group_with(&fake, &["job"]);
        for operation in unread {
            fake.fail(*operation, libc::EMFILE, usize::MAX);
        }
        let policy = Policy::kill().give_up_after(secs(1));
        let (report, _) = tear_down(&fake, &*group, &policy);
        assert!(report.is_clean() && fake.snapshot().groups.is_empty(), "{persona:?} {report:?}");
        assert!(report.elapsed <= secs(1), "{persona:?} {report:?}");
    }
}

/// No descriptor is left for any watch (K32): the grace is polled, and then the kill finishes at once.
#[test]
fn without_watches_pauses_stay_short_where_it_counts() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().ignores(containment_core::Signal::TERM));
        let group = group_with(&fake, &["job"]);
        fake.fail(Operation::Watch, libc::EMFILE, usize::MAX);
        let (report, waits) = tear_down(&fake, &*group, &Policy::graceful(secs(1)));
        assert!(report.is_clean() && report.elapsed < ms(1_003), "{persona:?} {report:?}");
        let errors: Vec<_> = report.errors.iter().map(|e| (e.kind(), e.errno())).collect();
        assert_eq!(errors, [(ErrorKind::System, Some(libc::EMFILE))], "{persona:?}");
        assert!(!waits.iter().any(common::Waited::is_announced), "{persona:?}");
    }
}

#[test]
fn a_busy_directory_is_removed_as_soon_as_it_can_be() {
    for persona in Persona::ALL {
        let fake = world(persona);
        let group = group_with(&fake, &["job"]);
        fake.fail(Operation::Remove, libc::EBUSY, 4);
        let (report, _) = tear_down(&fake, &*group, &Policy::kill());
        assert!(report.is_clean() && report.errors.is_empty(), "{persona:?} {report:?}");
        assert!(report.elapsed < ms(40), "{persona:?} {report:?}");
    }
}

/// Watches that stay ready, as those of an empty process group, must not make the wait spin.
#[test]
fn a_removal_that_stays_busy_is_given_up_in_time() {
    for persona in Persona::ALL {
        let fake = world(persona);
        let group = group_with(&fake, &[]);
        fake.fail(Operation::Remove, libc::EBUSY, usize::MAX);
        let policy = Policy::kill().give_up_after(secs(3));
        let (report, waits) = tear_down(&fake, &*group, &policy);
        assert!(!report.removed && report.elapsed == secs(3), "{persona:?}: {report:?}");
        assert!(waits.len() < 200, "{persona:?}: {} waits", waits.len());
    }
}
