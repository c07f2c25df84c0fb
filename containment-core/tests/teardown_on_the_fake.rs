//! The teardown machine on every persona of the fake: worlds that differ by data, one verdict.

mod common;

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{assert_members_only, assert_one_list_each, group_with, ms, secs, tear_down};
use containment_core::{
    CgroupOps, ControllerSet, Error, ErrorKind, Operation, Policy, Program, Signal,
};

/// A program, and how long its teardown may take in virtual time.
struct World {
    name: &'static str,
    program: fn() -> Script,
    policy: fn() -> Policy,
    within: Duration,
}

fn graceful() -> Policy {
    Policy::graceful(secs(5))
}

fn asleep() -> Script {
    Script::new()
}

const WORLDS: &[World] = &[
    World { name: "sleeper, killed", program: asleep, policy: Policy::kill, within: ms(30) },
    World { name: "sleeper, asked", program: asleep, policy: graceful, within: ms(60) },
    World {
        name: "every member dies at once of TERM (K27)",
        program: || Script::new().forks(Duration::ZERO, Script::new()),
        policy: || Policy::graceful(secs(100_000)),
        within: ms(60),
    },
    World {
        name: "ignores TERM",
        program: || Script::new().ignores(Signal::TERM),
        policy: graceful,
        within: ms(5_030),
    },
    World {
        name: "dies a second after TERM",
        program: || Script::new().lingers(secs(1)),
        policy: graceful,
        within: ms(1_060),
    },
    World {
        name: "stopped itself",
        program: || Script::new().stops_itself(Duration::ZERO),
        policy: graceful,
        within: ms(60),
    },
    World {
        name: "froze its own group (K01)",
        program: || Script::new().freezes_its_group(Duration::ZERO),
        policy: Policy::kill,
        within: ms(30),
    },
    World {
        name: "froze its own group, asked",
        program: || Script::new().freezes_its_group(Duration::ZERO),
        policy: graceful,
        within: ms(60),
    },
    World {
        name: "daemonised (K18)",
        program: || Script::new().daemonises(Duration::ZERO, Script::new()),
        policy: Policy::kill,
        within: ms(30),
    },
    World {
        name: "fork bomb (K23)",
        program: || Script::new().multiplies(ms(1), 200),
        policy: Policy::kill,
        within: ms(100),
    },
    World {
        name: "respawns each millisecond (K24)",
        program: || Script::new().respawns(ms(1)).ignores(Signal::TERM),
        policy: || Policy::graceful(ms(20)),
        within: ms(60),
    },
    World {
        name: "forks away from signals",
        program: || Script::new().dodges(4),
        policy: Policy::kill,
        within: ms(200),
    },
    World {
        name: "takes long to die (K09)",
        program: || Script::new().dies_within(ms(300)),
        policy: Policy::kill,
        within: ms(400),
    },
    World {
        name: "uninterruptible for a while (K05)",
        program: || Script::new().sleeps_uninterruptibly(Duration::ZERO, secs(2)),
        policy: Policy::kill,
        within: ms(2_600),
    },
];

/// A freeze that a member in state D holds up is said to be late, whatever comes of it.
fn is_late_freeze(error: &Error) -> bool {
    (error.kind(), error.operation()) == (ErrorKind::TimedOut, Operation::Freeze)
}

#[test]
fn every_world_ends_empty_and_removed_in_time() {
    for persona in Persona::ALL {
        for world in WORLDS {
            let fake = Fake::with_persona(persona);
            fake.program("job", (world.program)());
            let stranger = fake.start_outside(Script::new());
            let group = group_with(&fake, &["job"]);
            fake.advance(ms(10));
            let (report, waits) = tear_down(&fake, &*group, &(world.policy)());
            let case = format!("{persona:?}, {}: {report:?} {waits:?}", world.name);
            assert!(report.is_clean() && report.errors.iter().all(is_late_freeze), "{case}");
            assert!(report.elapsed <= world.within, "{case}");
            let left: Vec<_> = fake.snapshot().living().map(|p| p.pid).collect();
            assert_eq!(left, [stranger], "{case}");
            assert!(fake.snapshot().groups.is_empty(), "{case}");
            assert_members_only(&fake);
            assert_one_list_each(&report);
        }
    }
}

