//! Groups that are measured again and again: their files are opened once, show the same as freshly opened
//! ones, and are closed with the group. Version 2 by itself: `backend-cgroupv2/tests/v2.rs`.

mod support;

use std::fs;

use backend_cgroupv1::CgroupV1;
use containment::{
    Containment, Element as _, Group, Hybrid, Limits, Measure, Policy, Program, Result, Set, Usage,
};
use support::backends::skip;

#[test]
fn a_sampled_v1_group_keeps_its_files_open() {
    let driver = CgroupV1::probe(None).and_then(|driver| driver.measuring(all()));
    let driver = driver.and_then(CgroupV1::sampling);
    sampled("cgroup-v1", driver.map(Containment::with));
}

#[test]
fn a_sampled_hybrid_group_keeps_its_files_open() {
    // In any order.
    let driver = Hybrid::probe(None).map(|driver| driver.sampling().measuring(all()));
    sampled("hybrid", driver.map(Containment::with));
}

fn all() -> Set<Measure> {
    Measure::ALL.iter().copied().collect()
}

fn sampled(backend: &str, host: Result<Containment>) {
    let host = match host {
        Ok(host) => host,
        Err(error) => return skip(backend, &error.to_string()),
    };
    let name = format!("contain-test-sampled-{backend}-{}", std::process::id());
    let group = host.group(&name).limits(&Limits::new()).create().unwrap();
    let before = open_in(&name);
    let first = group.usage().unwrap();
    let kept = open_in(&name);
    assert!(kept >= before + 5, "{before}, {kept}");
    let busy = "i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; exec sleep 1000";
    group.spawn(&Program::new("/bin/sh").args(["-c", busy])).unwrap();
    support::eventually("it used some CPU time", || group.usage().unwrap().cpu > first.cpu);
    assert_eq!(open_in(&name), kept, "not one more");
    assert_eq!(shown(&first), shown(&group.usage().unwrap()), "the same figures");
    end(group);
    assert_eq!(open_in(&name), 0, "closed with the group");
}

/// How many descriptors of this process are open in directories of that name.
fn open_in(name: &str) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets.filter(|to| to.to_string_lossy().contains(name)).count()
}

/// Which figures there are.
fn shown(usage: &Usage) -> [bool; 8] {
    [
        usage.cpu.is_some(),
        usage.cpu_user.is_some(),
        usage.memory.is_some(),
        usage.memory_anon.is_some(),
        usage.pids.is_some(),
        usage.io_read.is_some(),
        usage.throttled.is_some(),
        usage.oom_kills.is_some(),
    ]
}

fn end(group: Group) {
    let report = group.terminate(&Policy::kill().measuring()).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.usage.and_then(|usage| usage.pids), Some(0));
}
