//! Hybrid groups when something is in the way: a half of them that somebody else removed or made, members
//! that were moved out or are held frozen. Whatever happens, no hierarchy keeps a directory.

#[path = "support/first_thread.rs"]
mod first_thread;
mod support;

use std::fs;
use std::time::Duration;

use containment::{
    Bytes, ControllerSet, CpuSet, Device, ErrorKind, IoMax, Limit, Limits, Operation, Policy,
    Program, Rate, Standing,
};
use support::hybrid::{Freezer, Outsider, bench, emptied, end, ended, sleeper};
use support::traces;
use support::{eventually, must_run};

/// K47: `cgroup.kill` does not reach what a freezer of version 1 holds; below our group it is thawed.
#[test]
fn k47_a_member_frozen_below_our_group_is_thawed_and_dies() {
    let Some(bench) = bench(&["freezer", "pids"]) else { return };
    for limits in [Limits::new(), Limits::new().pids_max(5)] {
        let group = bench.group(&limits);
        let child = group.spawn(&sleeper()).unwrap();
        let outer = Freezer::make(bench.directory("freezer"));
        let inner = Freezer::make(outer.path().join("inner"));
        inner.hold(child.pid());
        let report = ended(group);
        assert!(report.rounds >= 2, "{report:?}");
        drop(inner);
    }
}

/// K47 and K10: the freeze that a member without a first thread needs does not complete while a freezer of version 1
/// holds it.
#[test]
fn k47_a_member_without_its_first_thread_that_is_frozen_below_our_group_dies() {
    let Some(bench) = bench(&["freezer", "pids"]) else { return };
    if !must_run::has_python() {
        return;
    }
    let group = bench.group(&Limits::new());
    let (told, tell) = std::io::pipe().unwrap();
    let script = format!("import sys; sys.stdin.read(1); {}", first_thread::LIVES_WITHOUT);
    let program = Program::new("python3").args(["-c", &script]).stdin(told);
    let child = group.spawn(&program).unwrap();
    let outer = Freezer::make(bench.directory("freezer"));
    let inner = Freezer::make(outer.path().join("inner"));
    inner.take_in(child.pid());
    drop(tell);
    eventually("its first thread has ended", || traces::state(child.pid().as_raw()) == Some('Z'));
    inner.freeze();
    let report = ended(group);
    assert!(report.rounds >= 2, "{report:?}");
    drop(inner);
}

/// K47: what another group's freezer holds is not ours to thaw. It is named, and survives.
#[test]
fn k47_a_member_frozen_elsewhere_is_reported_as_held() {
    let Some(bench) = bench(&["freezer"]) else { return };
    let group = bench.group(&Limits::new());
    let child = group.spawn(&sleeper()).unwrap();
    let elsewhere = bench.directory("freezer").with_file_name(format!("x-{}", bench.name));
    let freezer = Freezer::make(elsewhere);
    freezer.hold(child.pid());
    let id = group.id().clone();
    let report = group.terminate(&Policy::kill().give_up_after(Duration::from_secs(2))).unwrap();
    assert_eq!(report.survivors.len(), 1, "{report:?}");
    let hold = report.survivors[0].origin.as_ref().unwrap().held_by.clone().unwrap();
    let holder = hold.freezer.unwrap();
    assert!(freezer.path().ends_with(holder.trim_start_matches('/')), "{holder}");
    assert!(hold.wchan.is_some(), "root can tell where it waits");
    let held = report.errors.iter().find(|error| error.kind() == ErrorKind::Frozen).unwrap();
    assert_eq!((held.pid(), held.path()), (Some(child.pid()), Some(freezer.path().as_path())));
    assert!(held.remedy().unwrap().contains("THAWED"), "{held:?}");

    freezer.thaw();
    eventually("it dies of the kill", || traces::state(child.pid().as_raw()) != Some('S'));
    child.wait().unwrap();
    let group = bench.host().open(&id).unwrap();
    emptied(&*group);
    group.remove().unwrap();
}

/// K36: what was moved out of version 2 and is limited by version 1 still is a member.
#[test]
fn k36_a_member_that_was_moved_out_of_v2_is_ended_and_reported() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new().pids_max(5));
    let child = group.spawn(&sleeper()).unwrap();
    let parent = bench.directory("").parent().unwrap().join("cgroup.procs");
    fs::write(parent, child.pid().to_string()).unwrap();
    assert!(!bench.holds(child.pid(), "") && bench.holds(child.pid(), "pids"));
    assert!(group.ops().populated().unwrap());
    let members = group.members().unwrap();
    assert_eq!((members[0].pid, members[0].standing), (child.pid(), Standing::Escaped));
    let report = ended(group);
    assert_eq!(report.escaped.len(), 1, "{report:?}");
    child.wait().unwrap();
}

#[test]
fn a_v1_directory_that_somebody_else_removed_lets_no_program_run_unlimited() {
    let Some(bench) = bench(&["pids", "memory"]) else { return };
    let group = bench.group(&Limits::new().pids_max(5).memory_max(Bytes::mib(64)));
    fs::remove_dir(bench.directory("pids")).unwrap();
    let refused = group.spawn(&sleeper()).unwrap_err();
    assert_eq!((refused.kind(), refused.operation()), (ErrorKind::Gone, Operation::Place));
    assert!(refused.path().unwrap().starts_with(bench.directory("pids")), "{refused:?}");
    assert!(!group.ops().populated().unwrap(), "the group itself is there");
    let outsider = Outsider::start();
    group.ops().attach(outsider.pid()).unwrap_err();
    assert!(!bench.holds(outsider.pid(), "") && !bench.holds(outsider.pid(), "memory"));
    assert!(group.usage().unwrap().cpu.is_some(), "what is left measures");
    end(group);
}

