//! Limits and figures on the real unified hierarchy: what is set is what the kernel keeps, and it holds.
//!
//! Each test runs where its controllers can be handed down; `CONTAIN_MUST_RUN=cgroup-v2-limits` turns a skip
//! into a failure.

#[path = "../../tests/support/disks.rs"]
mod disks;
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use backend_cgroupv2::CgroupV2;
use containment_core::{
    Bytes, CgroupOps, CpuSet, Cpus, Device, Error, ErrorKind, Group, HugePage, IoMax, Limit,
    Limits, Measure, Most, Operation, Outcome, Policy, Rate, Sample, Set, Signal, Weight,
};
use support::*;

/// A driver that offers these limits here.
fn driver(needed: &[Limit]) -> Option<CgroupV2> {
    let driver = match CgroupV2::probe(None) {
        Ok(driver) => driver,
        Err(error) => {
            skip("cgroup-v2-limits", &error);
            return None;
        }
    };
    let offered = driver.capabilities().limits;
    if let Some(lacking) = needed.iter().find(|limit| !offered.contains(**limit)) {
        skip(&format!("cgroup-v2-limits.{lacking}"), &format!("{lacking} is not offered here"));
        return None;
    }
    Some(driver)
}

/// A group made for these limits.
fn group(driver: &CgroupV2, test: &str, limits: &[Limit]) -> Group {
    create_with(driver, test, limits.iter().copied().collect())
}

fn kept(group: &Group, file: &str) -> String {
    let path = own_directory().join(group.id().name.as_str()).join(file);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim()
        .to_owned()
}

/// Sets limits that all have to be applied.
#[track_caller]
fn set(group: &Group, limits: &Limits) {
    let applied = group.ops().set_limits(limits).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    assert_eq!(applied.applied, limits.asked().iter().collect::<Vec<_>>());
}

#[track_caller]
fn refusal(group: &Group, limits: &Limits) -> Error {
    let mut applied = group.ops().set_limits(limits).unwrap();
    assert!(applied.applied.is_empty(), "{applied:?}");
    let (_, error) = applied.refused.pop().unwrap();
    assert!(error.remedy().is_some(), "{error:?}");
    error
}

fn end(group: Group) {
    let report = group.terminate(&patient(&Policy::kill())).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
}

