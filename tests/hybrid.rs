//! Hybrid groups on this host: where their processes and their limits are, seen by reading cgroupfs, and
//! that the limits hold.

mod support;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use containment::{
    Bytes, ControllerSet, Cpus, Limit, Limits, Measure, Outcome, Policy, Program, Set, Signal,
    Stream,
};
use support::eventually;
use support::hybrid::{Outsider, bench, emptied, end, ended, sleeper};

/// What a program writes to its standard output, run in the group to its end.
fn output(group: &containment::Group, program: Program) -> String {
    let (read, write) = std::io::pipe().expect("a pipe can be made");
    let child = group.spawn(&program.stdout(Stream::from(OwnedFd::from(write)))).unwrap();
    child.wait().unwrap();
    std::io::read_to_string(read).expect("output is text")
}

#[test]
fn a_program_is_in_v2_and_its_limits_in_v1_before_its_first_instruction() {
    let Some(bench) = bench(&["pids", "memory", "cpu", "cpuset"]) else { return };
    let limits = Limits::new().pids_max(7).memory_max(Bytes::mib(64)).cpus(Cpus::new(0.5).unwrap());
    let group = bench.group(&limits);
    let files = [
        ("pids", "pids.max", "7"),
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
    ];
    let paths = files.map(|(controller, file, _)| bench.directory(controller).join(file));
    // The program itself tells, as the first thing that it does.
    let cat = Program::new("cat").arg("/proc/self/cgroup").args(paths.map(PathBuf::into_os_string));
    let told = output(&group, cat);
    let line = |controller: &str| {
        let is_it = |line: &&str| {
            line.split(':').nth(1).is_some_and(|c| c.split(',').any(|c| c == controller))
        };
        told.lines().find(is_it).unwrap_or_else(|| panic!("{controller} is not in {told}"))
    };
    for controller in ["", "pids", "memory", "cpu"] {
        assert!(line(controller).ends_with(&format!("/{}", bench.name)), "{controller}: {told}");
    }
    assert!(!line("cpuset").contains(&bench.name), "{told}");
    let values: Vec<_> = told.lines().filter(|line| !line.contains(':')).collect();
    assert_eq!(values, files.map(|(.., value)| value));
    end(group);
}

#[test]
fn a_group_joins_the_hierarchies_that_it_needs_and_no_other() {
    let Some(bench) = bench(&["pids", "memory"]) else { return };
    let group = bench.group(&Limits::new());
    assert_eq!(bench.directories(), [bench.directory("")]);
    assert!(group.capabilities().limits.is_empty(), "{:?}", group.capabilities());
    end(group);

    let group = bench.group(&Limits::new().pids_max(10));
    let mut expected = [bench.directory(""), bench.directory("pids")];
    expected.sort();
    assert_eq!(bench.directories(), expected);
    assert_eq!(group.capabilities().limits, Set::EMPTY.with(Limit::Pids));
    end(group);

    let bench = bench.with(|builder| builder.measuring(Set::EMPTY.with(Measure::Memory)));
    let group = bench.group(&Limits::new());
    let mut expected = [bench.directory(""), bench.directory("memory")];
    expected.sort();
    assert_eq!(bench.directories(), expected);
    emptied(group.ops());
    let usage = group.usage().unwrap();
    assert!(usage.memory.is_some() && usage.cpu.is_some() && usage.pids.is_none(), "{usage:?}");
    end(group);
}

#[test]
fn the_limit_on_processes_holds_for_all_that_is_forked() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new().pids_max(4));
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait";
    let child = group.spawn(&Program::new("sh").args(["-c", script]).stderr(Stream::Null)).unwrap();
    // The shell gives up when it cannot fork, and leaves those that there are.
    let outcome = child.wait().unwrap();
    assert_ne!(outcome, Outcome::Exited(0));
    assert_eq!(group.members().unwrap().len(), 3);
    assert_eq!(group.usage().unwrap().pids, Some(3));
    let report = ended(group);
    assert_eq!(report.usage.unwrap().pids, Some(0));
}