#[test]
fn a_tree_goes_with_its_frozen_sub_group() {
    for fake in [Fake::v2(), Fake::v2_without_kill(), Fake::v1(), Fake::hybrid()] {
        fake.program("sleep", Script::new());
        fake.program("freezer", Script::new().freezes_its_group(Duration::ZERO));
        let group = group_with(&fake, &["sleep"]);
        let nested = group.subgroup(&"a/b".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        nested.spawn(&Program::new("freezer")).unwrap();
        fake.advance(ms(1));
        let (report, _) = tear_down(&fake, &*group, &Policy::kill());
        assert!(report.is_clean() && report.errors.is_empty(), "{fake:?} {report:?}");
        assert!(fake.snapshot().groups.is_empty() && fake.snapshot().living().count() == 0);
    }
}

/// Somebody else's freeze around a group saves nobody, and is no failure; but on version 1 nobody dies
/// before its end.
#[test]
fn a_frozen_group_around_it_is_told_only_where_it_keeps_members_alive() {
    for persona in [Persona::V2, Persona::V2WithoutKill, Persona::V1, Persona::Hybrid] {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let outer = group_with(&fake, &[]);
        let inner = outer.subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        inner.spawn(&Program::new("job")).unwrap();
        outer.request_freeze().unwrap();
        let (report, _) = tear_down(&fake, &*inner, &Policy::kill().give_up_after(secs(1)));
        let kinds: Vec<_> = report.errors.iter().map(Error::kind).collect();
        if persona == Persona::V1 {
            assert_eq!((report.survivors.len(), report.removed), (1, false));
            assert_eq!(kinds, [ErrorKind::Frozen, ErrorKind::TimedOut]);
        } else {
            assert!(report.is_clean() && kinds.is_empty(), "{persona:?}: {report:?}");
        }
    }
}

#[test]
fn escapes_are_found_and_reported_on_process_groups() {
    let fake = Fake::process_group();
    fake.program("job", Script::new().daemonises(Duration::ZERO, Script::new().named("daemon")));
    let group = group_with(&fake, &["job"]);
    let (report, _) = tear_down(&fake, &*group, &Policy::kill());
    assert!(report.is_clean());
    let escaped: Vec<_> = report.escaped.iter().map(|m| m.comm.as_str()).collect();
    assert_eq!(escaped, ["daemon"]);
    assert!(report.left_behind.is_empty());
}

#[test]
fn who_escapes_during_the_teardown_is_reported_too() {
    let late = Script::new().named("late").forks(ms(20), Script::new().named("daemon").detached());
    let fake = Fake::process_group();
    fake.program("in the grace", late.clone().ignores(Signal::TERM));
    fake.program("in the kill", Script::new().detached().named("dodger").dodges(1));
    let group = group_with(&fake, &["in the grace"]);
    let (report, _) = tear_down(&fake, &*group, &Policy::graceful(ms(50)));
    assert_eq!(report.escaped.len(), 1, "{report:?}");

    // Held still it could not dodge.
    fake.fail(Operation::Freeze, 1, 1);
    let group = group_with(&fake, &["in the kill"]);
    let (report, _) = tear_down(&fake, &*group, &Policy::kill());
    assert!(report.is_clean() && report.left_behind.is_empty(), "{report:?}");
    let escaped: Vec<_> = report.escaped.iter().map(|m| m.comm.as_str()).collect();
    assert_eq!(escaped, ["dodger"], "{report:?}");
    assert_one_list_each(&report);
}

#[test]
fn what_outlives_the_program_is_left_behind() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let child = Script::new().named("child");
        fake.program("job", Script::new().forks(Duration::ZERO, child).exits(ms(5), 0));
        let group = group_with(&fake, &["job"]);
        fake.advance(ms(10));
        let (report, _) = tear_down(&fake, &*group, &Policy::graceful(secs(1)));
        let left: Vec<_> = report.left_behind.iter().map(|m| m.comm.as_str()).collect();
        assert_eq!(left, ["child"], "{persona:?}");
        assert!(report.is_clean());
    }
}

