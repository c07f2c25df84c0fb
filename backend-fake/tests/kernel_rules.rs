//! The rules of the kernel that the model has to keep, persona by persona.

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use containment_core::{
    Bytes, CgroupOps, Change, ControllerSet, ErrorKind, FreezeState, GroupOps, KillStep, Limit,
    Limits, Operation, Outcome, Program, Signal, Standing, Time, Watch,
};

const TICK: Duration = Duration::from_millis(1);
const EVER: Duration = Duration::MAX;
const CGROUPS: [Persona; 4] = [Persona::V2, Persona::V2WithoutKill, Persona::V1, Persona::Hybrid];

fn group(fake: &Fake, name: &str) -> Box<dyn GroupOps> {
    fake.create(&name.parse().unwrap(), ControllerSet::EMPTY).unwrap()
}

fn kind<T>(result: containment_core::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_frozen_task_dies_of_sigkill_at_once_except_on_version_1() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().lingers(TICK));
        let group = group(&fake, "job");
        group.spawn(&Program::new("job")).unwrap();
        group.request_freeze().unwrap();
        assert_eq!(group.frozen().unwrap(), FreezeState::Frozen);
        group.signal(Signal::TERM).unwrap();
        fake.advance(TICK * 10);
        assert!(group.populated().unwrap(), "{persona:?}: frozen members handle no SIGTERM");
        group.signal(Signal::KILL).unwrap();
        fake.advance(TICK);
        assert_eq!(group.populated().unwrap(), persona == Persona::V1, "{persona:?}");
        group.request_thaw().unwrap();
        assert!(!group.populated().unwrap(), "{persona:?}");
    }
}

/// It is made a SIGKILL as it is sent, but for a stopped process and in version 1's freezer.
#[test]
fn a_fatal_signal_acts_on_a_frozen_task_as_sigkill_does() {
    for persona in CGROUPS {
        for stopped in [true, false] {
            let fake = Fake::with_persona(persona);
            fake.program("job", Script::new());
            let group = group(&fake, "job");
            let child = group.spawn(&Program::new("job")).unwrap();
            if stopped {
                group.signal(Signal::STOP).unwrap();
            }
            group.request_freeze().unwrap();
            group.signal(Signal::TERM).unwrap();
            group.signal(Signal::HUP).unwrap();
            fake.advance(TICK);
            let waits = stopped || persona == Persona::V1;
            assert_eq!(group.populated().unwrap(), waits, "{persona:?} {stopped}");
            group.signal(Signal::CONT).unwrap();
            group.request_thaw().unwrap();
            fake.advance(TICK);
            // What waited is met by number, what was fatal at once in the order of sending.
            let first = if waits { Signal::HUP } else { Signal::TERM };
            assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(first)), "{persona:?}");
        }
    }
}

/// A signal of this kind that waits already is dropped when it is sent again, and so ends nobody.
#[test]
fn a_fatal_signal_that_waits_already_does_not_end_a_frozen_task() {
    for persona in [Persona::V2, Persona::V2WithoutKill, Persona::Hybrid] {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let group = group(&fake, "job");
        let child = group.spawn(&Program::new("job")).unwrap();
        group.signal(Signal::STOP).unwrap();
        group.request_freeze().unwrap();
        for signal in [Signal::TERM, Signal::CONT, Signal::TERM] {
            group.signal(signal).unwrap();
            fake.advance(TICK);
            assert!(group.populated().unwrap(), "{persona:?} {signal}");
        }
        group.signal(Signal::HUP).unwrap();
        fake.advance(TICK);
        assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::HUP)), "{persona:?}");
    }
}

#[test]
fn a_freeze_takes_its_time_sticks_and_waits_for_state_d() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().sleeps_uninterruptibly(TICK * 20, TICK * 20));
        let group = group(&fake, "job");
        group.spawn(&Program::new("job")).unwrap();
        fake.freezing_takes(TICK * 10);
        fake.freezes_stick(1);
        for sticks in [true, false] {
            group.request_freeze().unwrap();
            fake.advance(TICK * 5);
            assert_eq!(group.frozen().unwrap(), FreezeState::Freezing);
            fake.advance(TICK * 5);
            let expected = if sticks { FreezeState::Freezing } else { FreezeState::Frozen };
            assert_eq!(group.frozen().unwrap(), expected, "{persona:?}");
            group.request_thaw().unwrap();
            assert_eq!(group.frozen().unwrap(), FreezeState::Thawed);
        }
        fake.advance(TICK);
        group.request_freeze().unwrap();
        fake.advance(TICK * 11);
        assert_eq!(group.frozen().unwrap(), FreezeState::Freezing, "{persona:?}: state D");
        fake.advance(TICK * 20);
        assert_eq!(group.frozen().unwrap(), FreezeState::Frozen, "{persona:?}");
    }
}