/// Limits, and what the file holds then.
type Values = Vec<(Limits, &'static str)>;

#[test]
fn each_limit_is_set_changed_and_lifted() {
    let weight = |n| Weight::new(n).unwrap();
    let cpus = |n| Cpus::new(n).unwrap();
    let none = Limits::new;
    let cases: [(Limit, &str, Values); 7] = [
        (
            Limit::Memory,
            "memory.max",
            vec![
                (none().memory_max(Bytes::mib(64)), "67108864"),
                (none().memory_max(Bytes(5000)), "4096"),
                (none().memory_max(Most::Lifted), "max"),
            ],
        ),
        (
            Limit::MemoryHigh,
            "memory.high",
            vec![
                (none().memory_high(Bytes::mib(32)), "33554432"),
                (none().memory_high(Most::Lifted), "max"),
            ],
        ),
        (
            Limit::Swap,
            "memory.swap.max",
            vec![(none().swap_max(Bytes(0)), "0"), (none().swap_max(Most::Lifted), "max")],
        ),
        (
            Limit::Cpus,
            "cpu.max",
            vec![
                (none().cpus(cpus(1.5)), "150000 100000"),
                (none().cpus(cpus(0.005)), "5000 1000000"),
                (none().cpus(cpus(0.5)), "50000 100000"),
                (none().cpus(Most::Lifted), "max 100000"),
            ],
        ),
        (
            Limit::CpuWeight,
            "cpu.weight",
            vec![(none().cpu_weight(weight(1)), "1"), (none().cpu_weight(weight(10_000)), "10000")],
        ),
        (
            Limit::Pids,
            "pids.max",
            vec![(none().pids_max(7), "7"), (none().pids_max(u64::MAX), "max")],
        ),
        (
            Limit::Hugetlb,
            "hugetlb.2MB.max",
            vec![
                (none().hugetlb(HugePage::new(Bytes::mib(2)).unwrap(), Bytes::mib(5)), "4194304"),
                (none().hugetlb(HugePage::new(Bytes::mib(2)).unwrap(), Most::Lifted), "max"),
            ],
        ),
    ];
    for (limit, file, values) in cases {
        let Some(driver) = driver(&[limit]) else { continue };
        let group = group(&driver, "set", &[limit]);
        for (limits, expected) in values {
            set(&group, &limits);
            assert_eq!(kept(&group, file), expected, "{limit}");
        }
        end(group);
    }
}

#[test]
fn a_group_is_given_the_controllers_that_it_was_made_without() {
    let Some(driver) = driver(&[Limit::Pids, Limit::Memory]) else { return };
    let group = create(&driver, "later");
    let inner = group.ops().subgroup(&"a/b".parse().unwrap(), Set::EMPTY).unwrap();
    let applied = inner.set_limits(&Limits::new().pids_max(5).memory_max(Bytes::mib(64))).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    assert_eq!(kept(&group, "a/b/pids.max"), "5");
    drop(inner);
    end(group);
}

#[test]
fn a_group_is_confined_to_cpus_that_the_one_around_it_has() {
    let Some(driver) = driver(&[Limit::Cpuset, Limit::Mems]) else { return };
    let group = group(&driver, "cpuset", &[Limit::Cpuset, Limit::Mems]);
    let zero = CpuSet::from_iter([0]);
    set(&group, &Limits::new().cpuset(zero.clone()).mems(zero));
    let script = "grep -qx 'Cpus_allowed_list:.0' /proc/self/status";
    assert_eq!(group.spawn(&sh(script)).unwrap().wait().unwrap(), Outcome::Exited(0));
    for wrong in [CpuSet::from_iter([4000]), CpuSet::from_iter([0, 9999])] {
        let refused = refusal(&group, &Limits::new().cpuset(wrong));
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
        assert_eq!(kept(&group, "cpuset.cpus"), "0", "as it was");
    }
    let inner =
        group.ops().subgroup(&"in".parse().unwrap(), Set::EMPTY.with(Limit::Cpuset)).unwrap();
    if std::thread::available_parallelism().unwrap().get() > 1 {
        let applied = inner.set_limits(&Limits::new().cpuset(CpuSet::from_iter([1]))).unwrap();
        let refused = &applied.refused[0].1;
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
        assert!(refused.to_string().contains("gives 0 in place of 1"), "{refused}");
        assert_eq!(kept(&group, "in/cpuset.cpus"), "", "as it was");
    }
    drop(inner);
    end(group);
}

#[test]
fn a_disk_is_limited_and_what_is_no_disk_is_refused() {
    let Some(driver) = driver(&[Limit::IoMax]) else { return };
    let group = group(&driver, "disk", &[Limit::IoMax]);
    let most = IoMax::new().with(Rate::ReadBytes, 1 << 20).with(Rate::Writes, 100);
    let none = Device { major: 4095, minor: 77 };
    let refused = refusal(&group, &Limits::new().io_max(none, most));
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
    assert!(refused.to_string().contains("4095:77"), "{refused}");
    if let Some(disk) = disks::first() {
        set(&group, &Limits::new().io_max(disk, most));
        let line = format!("{disk} rbps=1048576 wbps=max riops=max wiops=100");
        assert_eq!(kept(&group, "io.max"), line);
        let lift =
            IoMax::new().with(Rate::ReadBytes, Most::Lifted).with(Rate::Writes, Most::Lifted);
        set(&group, &Limits::new().io_max(disk, lift));
        assert_eq!(kept(&group, "io.max"), "");
    } else {
        skip("cgroup-v2-limits.disk", &"this host has no disk");
    }
    end(group);
}

#[test]
fn shares_of_io_are_kept() {
    let Some(driver) = driver(&[Limit::IoWeight]) else { return };
    let group = group(&driver, "weight", &[Limit::IoWeight]);
    set(&group, &Limits::new().io_weight(Weight::new(1).unwrap()));
    set(&group, &Limits::new().io_weight(Weight::new(10_000).unwrap()));
    end(group);
}

#[test]
fn a_memory_hog_dies_within_its_limit() {
    let Some(driver) = driver(&[Limit::Memory, Limit::Swap]) else { return };
    let group = group(&driver, "hog", &[Limit::Memory, Limit::Swap]);
    let most = Bytes::mib(64);
    set(&group, &Limits::new().memory_max(most).swap_max(Bytes(0)));
    // It takes as much as it reads at a time.
    let hog = group.spawn(&sh("dd if=/dev/zero of=/dev/null bs=256M count=1")).unwrap();
    let killed = [Outcome::Signaled(Signal::KILL), Outcome::Exited(128 + 9)];
    assert!(killed.contains(&hog.wait().unwrap()));
    group.wait_empty(scaled(Duration::from_secs(10))).unwrap();
    let usage = group.usage().unwrap();
    assert!(usage.oom_kills > Some(0), "{usage:?}");
    if group.capabilities().usage.contains(Measure::MemoryPeak) {
        let peak = usage.memory_peak.unwrap();
        assert!(peak <= most.0 && peak >= most.0 / 100 * 95, "{peak}");
    }
    end(group);
}

#[test]
fn a_fork_bomb_cannot_pass_its_limit() {
    let Some(driver) = driver(&[Limit::Pids]) else { return };
    let group = group(&driver, "bomb", &[Limit::Pids]);
    set(&group, &Limits::new().pids_max(50));
    group.spawn(&sh("n=0; while [ $n -lt 100 ]; do sleep 1000 & n=$((n+1)); done; wait")).unwrap();
    eventually("the limit is reached", || group.usage().unwrap().pids == Some(50));
    assert!(group.members().unwrap().len() <= 50);
    end(group);
}

#[test]
fn a_quota_of_cpu_time_holds_and_throttling_is_counted() {
    let Some(driver) = driver(&[Limit::Cpus]) else { return };
    let group = group(&driver, "quota", &[Limit::Cpus]);
    set(&group, &Limits::new().cpus(Cpus::new(0.5).unwrap()));
    let waiter = driver.waiter();
    let sample = || Sample { at: waiter.now(), usage: group.usage().unwrap() };
    group.spawn(&sh("while :; do :; done")).unwrap();
    group.spawn(&sh("while :; do :; done")).unwrap();
    eventually("it is throttled", || group.usage().unwrap().throttled_periods > Some(2));
    let (before, enough) = (sample(), scaled(Duration::from_secs(2)));
    eventually("some time", || waiter.now().since(before.at) > enough);
    let rate = sample().cpu_since(&before).unwrap();
    assert!((45.0..=55.0).contains(&rate.percent), "{rate:?}");
    assert!(group.usage().unwrap().throttled > Some(Duration::ZERO));
    end(group);
}

#[test]
fn figures_are_measured_where_they_are_asked_for() {
    let Some(driver) = driver(&[Limit::Memory, Limit::Pids, Limit::IoMax]) else { return };
    let all = [Measure::Memory, Measure::Pids, Measure::Io, Measure::Throttling];
    let driver = driver.measuring(all.into_iter().collect());
    assert!(all.iter().all(|figure| driver.capabilities().usage.contains(*figure)));
    let group = create(&driver, "figures");
    group.spawn(&sh("sleep 1000 & exec sleep 1000")).unwrap();
    eventually("both run", || group.usage().unwrap().pids == Some(2));
    let usage = group.usage().unwrap();
    assert!(usage.memory > Some(0) && usage.memory_anon.is_some() && usage.io_read.is_some());
    assert!(usage.throttled_periods.is_some() && usage.oom_kills == Some(0), "{usage:?}");
    assert_eq!(
        usage.pressure.is_measured(),
        group.capabilities().usage.contains(Measure::Pressure)
    );
    end(group);
}

/// A limit that is offered here, whichever.
fn some_limit(driver: &CgroupV2) -> Option<Limits> {
    let offered = driver.capabilities().limits;
    let pages = HugePage::new(Bytes::mib(2)).unwrap();
    let limits = [Limits::new().pids_max(100), Limits::new().hugetlb(pages, Bytes::mib(2))];
    limits.into_iter().find(|limits| limits.asked().iter().all(|limit| offered.contains(limit)))
}

const PARENT: &str = "TEST_PARENT";

/// Plays the test of this name again, in a process of its own that sits alone in a new group.
fn alone_in_a_group(test: &str) {
    let Some(driver) = driver(&[]) else { return };
    if some_limit(&driver).is_none() {
        return skip("cgroup-v2-limits", &"no controller can be handed down here");
    }
    // The one that holds the player hands controllers down to nobody by itself.
    let outer = name("k14");
    let directory = own_directory().join(outer.as_str());
    let root = driver.create(&outer, driver.capabilities().limits).unwrap();
    let script = r#"echo 0 > "$1/cgroup.procs" && shift && exec "$@""#;
    let output = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(&directory)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PARENT, directory.strip_prefix(mount_point()).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("PLAYED"), "{said}");
    let left: Vec<_> =
        fs::read_dir(&directory).unwrap().flatten().filter(|e| e.path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
    root.remove().unwrap();
}

fn mount_point() -> std::path::PathBuf {
    let mounts = containment_process::proc::mountinfo::read().unwrap();
    let mut mounts = containment_process::proc::mountinfo::mounts(&mounts);
    mounts.find(|mount| mount.is_type("cgroup2")).unwrap().mount_point().into_owned()
}

/// K14, where the group is ours to arrange: this process steps aside into a leaf, and back.
#[test]
fn k14_the_one_process_of_a_parent_that_was_named_steps_aside() {
    let Ok(parent) = std::env::var(PARENT) else {
        return alone_in_a_group("k14_the_one_process_of_a_parent_that_was_named_steps_aside");
    };
    let before = own_directory();
    let driver = CgroupV2::probe(Some(parent.as_ref())).unwrap();
    let limits = some_limit(&driver).unwrap();
    let group = create_with(&driver, "k14", limits.asked());
    assert!(group.ops().set_limits(&limits).unwrap().refused.is_empty());
    let leaf = own_directory();
    assert_eq!(leaf.parent(), Some(&*before));
    let child = group.spawn(&sh("exit 3")).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(3));
    assert!(
        driver.list().unwrap().iter().all(|id| id.name == group.id().name),
        "no leaf among them"
    );
    end(group);
    drop((child, driver));
    assert_eq!(own_directory(), before, "it is back");
    assert!(!leaf.exists());
    eprintln!("PLAYED");
}

