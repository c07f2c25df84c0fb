//! The bounds of a run, on the fake's clock and on mocks.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backend_fake::{Fake, Script};
use common::{ms, secs};
use containment_core::{
    Bounds, Bytes, CgroupOps, Change, Child, ControllerSet, Ended, Error, ErrorKind, EventId,
    Group, Limit, Limits, Look, MockGroupOps, Operation, Outcome, Overrun, Policy, Program, Signal,
    Time, Topology, Usage, Watch, Watchdog,
};

/// A group of the fake with this program in it, under a limit on memory.
fn running(fake: &Fake, script: Script) -> (Group, Child) {
    fake.program("program", script);
    let memory = ControllerSet::EMPTY.with(Limit::Memory);
    let group = Group::new(fake.create(&"job".parse().unwrap(), memory).unwrap(), fake.waiter());
    group.set_limits(&Limits::new().memory_max(Bytes::mib(1))).unwrap();
    let child = group.spawn(&Program::new("program")).unwrap();
    (group, child)
}

fn end(group: Group) {
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
}

#[test]
fn the_programs_own_end_comes_first() {
    let fake = Fake::v2();
    let (group, child) = running(&fake, Script::new().exits(secs(3), 7));
    let ended = group.wait(&child, &Bounds::new().wall(secs(5))).unwrap();
    assert_eq!(ended, Ended::Program(Outcome::Exited(7)));
    assert!(fake.now().since(Time::ZERO) < secs(4));
    end(group);
}

#[test]
fn a_time_limit_ends_the_wait_when_it_passes() {
    let fake = Fake::v2();
    let (group, child) = running(&fake, Script::new());
    let ended = group.wait(&child, &Bounds::new().wall(secs(5)).survive_oom()).unwrap();
    assert_eq!(ended, Ended::Overrun(Overrun::Timeout));
    assert_eq!(fake.now(), Time::ZERO + secs(5));
    end(group);
}

/// A member that is not the program is taken (K29).
#[test]
fn k29_an_oom_kill_ends_the_wait_unless_it_is_to_be_survived() {
    let greedy = Script::new().allocates(secs(1), Bytes::mib(2).0);
    let program = || Script::new().forks(Duration::ZERO, greedy.clone()).exits(secs(9), 0);
    for fake in [Fake::v2(), Fake::v1(), Fake::hybrid()] {
        let (group, child) = running(&fake, program());
        let ended = group.wait(&child, &Bounds::new()).unwrap();
        assert_eq!(ended, Ended::Overrun(Overrun::Oom), "{fake:?}");
        assert!(fake.now().since(Time::ZERO) < secs(2));
        end(group);
    }
    let fake = Fake::v2();
    let (group, child) = running(&fake, program());
    let ended = group.wait(&child, &Bounds::new().survive_oom()).unwrap();
    assert_eq!(ended, Ended::Program(Outcome::Exited(0)));
    end(group);
}

#[test]
fn a_program_that_the_oom_killer_took_ended_for_that_reason() {
    let fake = Fake::v2();
    let (group, child) = running(&fake, Script::new().allocates(secs(1), Bytes::mib(2).0));
    let ended = group.wait(&child, &Bounds::new()).unwrap();
    assert_eq!(ended, Ended::Overrun(Overrun::Oom));
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
    end(group);
}