#[test]
fn the_limit_on_memory_ends_what_exceeds_it() {
    let Some(bench) = bench(&["memory"]) else { return };
    let limits = Limits::new().memory_max(Bytes::mib(16)).swap_max(Bytes(0));
    let host = bench.host();
    let mut degraded = Vec::new();
    let group =
        host.group(&bench.name).limits(&limits).best_effort(&mut degraded).create().unwrap();
    // It takes as much as it reads at a time.
    let greedy = Program::new("dd").args(["if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
    let outcome = group.spawn(&greedy.stdout(Stream::Null)).unwrap().wait().unwrap();
    assert!(
        [Outcome::Exited(137), Outcome::Signaled(Signal::KILL)].contains(&outcome),
        "{outcome}"
    );
    let usage = ended(group).usage.unwrap();
    assert!(usage.oom_kills > Some(0), "{usage:?}");
    let peak = usage.memory_peak.unwrap();
    assert!((8 << 20..=16 << 20).contains(&peak), "{peak}");
}

#[test]
fn the_limit_on_cpu_time_throttles() {
    let Some(bench) = bench(&["cpu"]) else { return };
    let group = bench.group(&Limits::new().cpus(Cpus::new(0.1).unwrap()));
    group.spawn(&Program::new("sh").args(["-c", "while :; do :; done"])).unwrap();
    eventually("it is throttled", || group.usage().unwrap().throttled_periods > Some(1));
    end(group);
}

#[test]
fn a_group_inside_is_under_the_limits_around_it() {
    let Some(bench) = bench(&["pids", "memory"]) else { return };
    let group = bench.group(&Limits::new().pids_max(20));
    let plain = group.ops().subgroup(&"plain".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    let limited = Set::EMPTY.with(Limit::Memory);
    let limited = group.ops().subgroup(&"deep/limited".parse().unwrap(), limited).unwrap();
    let set = limited.set_limits(&Limits::new().memory_max(Bytes::mib(32))).unwrap();
    assert_eq!((set.applied, set.refused.len()), (vec![Limit::Memory], 0));

    let (pids, memory) = (bench.directory("pids"), bench.directory("memory"));
    let deep = memory.join("deep/limited");
    assert_eq!(fs::read_to_string(deep.join("memory.limit_in_bytes")).unwrap(), "33554432\n");
    assert!(
        !pids.join("plain").exists()
            && !pids.join("deep").exists()
            && !memory.join("plain").exists()
    );
    for (inner, in_memory) in [(&plain, false), (&limited, true)] {
        let child = inner.spawn(&sleeper()).unwrap();
        let tasks = fs::read_to_string(pids.join("tasks")).unwrap();
        assert!(tasks.lines().any(|line| line == child.pid().to_string()), "{tasks}");
        assert_eq!(bench.holds(child.pid(), "memory"), in_memory);
    }
    // Opened anew they are the same groups.
    let opened = bench.host().open(limited.id()).unwrap();
    let child = opened.spawn(&sleeper()).unwrap();
    assert!(bench.holds(child.pid(), "memory") && bench.holds(child.pid(), "pids"));
    let inner = group.ops().subgroups().unwrap();
    assert_eq!(inner.len(), 2);
    end(group);
    // Each handle reaps what was started by it.
    let reaped = [plain, limited, opened].map(|inner| inner.reap().unwrap().count);
    assert_eq!(reaped, [1, 1, 1]);
}

/// The group around has nothing in the hierarchy, and goes with all that is in it.
#[test]
fn a_limited_group_inside_an_unlimited_one_goes_with_it() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new());
    let limited = Set::EMPTY.with(Limit::Pids);
    let inner = group.ops().subgroup(&"a/b".parse().unwrap(), limited).unwrap();
    inner.set_limits(&Limits::new().pids_max(9)).unwrap();
    let max = fs::read_to_string(bench.directory("pids").join("a/b/pids.max")).unwrap();
    assert_eq!(max, "9\n");
    inner.spawn(&sleeper()).unwrap();
    end(group);
}

#[test]
fn a_process_is_moved_into_every_hierarchy() {
    let Some(bench) = bench(&["pids", "memory"]) else { return };
    let outsider = Outsider::start();
    let group = bench.group(&Limits::new().pids_max(5).memory_max(Bytes::mib(64)));
    group.ops().attach(outsider.pid()).unwrap();
    for controller in ["", "pids", "memory"] {
        assert!(bench.holds(outsider.pid(), controller), "{controller:?}");
    }
    assert_eq!(group.members().unwrap().len(), 1);
    end(group);
}

#[test]
fn a_grace_is_given_to_every_member() {
    let Some(bench) = bench(&["pids"]) else { return };
    let group = bench.group(&Limits::new().pids_max(50));
    let child =
        group.spawn(&Program::new("sh").args(["-c", "sleep 1000 & exec sleep 1000"])).unwrap();
    eventually("there are two", || group.members().unwrap().len() == 2);
    let report = group.terminate(&Policy::graceful(support::deadline())).unwrap();
    assert!(report.is_clean() && report.rounds == 0, "{report:?}");
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::TERM));
}