#[test]
fn an_uninterruptible_member_survives_and_the_healthy_do_not() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let stuck = Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX);
        let child = Script::new().named("healthy");
        fake.program("stuck", stuck.forks(Duration::ZERO, child.clone()));
        fake.program("healthy", child.dodges(3));
        let group = group_with(&fake, &["healthy", "stuck", "healthy"]);
        let policy = Policy::kill().give_up_after(secs(3));
        let (report, _) = tear_down(&fake, &*group, &policy);
        let survivors: Vec<_> = report.survivors.iter().map(|m| m.comm.as_str()).collect();
        assert_eq!(survivors, ["stuck"], "{persona:?} {report:?}");
        assert_eq!(fake.snapshot().living().count(), 1, "{persona:?}");
        assert!(!report.removed && report.elapsed <= ms(3_001), "{persona:?} {report:?}");
        assert_one_list_each(&report);

        fake.release(report.survivors[0].pid);
        let (later, _) = tear_down(&fake, &*group, &policy);
        assert!(later.is_clean(), "{persona:?} {later:?}");
    }
}

#[test]
fn a_freeze_that_sticks_does_not_save_anybody() {
    for fake in [Fake::v2_without_kill(), Fake::v1()] {
        fake.program("job", Script::new().dodges(2).multiplies(ms(3), 50));
        let group = group_with(&fake, &["job"]);
        fake.advance(ms(30));
        fake.freezes_stick(2);
        let (report, _) = tear_down(&fake, &*group, &Policy::kill());
        assert!(report.is_clean(), "{report:?}");
        assert!(report.elapsed < secs(3), "{report:?}");
    }
}

#[test]
fn slow_freezing_is_waited_for() {
    for fake in [Fake::v2_without_kill(), Fake::v1()] {
        fake.program("job", Script::new().dodges(5));
        let group = group_with(&fake, &["job"]);
        fake.freezing_takes(ms(40));
        let (report, _) = tear_down(&fake, &*group, &Policy::kill());
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
        assert!(report.elapsed < ms(150), "{report:?}");
    }
}

#[test]
fn a_group_that_was_removed_by_somebody_else_is_done() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let group = group_with(&fake, &[]);
        group.remove().unwrap();
        let (report, waits) = tear_down(&fake, &*group, &Policy::graceful(secs(1)));
        assert!(report.is_clean() && report.errors.is_empty() && waits.is_empty());
    }
}

#[test]
fn a_namesake_is_not_touched() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let old = group_with(&fake, &[]);
        old.remove().unwrap();
        let new = group_with(&fake, &["job"]);
        let (report, _) = tear_down(&fake, &*old, &Policy::graceful(secs(1)));
        assert!(report.removed && new.populated().unwrap(), "{persona:?}");
        assert!(fake.signals().is_empty() && fake.open(old.id()).is_err());
        // A process group is known to the kernel by no name.
        assert_eq!(fake.open(new.id()).is_ok(), persona != Persona::ProcessGroup);
    }
}

/// Where the kernel announces, the machine waits for announcements only.
#[test]
fn no_wait_for_an_announcement_ends_by_time_out() {
    for fake in [Fake::v2(), Fake::hybrid(), Fake::process_group()] {
        fake.program("job", Script::new().forks(Duration::ZERO, Script::new()));
        let group = group_with(&fake, &["job", "job"]);
        let (report, waits) = tear_down(&fake, &*group, &Policy::kill());
        assert!(report.is_clean() && report.errors.is_empty() && !waits.is_empty());
        let heard = waits.iter().all(|wait| wait.is_announced() && !wait.timed_out());
        assert!(heard, "{:?}: {waits:?}", fake.persona());
    }
}

/// The completion of a freeze may come between asking and watching, and is not missed.
#[test]
fn a_freeze_that_completes_at_once_is_noticed_at_once() {
    for fake in [Fake::v2_without_kill(), Fake::v1()] {
        for delay in [Duration::ZERO, ms(3), ms(30)] {
            fake.freezing_takes(delay);
            fake.program("job", Script::new().dodges(1));
            let group = group_with(&fake, &["job"]);
            let (report, waits) = tear_down(&fake, &*group, &Policy::kill());
            assert!(report.is_clean() && report.errors.is_empty());
            let case = format!("{:?} {delay:?}: {report:?} {waits:?}", fake.persona());
            assert!(report.elapsed <= delay * 2 + ms(3), "{case}");
        }
    }
}