#[test]
fn who_counts_no_oom_kills_is_not_watched_for_them() {
    let fake = Fake::process_group();
    fake.program("program", Script::new().exits(secs(1), 0));
    let group = fake.create(&"job".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    let mut watchdog = Watchdog::new(&Bounds::new(), fake.now(), &*group).unwrap();
    let look = watchdog.look(fake.now(), &*group).unwrap();
    assert!(matches!(look, Look::Within { until: Time::NEVER, on: None }), "{look:?}");
    group.remove().unwrap();
}

/// A group whose members used so much CPU time.
fn using(cpu: &Arc<AtomicU64>) -> MockGroupOps {
    let mut group = MockGroupOps::new();
    let cpu = Arc::clone(cpu);
    group.expect_usage().returning(move || {
        let cpu = Some(Duration::from_millis(cpu.load(Ordering::SeqCst)));
        Ok(Usage { cpu, ..Usage::default() })
    });
    group
}

fn until(look: &Look) -> Time {
    match look {
        Look::Within { until, .. } => *until,
        Look::Over(overrun) => panic!("over: {overrun:?}"),
    }
}

#[test]
fn cpu_time_is_read_when_it_could_have_been_used_up_at_the_earliest() {
    let cpus = u32::try_from(Topology::read().unwrap().cpus().len()).unwrap();
    let cpu = Arc::new(AtomicU64::new(500));
    let group = using(&cpu);
    let bounds = Bounds::new().cpu(secs(10)).survive_oom();
    let mut watchdog = Watchdog::new(&bounds, Time::ZERO, &group).unwrap();
    let mut now = Time::ZERO;
    // What was used before the run is not its own: 10 s are left.
    let look = watchdog.look(now, &group).unwrap();
    assert_eq!(until(&look), now + secs(10) / cpus);
    // Members that use every CPU all the time are over soon after.
    let mut overshoot = 0;
    for _ in 0..1000 {
        let next = match watchdog.look(now, &group).unwrap() {
            Look::Over(overrun) => {
                assert_eq!(overrun, Overrun::CpuTime);
                overshoot = cpu.load(Ordering::SeqCst) - 10_500;
                break;
            }
            look @ Look::Within { .. } => until(&look),
        };
        let passed = u64::try_from(next.since(now).as_millis()).unwrap().max(1);
        cpu.fetch_add(passed * u64::from(cpus), Ordering::SeqCst);
        now = now + ms(passed);
    }
    let endless = Bounds::new().cpu(Duration::MAX).survive_oom();
    let look = Watchdog::new(&endless, now, &group).unwrap().look(now, &group).unwrap();
    assert!(matches!(look, Look::Within { .. }), "as much as there can be is no limit");
    assert!(cpu.load(Ordering::SeqCst) >= 10_500, "it was never over");
    assert!(overshoot <= 25.max(u64::from(cpus)), "{overshoot} ms");
}

#[test]
fn cpu_time_that_is_not_measured_cannot_be_limited() {
    let mut group = MockGroupOps::new();
    group.expect_id().return_const(common::mock::id());
    group.expect_usage().returning(|| Ok(Usage::default()));
    let error = Watchdog::new(&Bounds::new().cpu(secs(1)), Time::ZERO, &group).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Operation::Usage));
}

/// On version 1 the announcement comes first.
#[test]
fn after_an_announcement_an_oom_kill_is_looked_for_a_few_times_more() {
    let kills = Arc::new(AtomicU64::new(3));
    let counted = Arc::clone(&kills);
    let mut group = MockGroupOps::new();
    group.expect_oom_kills().returning(move || Ok(counted.load(Ordering::SeqCst)));
    group
        .expect_watch()
        .with(mockall::predicate::eq(Change::Oom))
        .returning(|_| Ok(Watch::Virtual(EventId(0))));
    let mut watchdog = Watchdog::new(&Bounds::new(), Time::ZERO, &group).unwrap();
    assert_eq!(until(&watchdog.look(Time::ZERO, &group).unwrap()), Time::NEVER);
    let mut now = Time::ZERO + secs(1);
    for pause in [1, 2, 4] {
        let next = until(&watchdog.look(now, &group).unwrap());
        assert_eq!(next.since(now), ms(pause));
        now = next;
    }
    kills.store(4, Ordering::SeqCst);
    let look = watchdog.look(now, &group).unwrap();
    assert!(matches!(look, Look::Over(Overrun::Oom)), "{look:?}");
}

/// A false alarm is forgotten: nothing looks again and again for ever.
#[test]
fn an_announcement_that_nothing_follows_is_forgotten() {
    let mut group = MockGroupOps::new();
    group.expect_oom_kills().returning(|| Ok(0));
    group.expect_watch().returning(|_| Ok(Watch::Virtual(EventId(0))));
    let mut watchdog = Watchdog::new(&Bounds::new(), Time::ZERO, &group).unwrap();
    let mut now = Time::ZERO + secs(1);
    let looks = (0..100).take_while(|_| {
        let next = until(&watchdog.look(now, &group).unwrap());
        let looks_again = next != Time::NEVER;
        now = if looks_again { next } else { now };
        looks_again
    });
    assert!(looks.count() < 20);
}

/// Whoever removed the group found nobody in it.
#[test]
fn a_group_that_is_gone_had_no_oom_kill() {
    let mut group = MockGroupOps::new();
    let mut first = true;
    group.expect_oom_kills().returning(move || {
        if std::mem::take(&mut first) {
            return Ok(0);
        }
        Err(Error::new(ErrorKind::Gone, Operation::Usage))
    });
    let watchdog = Watchdog::new(&Bounds::new(), Time::ZERO, &group).unwrap();
    assert!(!watchdog.oom_killed(&group).unwrap());
}

#[test]
fn a_dead_group_is_no_reason_to_wait() {
    let fake = Fake::v2();
    let group = fake.create(&"job".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    group.remove().unwrap();
    let error = Watchdog::new(&Bounds::new(), fake.now(), &*group).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
}