#[test]
fn a_populated_group_is_busy_and_a_removed_one_is_gone() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().exits(TICK, 3));
        let group = group(&fake, "job");
        let child = group.spawn(&Program::new("job")).unwrap();
        assert_eq!(kind(group.remove()), Some(ErrorKind::Busy), "{persona:?}");
        fake.advance(TICK);
        assert!(!group.populated().unwrap(), "{persona:?}: a zombie is no member");
        assert!(group.members().unwrap().is_empty());
        group.remove().unwrap();
        let refusals = [
            kind(group.spawn(&Program::new("job"))),
            kind(group.attach(child.pid())),
            kind(group.subgroup(&"x".parse().unwrap(), ControllerSet::EMPTY)),
            kind(group.subgroups()),
            kind(group.members()),
            kind(group.populated()),
            kind(group.signal(Signal::KILL)),
            kind(group.kill()),
            kind(group.request_freeze()),
            kind(group.request_thaw()),
            kind(group.frozen()),
            kind(group.set_limits(&Limits::new())),
            kind(group.usage()),
            kind(group.watch(Change::Empty)),
            kind(group.reap()),
            kind(group.remove()),
        ];
        assert!(refusals.iter().all(|kind| *kind == Some(ErrorKind::Gone)), "{refusals:?}");
        assert_eq!(child.try_wait().unwrap(), Some(Outcome::Exited(3)), "{persona:?}");
    }
}

#[test]
fn missing_levels_are_made_and_go_with_the_group_around_them() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new());
        let inner = group(&fake, "a/b/c");
        let outer = fake.open(&fake.list().unwrap()[0]).unwrap();
        assert_eq!(outer.id().name.as_str(), "a");
        assert_eq!(
            kind(fake.create(&"a/b".parse().unwrap(), ControllerSet::EMPTY)),
            Some(ErrorKind::AlreadyExists)
        );
        inner.spawn(&Program::new("job")).unwrap();
        assert!(outer.populated().unwrap());
        assert_eq!(kind(outer.remove()), Some(ErrorKind::Busy), "{persona:?}");
        outer.signal(Signal::KILL).unwrap();
        fake.advance(TICK);
        outer.remove().unwrap();
        assert_eq!(kind(inner.populated()), Some(ErrorKind::Gone), "{persona:?}");
        assert!(fake.snapshot().groups.is_empty());
    }
}

#[test]
fn an_atomic_kill_takes_what_dodges_signals() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().dodges(1));
        let group = group(&fake, "job");
        group.spawn(&Program::new("job")).unwrap();
        let mut step = group.kill().unwrap();
        if matches!(step, KillStep::Freezing) {
            step = group.kill().unwrap();
        }
        fake.advance(TICK);
        let atomic = matches!(step, KillStep::Killed);
        let frozen_first = persona == Persona::V2WithoutKill;
        assert_eq!(group.populated().unwrap(), !atomic && !frozen_first, "{persona:?}");
    }
}

#[test]
fn setsid_leaves_a_process_group_and_no_cgroup() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().daemonises(Duration::ZERO, Script::new()));
        let group = group(&fake, "job");
        group.spawn(&Program::new("job")).unwrap();
        let standings: Vec<_> = group.members().unwrap().iter().map(|m| m.standing).collect();
        let cgroups = persona != Persona::ProcessGroup;
        assert_eq!(standings, [if cgroups { Standing::Inside } else { Standing::Escaped }]);
    }
}

#[test]
fn process_groups_hold_their_leader_and_have_no_sub_groups() {
    let fake = Fake::process_group();
    fake.program("job", Script::new().exits(TICK, 0));
    let group = group(&fake, "job");
    let leader = group.spawn(&Program::new("job")).unwrap();
    let other = group.spawn(&Program::new("job")).unwrap();
    fake.advance(TICK);
    assert_eq!(group.reap().unwrap().count, 1);
    assert!(leader.try_wait().unwrap().is_some() && other.try_wait().unwrap().is_some());
    let held: Vec<_> = fake.snapshot().processes.iter().map(|p| p.pid).collect();
    assert_eq!(held, [leader.pid()]);
    let inner = group.subgroup(&"x".parse().unwrap(), ControllerSet::EMPTY);
    assert_eq!(kind(inner), Some(ErrorKind::Unsupported));
    assert_eq!(kind(group.attach(leader.pid())), Some(ErrorKind::Unsupported));
    group.remove().unwrap();
    assert!(fake.snapshot().processes.is_empty());
}

#[test]
fn processes_are_kept_out_of_frozen_and_inner_groups() {
    let fake = Fake::v2();
    fake.program("job", Script::new());
    let frozen = group(&fake, "frozen");
    frozen.request_freeze().unwrap();
    assert_eq!(kind(frozen.spawn(&Program::new("job"))), Some(ErrorKind::Frozen));
    let pids = ControllerSet::EMPTY.with(Limit::Pids);
    let outer = group(&fake, "outer");
    let leaf = outer.subgroup(&"leaf".parse().unwrap(), pids).unwrap();
    assert_eq!(kind(outer.spawn(&Program::new("job"))), Some(ErrorKind::InternalProcesses));
    leaf.spawn(&Program::new("job")).unwrap();
    let below = leaf.subgroup(&"below".parse().unwrap(), pids);
    assert_eq!(kind(below), Some(ErrorKind::InternalProcesses));
    assert_eq!(kind(leaf.spawn(&Program::new("unheard of"))), Some(ErrorKind::ProgramNotFound));
}

