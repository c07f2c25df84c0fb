//! Process groups without a keeper, as a library user has them: on real processes.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use backend_pgrp::{Keeper, ProcessGroups, Trace};
use containment_core::{
    CgroupOps, Change, ControllerSet, ErrorKind, Escape, FreezeState, Group, GroupName, Limits,
    Outcome, Pid, Policy, ProcessGroup, Program, Signal, Standing, Watch,
};
use containment_process::proc::Stat;
use support::*;

fn driver() -> ProcessGroups {
    let driver = ProcessGroups::probe(Keeper::None).expect("Linux has process groups");
    driver.prove().expect("/proc is there");
    driver
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

/// K10 the other way round: the first thread has ended, and the process has not.
#[test]
fn k10_who_lives_without_its_first_thread_is_a_member() {
    let Some(program) = without_first_thread() else { return };
    let driver = driver();
    let group = create(&driver, "threads");
    let child = group.spawn(&program).unwrap();
    await_end_of_first_thread(child.pid());
    assert!(group.ops().populated().unwrap());
    assert_eq!(group.members().unwrap().len(), 1);
    assert_eq!(group.ops().remove().unwrap_err().kind(), ErrorKind::Busy);
    group.ops().request_freeze().unwrap();
    eventually("stopped", || group.ops().frozen().unwrap() == FreezeState::Frozen);
    clean_kill(group);
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}

/// The same of a group that another process made, known by the record of its program, or by its mark alone.
#[test]
fn k10_who_lives_without_its_first_thread_is_a_member_of_a_lost_group() {
    let driver = driver();
    for known in [true, false] {
        let Some(program) = without_first_thread() else { return };
        let group = create(&driver, "threads");
        let program = program.env("CONTAIN_GROUP", group.id().to_string());
        let child = group.spawn(&program).unwrap();
        await_end_of_first_thread(child.pid());
        let started = Stat::read(child.pid()).unwrap().unwrap().started;
        let programs = if known { vec![(child.pid(), started)] } else { Vec::new() };
        let trace = Trace { programs, keepers: Vec::new() };
        let lost = driver.lost(vec![group.id().clone()], trace).unwrap();
        assert!(lost.populated().unwrap());
        assert_eq!(lost.members().unwrap().len(), 1);
        clean_kill(Group::new(lost, driver.waiter()));
        assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
        clean_kill(group);
    }
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
    let lost = told_pid(&mut reader);
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
fn programs_that_are_over_cost_no_descriptors() {
    let driver = driver();
    let group = create(&driver, "many");
    group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    for _ in 0..100 {
        assert_eq!(group.spawn(&sh("exit 4")).unwrap().wait().unwrap(), Outcome::Exited(4));
        assert!(group.ops().handles().len() < 20, "{:?}", group.ops().handles());
    }
    clean_kill(group);
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
    assert!(matches!(watch, Watch::Members(ref sources) if sources.len() == 1), "{watch:?}");
    drop(writer);
    group.wait_empty(deadline()).unwrap();
    clean_kill(group);
}

/// Nothing announces that it has left, and it lives on.
/// Each starts the next one and ends, so that nobody of a listing lives for long.
#[test]
fn a_chain_of_short_lives_is_never_taken_for_nobody() {
    let driver = driver();
    let group = create(&driver, "chain");
    let next = r#"sh -c "$NEXT" & exit 0"#;
    let child = group.spawn(&sh(next).env("NEXT", next)).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    let until = Instant::now() + Duration::from_secs(2);
    let mut looks = 0;
    while Instant::now() < until {
        looks += 1;
        assert!(group.ops().populated().unwrap(), "empty at look {looks}");
        assert!(group.ops().watch(Change::Empty).is_ok());
    }
    clean_kill(group);
}

#[test]
fn a_wait_ends_when_the_last_member_leaves_by_setsid() {
    let driver = driver();
    let group = create(&driver, "leaves");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (gate, opened) = std::io::pipe().unwrap();
    let leaves = "(read -r go <&3; exec setsid sh -c 'echo $$; exec sleep 1000 >&- 3<&-') & exit 0";
    let program = sh(leaves).stdout(writer).descriptor(3, gate);
    group.spawn(&program).unwrap().wait().unwrap();
    drop(program);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            tell.send(rustix::thread::gettid()).unwrap();
            group.wait_empty(deadline())
        });
        let stat = format!("/proc/self/task/{}/stat", told.recv().unwrap());
        eventually("it waits", || std::fs::read_to_string(&stat).unwrap().contains(") S "));
        drop(opened);
        waits.join().unwrap().unwrap();
    });
    let lost = told_pid(&mut reader);
    assert!(is_alive(lost), "it left by setsid");
    assert!(Command::new("kill").args(["-KILL", &lost.to_string()]).status().unwrap().success());
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
