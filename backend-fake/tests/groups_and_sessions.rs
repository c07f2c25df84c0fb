//! Rules that real drivers and the kernel have shown: handles, removal, sessions, and processes that are
//! told what to do.

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use containment_core::{
    CgroupOps, ControllerSet, Error, ErrorKind, GroupOps, Operation, Outcome, Program, Result,
    Signal, Standing,
};

const TICK: Duration = Duration::from_millis(1);
const NOW: Duration = Duration::ZERO;
const CGROUPS: [Persona; 4] = [Persona::V2, Persona::V2WithoutKill, Persona::V1, Persona::Hybrid];

fn group(fake: &Fake, name: &str) -> Box<dyn GroupOps> {
    fake.create(&name.parse().unwrap(), ControllerSet::EMPTY).unwrap()
}

fn standings(group: &dyn GroupOps) -> Vec<Standing> {
    group.members().unwrap().iter().map(|member| member.standing).collect()
}

fn refusal<T>(result: Result<T>) -> Option<(ErrorKind, Operation)> {
    result.err().map(|error: Error| (error.kind(), error.operation()))
}

#[test]
fn a_handle_knows_the_programs_that_were_started_through_it() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let starter = group(&fake, "job");
        let other = fake.open(starter.id()).unwrap();
        starter.spawn(&Program::new("job")).unwrap();
        assert_eq!(standings(&*starter), [Standing::Program], "{persona:?}");
        assert_eq!(standings(&*other), [Standing::Inside], "{persona:?}");
        starter.signal(Signal::KILL).unwrap();
        fake.advance(TICK);
        assert_eq!(other.reap().unwrap().count, 0, "{persona:?}");
        assert_eq!(starter.reap().unwrap().count, 1, "{persona:?}");
    }
}

#[test]
fn a_group_that_somebody_else_removed_is_gone_and_its_removal_is_done() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        let first = group(&fake, "job");
        let second = fake.open(first.id()).unwrap();
        first.remove().unwrap();
        let spawned = refusal(second.spawn(&Program::new("job")));
        assert_eq!(spawned, Some((ErrorKind::Gone, Operation::Place)), "{persona:?}");
        assert_eq!(second.reap().unwrap().count, 0, "{persona:?}");
        second.remove().unwrap();
        let spawned = refusal(second.spawn(&Program::new("job")));
        assert_eq!(spawned, Some((ErrorKind::Gone, Operation::Spawn)), "{persona:?}");
        let removed = refusal(second.remove());
        assert_eq!(removed, Some((ErrorKind::Gone, Operation::Remove)), "{persona:?}");
    }
}

#[test]
fn a_refused_removal_takes_the_empty_groups_all_the_same() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let outer = group(&fake, "outer");
        let held = group(&fake, "outer/held");
        group(&fake, "outer/empty/too");
        held.spawn(&Program::new("job")).unwrap();
        assert_eq!(refusal(outer.remove()).map(|r| r.0), Some(ErrorKind::Busy));
        let left = fake.snapshot().groups.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(left, ["outer", "outer/held"], "{persona:?}");
    }
}

#[test]
fn a_group_that_others_hold_frozen_is_not_thawed_and_says_so() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        let (outer, inner) = (group(&fake, "outer"), group(&fake, "outer/inner"));
        outer.request_freeze().unwrap();
        let says_so = Some((ErrorKind::Frozen, Operation::Thaw));
        assert_eq!(refusal(inner.request_thaw()), says_so, "{persona:?}");
    }
}

#[test]
fn who_leads_a_process_group_stays_in_it() {
    for fake in [Fake::process_group(), Fake::process_group_without_keeper()] {
        fake.program("leader", Script::new().detached().forks(NOW, Script::new()));
        let group = group(&fake, "job");
        group.spawn(&Program::new("leader")).unwrap();
        assert_eq!(standings(&*group), [Standing::Program, Standing::Inside], "{fake:?}");
    }
}

#[test]
fn without_a_keeper_who_leaves_is_lost() {
    let fake = Fake::process_group_without_keeper();
    fake.program("job", Script::new().daemonises(TICK, Script::new().named("daemon")));
    let group = group(&fake, "job");
    group.spawn(&Program::new("job")).unwrap();
    fake.advance(TICK * 2);
    assert!(!group.populated().unwrap());
    group.remove().unwrap();
    let snapshot = fake.snapshot();
    assert_eq!(snapshot.living().map(|p| p.comm.as_str()).collect::<Vec<_>>(), ["daemon"]);
}

/// POSIX, `_exit`: SIGHUP and SIGCONT for an orphaned process group with a stopped member.
#[test]
fn a_process_group_that_is_orphaned_while_stopped_is_hung_up() {
    for (fake, orphaned) in
        [(Fake::process_group_without_keeper(), true), (Fake::process_group(), false)]
    {
        fake.program("job", Script::new().forks(NOW, Script::new()));
        let group = group(&fake, "job");
        let job = group.spawn(&Program::new("job")).unwrap();
        group.signal(Signal::STOP).unwrap();
        job.signal(Signal::KILL).unwrap();
        fake.advance(TICK);
        assert_eq!(group.populated().unwrap(), !orphaned, "{:?}", fake.persona());
    }
}

/// What cannot be executed was a member of the group for a moment.
#[test]
fn a_failed_spawn_hangs_up_a_stopped_process_group_that_has_no_program() {
    let fake = Fake::process_group_without_keeper();
    fake.program("job", Script::new().forks(NOW, Script::new()).exits(TICK, 0));
    let group = group(&fake, "job");
    group.spawn(&Program::new("job")).unwrap();
    fake.advance(TICK);
    group.request_freeze().unwrap();
    assert_eq!(standings(&*group), [Standing::Inside]);
    assert!(group.spawn(&Program::new("none")).is_err());
    fake.advance(TICK);
    assert!(!group.populated().unwrap());
}

#[test]
fn who_is_told_acts_once_it_can_run_and_not_before_its_signals() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let group = group(&fake, "job");
        let obedient = group.spawn(&Program::new("job")).unwrap();
        let doomed = group.spawn(&Program::new("job")).unwrap();
        group.signal(Signal::STOP).unwrap();
        fake.tell(obedient.pid(), Script::new().exits(NOW, 3));
        fake.tell(doomed.pid(), Script::new().exits(NOW, 4));
        doomed.signal(Signal::TERM).unwrap();
        fake.advance(TICK);
        assert!(fake.snapshot().living().all(|process| !process.runs), "{persona:?}");
        group.signal(Signal::CONT).unwrap();
        fake.advance(TICK);
        assert_eq!(obedient.try_wait().unwrap(), Some(Outcome::Exited(3)), "{persona:?}");
        let met = Some(Outcome::Signaled(Signal::TERM));
        assert_eq!(doomed.try_wait().unwrap(), met, "{persona:?}");
    }
}

#[test]
fn what_is_ignored_is_inherited() {
    let fake = Fake::v2();
    fake.program("job", Script::new());
    let group = group(&fake, "job");
    let job = group.spawn(&Program::new("job")).unwrap();
    fake.tell(job.pid(), Script::new().ignores(Signal::TERM).forks(NOW, Script::new()));
    group.signal(Signal::TERM).unwrap();
    fake.advance(TICK);
    assert_eq!(standings(&*group), [Standing::Program, Standing::Inside]);
}