#[test]
fn a_v2_directory_that_somebody_else_removed_leaves_nothing_in_v1() {
    let Some(bench) = bench(&["pids", "memory"]) else { return };
    let group = bench.group(&Limits::new().pids_max(5).memory_max(Bytes::mib(64)));
    fs::remove_dir(bench.directory("")).unwrap();
    let outsider = Outsider::start();
    let before = traces::group_of(outsider.pid().as_raw(), "memory");
    let refused = group.ops().attach(outsider.pid()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gone);
    assert!(!bench.holds(outsider.pid(), "pids"), "moved back");
    assert_eq!(traces::group_of(outsider.pid().as_raw(), "memory"), before);
    assert_eq!(group.spawn(&sleeper()).unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(bench.directories().len(), 2, "pids and memory");
    end(group);
}

/// The outer group has nothing in version 1 of its own: only the inner one joined a hierarchy there.
#[test]
fn a_stray_of_a_group_inside_is_found_by_the_one_around_it() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new());
    let pids = ControllerSet::EMPTY.with(Limit::Pids);
    let inner = group.ops().subgroup(&"x/inner".parse().unwrap(), pids).unwrap();
    let child = inner.spawn(&sleeper()).unwrap();
    let outside = bench.directory("").parent().unwrap().join("cgroup.procs");
    fs::write(outside, child.pid().to_string()).unwrap();
    assert!(!bench.holds(child.pid(), "") && bench.holds(child.pid(), "pids"));
    assert!(group.ops().populated().unwrap());
    let members = group.members().unwrap();
    assert_eq!(members.iter().map(|member| member.pid).collect::<Vec<_>>(), [child.pid()]);
    let report = ended(group);
    let escaped: Vec<_> = report.escaped.iter().map(|member| member.pid).collect();
    assert_eq!(escaped, [child.pid()], "{report:?}");
}

#[test]
fn a_namesake_in_one_v1_hierarchy_is_refused_and_left_alone() {
    let Some(bench) = bench(&["pids", "memory"]) else { return };
    let namesake = bench.directory("memory");
    fs::create_dir(&namesake).unwrap();
    let limits = Limits::new().pids_max(5).memory_max(Bytes::mib(64));
    let host = bench.host();
    let refused = host.group(&bench.name).limits(&limits).create().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.operation()),
        (ErrorKind::AlreadyExists, Operation::Create)
    );
    assert_eq!(refused.group(), Some(bench.name.as_str()));
    assert_eq!(refused.path(), Some(namesake.as_path()));
    assert!(refused.remedy().is_some(), "{refused:?}");
    assert_eq!(bench.directories(), std::slice::from_ref(&namesake), "nothing else was left");
    // A group that does not need that hierarchy is not in its way, and does not take it along.
    end(bench.group(&Limits::new().pids_max(5)));
    assert_eq!(bench.directories(), std::slice::from_ref(&namesake));
    fs::remove_dir(namesake).unwrap();
}

#[test]
fn a_step_that_fails_half_way_leaves_no_directory() {
    let Some(bench) = bench(&["pids", "memory", "cpu"]) else { return };
    let no_disk = Device { major: 4095, minor: 77 };
    let slow = IoMax::new().with(Rate::ReadBytes, 1);
    let impossible = [
        Limits::new().pids_max(5).memory_max(Bytes::mib(64)).io_max(no_disk, slow),
        Limits::new().memory_max(Bytes::mib(64)).cpuset(CpuSet::from_iter([4000])),
    ];
    for limits in impossible {
        bench.host().group(&bench.name).limits(&limits).create().unwrap_err();
        assert!(bench.directories().is_empty(), "{limits:?}: {:?}", bench.directories());
    }
}

#[test]
fn a_program_that_is_not_there_leaves_nothing() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new().pids_max(5));
    let error = group.spawn(&Program::new("/no/such/program")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound);
    assert!(!group.ops().populated().unwrap());
    end(group);
}

#[test]
fn a_limit_that_was_not_asked_for_at_first_is_refused_with_the_remedy() {
    let Some(bench) = bench(&["pids"]) else { return };
    for (asked, with) in [(Limits::new(), 1), (Limits::new().pids_max(5), 2)] {
        let group = bench.group(&asked);
        assert_eq!(bench.directories().len(), with);
        let refused = group.set_limits(&Limits::new().memory_max(Bytes::mib(64))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.remedy().unwrap().contains("when the group is made"), "{refused:?}");
        end(group);
    }
}

#[test]
fn a_group_is_listed_and_opened_by_its_identity_with_its_limits() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new().pids_max(5));
    let host = bench.host();
    assert!(host.list().unwrap().contains(group.id()));
    let opened = host.open(group.id()).unwrap();
    assert_eq!(opened.capabilities().limits, ControllerSet::EMPTY.with(Limit::Pids));
    let child = opened.spawn(&sleeper()).unwrap();
    assert!(bench.holds(child.pid(), "") && bench.holds(child.pid(), "pids"));
    let set = opened.set_limits(&Limits::new().pids_max(6)).unwrap();
    assert_eq!(set.applied, [Limit::Pids]);
    assert_eq!(fs::read_to_string(bench.directory("pids").join("pids.max")).unwrap(), "6\n");
    end(group);
    eventually("it can be reaped", || child.try_wait().unwrap().is_some());
}