/// K14, where it is not: somebody else is in the group, too, or nobody gave it to us.
#[test]
fn k14_nobody_elses_process_is_moved() {
    let Ok(parent) = std::env::var(PARENT) else {
        return alone_in_a_group("k14_nobody_elses_process_is_moved");
    };
    let before = own_directory();
    let unmarked = CgroupV2::probe(None).unwrap();
    assert!(unmarked.capabilities().limits.is_empty(), "it was not named to us");
    let ours = CgroupV2::probe(Some(parent.as_ref())).unwrap();
    let limits = some_limit(&ours).unwrap();
    // With streams of its own: whoever waits for ours to be closed does not wait for it.
    let mut other = Command::new("sleep");
    let other = other.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = other.spawn().unwrap();
    let refused = ours.create(&name("k14"), limits.asked()).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.operation()),
        (ErrorKind::InternalProcesses, Operation::Create)
    );
    assert!(refused.remedy().is_some_and(|remedy| remedy.contains("Delegate=yes")), "{refused:?}");
    let late = CgroupV2::probe(Some(parent.as_ref())).unwrap();
    let refused = late.create(&name("k14"), limits.asked()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused:?}");
    assert!(refused.to_string().contains("holds processes"), "{refused}");
    let theirs = fs::read_to_string(format!("/proc/{}/cgroup", other.id())).unwrap();
    assert_eq!(theirs, fs::read_to_string("/proc/self/cgroup").unwrap());
    assert_eq!(own_directory(), before);
    other.kill().unwrap();
    other.wait().unwrap();
    eprintln!("PLAYED");
}