#[test]
fn limits_hold_and_usage_counts() {
    let fake = Fake::v2();
    fake.program("bomb", Script::new().multiplies(TICK, 100));
    fake.program("hog", Script::new().allocates(TICK, 10).allocates(TICK * 2, 2000));
    let group = group(&fake, "job");
    group.set_limits(&Limits::new().pids_max(7).memory_max(Bytes(1000))).unwrap();
    group.spawn(&Program::new("bomb")).unwrap();
    let hog = group.spawn(&Program::new("hog")).unwrap();
    fake.advance(TICK * 20);
    let usage = group.usage().unwrap();
    assert_eq!(hog.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
    assert_eq!((usage.pids_peak, usage.oom_kills), (Some(7), Some(1)));
    assert_eq!(usage.memory_peak, Some(10));
    let more = group.spawn(&Program::new("hog")).unwrap_err();
    assert_eq!(more.errno(), Some(libc::EAGAIN));
}

#[test]
fn of_process_groups_the_kernel_keeps_no_mark_no_peak_and_no_oom_kills() {
    for fake in [Fake::process_group(), Fake::process_group_without_keeper()] {
        fake.program("hog", Script::new().allocates(TICK, 10));
        let group = group(&fake, "job");
        group.spawn(&Program::new("hog")).unwrap();
        fake.advance(TICK * 2);
        let usage = group.usage().unwrap();
        assert_eq!((usage.memory, usage.pids), (Some(10), Some(1)), "{fake:?}");
        assert_eq!((usage.memory_peak, usage.pids_peak, usage.oom_kills), (None, None, None));
        assert_eq!(kind(group.oom_kills()), Some(ErrorKind::Unsupported));
        assert_eq!(kind(group.watch(Change::Oom)), Some(ErrorKind::Unsupported));
        assert!(!group.leave_mark("mark").unwrap());
        assert_eq!(group.mark().unwrap(), None);
    }
}

#[test]
fn a_change_between_two_reads_is_announced_until_it_is_read() {
    let fake = Fake::v2();
    fake.program("job", Script::new().exits(TICK, 0));
    let group = group(&fake, "job");
    group.spawn(&Program::new("job")).unwrap();
    let clock = fake.waiter();
    let later = Time::since_epoch(TICK * 5);
    let watch = group.watch(Change::Empty).unwrap();
    assert!(matches!(watch, Watch::Virtual(_)));
    assert!(group.populated().unwrap());
    clock.wait(later, &watch);
    clock.wait(later, &watch);
    assert_eq!(fake.now(), Time::since_epoch(TICK));
    assert!(!group.populated().unwrap());
    clock.wait(later, &watch);
    assert_eq!(fake.now(), later);
}

#[test]
fn state_d_ends_when_it_is_released() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().sleeps_uninterruptibly(Duration::ZERO, EVER));
        let group = group(&fake, "job");
        let pid = group.spawn(&Program::new("job")).unwrap().pid();
        group.signal(Signal::KILL).unwrap();
        fake.advance(TICK * 1000);
        assert_eq!(group.members().unwrap()[0].state.0, 'D');
        fake.release(pid);
        assert!(!fake.snapshot().lives(pid), "{persona:?}");
    }
}

#[test]
fn faults_are_met_in_order_and_calls_are_on_record() {
    let fake = Fake::v1();
    let group = group(&fake, "job");
    fake.fail(Operation::Populated, libc::EIO, 2);
    fake.fail(Operation::Populated, ErrorKind::KeeperLost, 1);
    let made = || containment_core::Error::new(ErrorKind::TimedOut, Operation::Populated);
    fake.fail_with(Operation::Populated, 1, made);
    let met: Vec<_> = (0..5).map(|_| kind(group.populated())).collect();
    let expected =
        [ErrorKind::System, ErrorKind::System, ErrorKind::KeeperLost, ErrorKind::TimedOut];
    assert_eq!(met[..4], expected.map(Some));
    assert_eq!(met[4], None);
    let recorded: Vec<_> = fake.calls().iter().map(|call| (call.method, call.failed)).collect();
    assert_eq!(recorded[0], ("create", None));
    assert_eq!(recorded[4], ("populated", Some(ErrorKind::TimedOut)));
    assert_eq!(recorded.len(), 6);
}

#[test]
fn what_is_moved_in_is_a_member_and_what_is_outside_is_not() {
    for persona in CGROUPS {
        let fake = Fake::with_persona(persona);
        let inside = fake.start_outside(Script::new());
        let outside = fake.start_outside(Script::new());
        let group = group(&fake, "job");
        group.attach(inside).unwrap();
        group.signal(Signal::KILL).unwrap();
        fake.advance(TICK);
        assert!(!fake.snapshot().lives(inside) && fake.snapshot().lives(outside), "{persona:?}");
        assert_eq!(kind(group.attach(inside)), Some(ErrorKind::System));
        assert!(fake.signals().iter().all(|signal| signal.to_member));
    }
}
