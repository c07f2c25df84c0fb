//! Scenarios of docs/SCENARIOS.md whose fault has to be injected, on every persona of the fake that each
//! applies to.

mod common;

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{assert_members_only, group_with, ms, secs, tear_down};
use containment_core::{
    CgroupOps as _, ErrorKind, Freeze, FreezeState, OpenGroup, Operation, Policy, ProcessState,
    Signal,
};

const EMFILE: i32 = 24;

/// The freeze never completes although members stand still: it is given up, undone, and told.
#[test]
fn k04_a_freeze_that_fails_half_way_leaves_the_group_thawed() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        if fake.capabilities().freeze != Freeze::Kernel {
            continue;
        }
        fake.program("job", Script::new().works_every(ms(10)));
        let group = OpenGroup::new(group_with(&fake, &["job"]), fake.waiter());
        fake.freezes_stick(1);
        let error = group.freeze(secs(1)).unwrap_err();
        assert_eq!(error.error.kind(), ErrorKind::TimedOut, "{persona:?}");
        assert_eq!(group.ops().frozen().unwrap(), FreezeState::Thawed, "{persona:?}");
        let before = fake.snapshot().work;
        fake.advance(secs(1));
        assert!(fake.snapshot().work > before, "{persona:?}: it stands still");
    }
}

/// The deadline holds, the healthy die, the sleeper is named; once it wakes a second teardown ends the job.
#[test]
fn k05_who_sleeps_uninterruptibly_is_named_and_ended_later() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("healthy", Script::new().ignores(Signal::TERM));
        fake.program(
            "sleeper",
            Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX),
        );
        let group = group_with(&fake, &["healthy", "sleeper"]);
        let policy = Policy::kill().give_up_after(secs(3));
        let (report, _) = tear_down(&fake, &*group, &policy);
        assert!(report.elapsed <= secs(4), "{persona:?}: {report:?}");
        let survivors: Vec<_> = report.survivors.iter().map(|m| (&*m.comm, m.state)).collect();
        assert_eq!(survivors, [("sleeper", ProcessState('D'))], "{persona:?}");
        fake.release(report.survivors[0].pid);
        let (report, _) = tear_down(&fake, &*group, &policy);
        assert!(report.is_clean(), "{persona:?}: {report:?}");
        assert_members_only(&fake);
    }
}

/// Whatever cannot be opened for a watch: pauses stand in for it, it is told once, and the kill finishes.
#[test]
fn k32_without_descriptors_for_a_watch_the_kill_finishes() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program(
            "job",
            Script::new().ignores(Signal::TERM).forks(Duration::ZERO, Script::new()),
        );
        let group = group_with(&fake, &["job", "job"]);
        fake.fail(Operation::Watch, EMFILE, usize::MAX);
        let (report, _) = tear_down(&fake, &*group, &Policy::graceful(ms(50)));
        assert!(report.is_clean(), "{persona:?}: {report:?}");
        assert!(report.elapsed < secs(1), "{persona:?}: {report:?}");
        let told = report.errors.iter().filter(|error| error.errno() == Some(EMFILE)).count();
        assert_eq!(told, 1, "{persona:?}: {report:?}");
    }
}
