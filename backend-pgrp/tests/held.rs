//! Process groups without a keeper, as a library user has them: on real processes.

use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use backend_pgrp::{Keeper, ProcessGroups};
use containment_core::{
    CgroupOps, Change, ControllerSet, ErrorKind, Escape, FreezeState, Group, GroupName, Limits,
    Outcome, Pid, Policy, ProcessGroup, Program, Signal, Standing, Watch,
};
use containment_process::proc::Stat;

fn driver() -> ProcessGroups {
    let driver = ProcessGroups::probe(Keeper::None).expect("Linux has process groups");
    driver.prove().expect("/proc is there");
    driver
}

fn create(driver: &ProcessGroups, name: &str) -> Group {
    let name: GroupName = name.parse().unwrap();
    Group::new(driver.create(&name, ControllerSet::EMPTY).unwrap(), driver.waiter())
}

fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

/// `CONTAIN_TIME_SCALE` times as long: emulated machines are slow.
fn scaled(time: Duration) -> Duration {
    let scale = std::env::var("CONTAIN_TIME_SCALE").ok().and_then(|scale| scale.parse().ok());
    time.mul_f64(scale.unwrap_or(1.0))
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + scaled(Duration::from_secs(20));
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_alive(pid: Pid) -> bool {
    Stat::read(pid).unwrap().is_some_and(|stat| !stat.state.is_zombie())
}

fn clean_kill(group: Group) {
    let report = group.terminate(&Policy::kill()).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
}

/// G1 to G5: every child in its own group; TERM, reap, KILL; done when the kernel says it is empty.
#[test]
fn what_stays_in_the_process_group_dies_with_it() {
    let driver = driver();
    let group = create(&driver, "job");
    let child =
        group.spawn(&sh("(trap '' TERM; sleep 1000; sleep 1000) & sleep 1000 & exit 5")).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(5));
    eventually("three left behind", || group.members().unwrap().len() == 3);
    let members = group.members().unwrap();
    assert!(members.iter().all(|m| m.standing == Standing::Inside), "{members:?}");
    let policy = Policy::graceful(Duration::from_millis(100));
    let report = group.terminate(&policy).unwrap();
    assert!(report.is_clean() && report.rounds >= 1, "{report:?}");
    assert_eq!(report.left_behind.len(), 3);
    assert!(members.iter().all(|m| !is_alive(m.pid)));
}

/// K19: the leader stays unreaped, so that its id is nobody else's, until the group is removed.
#[test]
fn k19_the_leader_is_held_until_the_group_is_gone() {
    let driver = driver();
    let group = create(&driver, "held");
    let child = group.spawn(&sh("sleep 1000 & exit 0")).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0), "asked again, the same answer");
    let held = |pid| Stat::read(pid).unwrap().is_some_and(|stat| stat.state.is_zombie());
    assert!(held(child.pid()), "the zombie keeps the id");
    let pid = child.pid();
    clean_kill(group);
    assert!(!held(pid), "reaped with the group");
}

/// The capability says `escape: voluntary`, and it is so.
#[test]
fn who_calls_setsid_is_lost_and_the_capabilities_say_so() {
    let driver = driver();
    assert_eq!(driver.capabilities().escape, Escape::Voluntary);
    let group = create(&driver, "lost");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let program = sh("setsid sh -c 'echo $$; exec sleep 1000 >&-' & wait").stdout(writer);
    group.spawn(&program).unwrap();
    drop(program);
    let mut line = String::new();
    let mut byte = [0];
    while reader.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    let lost: Pid = line.parse().unwrap();
    clean_kill(group);
    assert!(is_alive(lost), "it left by setsid");
    assert!(Command::new("kill").args(["-KILL", &lost.to_string()]).status().unwrap().success());
}

#[test]
fn a_second_program_joins_the_group_of_the_first() {
    let driver = driver();
    let group = create(&driver, "two");
    let first = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    let second = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    let leader = Stat::read(second.pid()).unwrap().unwrap().group;
    assert_eq!(leader, first.pid().as_raw());
    assert_eq!(group.members().unwrap().len(), 2);
    clean_kill(group);
    assert_eq!(second.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
}

#[test]
fn a_stopped_group_reads_as_frozen_and_dies_all_the_same() {
    let driver = driver();
    let group = create(&driver, "stopped");
    group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    group.ops().request_freeze().unwrap();
    eventually("stopped", || group.ops().frozen().unwrap() == FreezeState::Frozen);
    let report = group.terminate(&Policy::graceful(Duration::from_secs(100))).unwrap();
    assert!(report.is_clean() && report.rounds == 0, "continued, and ended by SIGTERM: {report:?}");
}

#[test]
fn a_living_member_is_watched() {
    let driver = driver();
    let group = create(&driver, "watched");
    let (reader, writer) = std::io::pipe().unwrap();
    group.spawn(&Program::new("cat").stdin(reader)).unwrap();
    let watch = group.ops().watch(Change::Empty).unwrap();
    assert!(matches!(watch, Watch::Sources(ref sources) if sources.len() == 1), "{watch:?}");
    drop(writer);
    group.wait_empty(scaled(Duration::from_secs(20))).unwrap();
    clean_kill(group);
}

#[test]
fn what_process_groups_lack_is_refused_by_type() {
    let driver = driver();
    let group = create(&driver, "lacks");
    let ops = group.ops();
    let name: GroupName = "inner".parse().unwrap();
    assert_eq!(
        ops.subgroup(&name, ControllerSet::EMPTY).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    assert_eq!(ops.attach(Pid::current()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(ops.usage().unwrap().cpu, None, "who left the group is not known");
    let limited = ops.set_limits(&Limits::new().pids_max(5)).unwrap();
    assert!(limited.applied.is_empty() && limited.refused.len() == 1);
    let elsewhere = Program::new("true").process_group(ProcessGroup::Inherit);
    assert_eq!(group.spawn(&elsewhere).unwrap_err().kind(), ErrorKind::InvalidInput);
    clean_kill(group);
}

#[test]
fn a_name_is_taken_until_its_group_is_gone() {
    let driver = driver();
    let group = create(&driver, "name");
    let name = group.id().name.clone();
    let taken = driver.create(&name, ControllerSet::EMPTY).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(driver.list().unwrap().len(), 1);
    clean_kill(group);
    assert!(driver.list().unwrap().is_empty());
    clean_kill(create(&driver, "name"));
}

#[test]
fn a_program_that_cannot_run_leaves_the_group_usable() {
    let driver = driver();
    let group = create(&driver, "after");
    let missing = group.spawn(&Program::new("/no/such/program")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ProgramNotFound);
    assert_eq!(group.spawn(&sh("exit 6")).unwrap().wait().unwrap(), Outcome::Exited(6));
    clean_kill(group);
}

/// A dropped guard kills and removes; a kept one does nothing.
#[test]
fn the_guard_decides_what_a_drop_does() {
    let driver = driver();
    let group = create(&driver, "dropped");
    let dropped = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    drop(group);
    assert!(!is_alive(dropped.pid()));
    let group = create(&driver, "kept");
    let kept = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    group.keep();
    assert!(is_alive(kept.pid()));
    kept.signal(Signal::KILL).unwrap();
    assert_eq!(kept.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}
