//! Groups that are measured again and again: their files are opened once, show the same as freshly opened
//! ones, and are closed with the group. The driver of version 2 by itself: `backend-cgroupv2/tests/v2.rs`.

mod support;

use std::fs;
use std::process::Command;

use containment::{
    Backend, Containment, Element as _, Group, Hybrid, Measure, Policy, Program, Result, Set, Usage,
};
use support::backends::skip;

const FEW: &str = "CONTAIN_TEST_FEW";

#[test]
fn a_sampled_v2_group_keeps_its_files_open() {
    sampled("cgroup-v2", asked(Backend::CgroupV2));
}

#[test]
fn a_sampled_v1_group_keeps_its_files_open() {
    sampled("cgroup-v1", asked(Backend::CgroupV1));
}

#[test]
fn a_sampled_hybrid_group_keeps_its_files_open() {
    sampled("hybrid", asked(Backend::Hybrid));
    // In any order.
    let driver = Hybrid::probe(None).map(|driver| driver.sampling().measuring(all()));
    sampled("hybrid", driver.map(Containment::with));
}

/// As another process, whose limit is lowered.
#[test]
fn where_descriptors_are_few_a_sampled_group_is_measured_all_the_same() {
    let own = std::env::current_exe().unwrap();
    let script =
        "ulimit -n 64; exec \"$0\" --exact helper_samples_with_few_descriptors --nocapture";
    let status = Command::new("/bin/sh").args(["-c", script]).arg(own).env(FEW, "1").status();
    assert!(status.unwrap().success());
}

/// Runs with few descriptors; does nothing in an ordinary run.
#[test]
fn helper_samples_with_few_descriptors() {
    if std::env::var_os(FEW).is_none() {
        return;
    }
    for backend in [Backend::CgroupV2, Backend::CgroupV1, Backend::Hybrid] {
        let host = match asked(backend) {
            Ok(host) => host,
            Err(error) => {
                skip(backend.name(), &error.to_string());
                continue;
            }
        };
        let name = format!("contain-test-few-{backend}-{}", std::process::id());
        let group = host.group(&name).create().unwrap();
        let first = group.usage().unwrap();
        let taken = all_but_one();
        assert_eq!(shown(&first), shown(&group.usage().unwrap()), "{backend}, kept open");
        drop(taken);
        end(group);
        let group = host.group(&name).create().unwrap();
        let taken = all_but_one();
        assert_eq!(shown(&first), shown(&group.usage().unwrap()), "{backend}, not yet open");
        drop(taken);
        // What ends it needs some, too.
        let family = Program::new("/bin/sh").args(["-c", "sleep 1000 & sleep 1000 & wait"]);
        let children = [group.spawn(&family).unwrap(), group.spawn(&family).unwrap()];
        support::eventually("all are there", || group.members().unwrap().len() == 6);
        assert_eq!(shown(&first), shown(&group.usage().unwrap()), "{backend}, with members");
        end(group);
        drop(children);
    }
}

/// Every descriptor that is left, but for one.
fn all_but_one() -> Vec<fs::File> {
    let mut taken: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    taken.pop();
    taken
}

fn asked(backend: Backend) -> Result<Containment> {
    Containment::builder().backend(backend).measuring(all()).sampling().build()
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
    let group = host.group(&name).create().unwrap();
    let before = open_in(&name);
    let first = group.usage().unwrap();
    let kept = open_in(&name);
    // On a host where version 1 has the controllers, version 2 has the CPU time and pressure alone.
    let least = if backend == "cgroup-v2" { 4 } else { 5 };
    assert!(kept >= before + least, "{before}, {kept}");
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
    let counts = group.usage().unwrap().pids.is_some();
    let report = group.terminate(&Policy::kill().measuring()).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.usage.unwrap().pids, counts.then_some(0));
}
