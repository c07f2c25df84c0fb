//! Limits and figures on real hierarchies: what is set is what the kernel keeps, and it holds.

#[path = "../../tests/support/disks.rs"]
mod disks;
mod support;

use std::fs;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use backend_cgroupv1::V1Limits;
use containment_core::{
    Bytes, CgroupOps, ControllerSet, CpuSet, Cpus, Device, Element, Error, ErrorKind, FreezeState,
    GroupOps, HugePage, IoMax, Limit, Limits, Measure, Most, Outcome, Pid, Rate, Set, Weight,
};
use containment_process::spawn::{AskFrozen, Entry, Launch, Mark, spawn};
use support::*;

fn read(bench: &Bench, controller: &str, file: &str) -> String {
    fs::read_to_string(directory(bench, controller).join(file)).unwrap().trim().to_owned()
}

/// Sets limits that all have to be applied.
fn set(group: &dyn GroupOps, limits: &Limits) {
    let applied = group.set_limits(limits).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    let asked: Vec<_> = limits.asked().iter().collect();
    assert_eq!(applied.applied, asked);
}

fn refusal(group: &dyn GroupOps, limits: &Limits) -> Error {
    let mut applied = group.set_limits(limits).unwrap();
    assert!(applied.applied.is_empty(), "{applied:?}");
    applied.refused.pop().unwrap().1
}

#[test]
fn every_limit_that_is_offered_is_kept_by_the_kernel() {
    let Some(bench) = bench("kept") else { return };
    let offered = bench.driver.capabilities().limits;
    let group = bench.group_with(offered);
    let wish = |limit, limits: Limits| if offered.contains(limit) { limits } else { Limits::new() };
    let cases: [(Limit, Limits, &str, &str, &str); 5] = [
        (
            Limit::Cpus,
            Limits::new().cpus(Cpus::new(1.5).unwrap()),
            "cpu",
            "cpu.cfs_quota_us",
            "150000",
        ),
        (Limit::CpuWeight, Limits::new().cpu_weight(Weight::DEFAULT), "cpu", "cpu.shares", "2597"),
        (Limit::Cpuset, Limits::new().cpuset(CpuSet::from_iter([0])), "cpuset", "cpuset.cpus", "0"),
        (Limit::Mems, Limits::new().mems(CpuSet::from_iter([0])), "cpuset", "cpuset.mems", "0"),
        (Limit::Pids, Limits::new().pids_max(500), "pids", "pids.max", "500"),
    ];
    for (limit, limits, controller, file, expected) in cases {
        let limits = wish(limit, limits);
        set(group.ops(), &limits);
        if !limits.asked().is_empty() {
            assert_eq!(read(&bench, controller, file), expected);
        }
    }
    if offered.contains(Limit::IoWeight) {
        set(group.ops(), &Limits::new().io_weight(Weight::new(1000).unwrap()));
    }
    set(group.ops(), &wish(Limit::Pids, Limits::new().pids_max(u64::MAX)));
    end(group);
}

/// K31: raised and lowered; the limit of swap is what both together exceed that of memory by.
#[test]
fn k31_memory_and_swap_are_raised_and_lowered() {
    let Some(bench) = bench_with("k31", &[Limit::Memory, Limit::Swap]) else { return };
    let group = bench.group_with([Limit::Memory, Limit::Swap].into_iter().collect());
    let both = || {
        ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
            .map(|file| read(&bench, "memory", file).parse::<u64>().unwrap() >> 20)
    };
    let with_swap =
        |mib, swap| Limits::new().memory_max(Bytes::mib(mib)).swap_max(Bytes::mib(swap));
    for (mib, swap) in [(64, 0), (128, 0), (64, 0), (128, 64), (64, 0), (256, 16), (32, 64)] {
        set(group.ops(), &with_swap(mib, swap));
        assert_eq!(both(), [mib, mib + swap]);
    }
    for mib in [128, 64] {
        set(group.ops(), &Limits::new().memory_max(Bytes::mib(mib)));
        assert_eq!(both(), [mib, mib + 64], "swap stays as it was");
    }
    set(group.ops(), &Limits::new().swap_max(Bytes::mib(8)));
    assert_eq!(both(), [64, 72]);
    set(group.ops(), &Limits::new().swap_max(Most::Lifted));
    assert_eq!(both()[0], 64);
    assert!(both()[1] > 1 << 40, "no limit");
    set(group.ops(), &Limits::new().memory_max(Most::Lifted));
    assert!(both().iter().all(|mib| *mib > 1 << 40), "no limit");
    set(group.ops(), &with_swap(64, 0));
    assert_eq!(both(), [64, 64]);
    end(group);
}

#[test]
fn limits_are_changed_and_lifted() {
    let Some(bench) = bench_with("lifted", &[Limit::Cpus, Limit::Pids]) else { return };
    let group = bench.group_with([Limit::Cpus, Limit::Pids].into_iter().collect());
    let cpus = |cpus| Limits::new().cpus(Cpus::new(cpus).unwrap());
    let kept = || ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| read(&bench, "cpu", file));
    for (limits, expected) in [
        (cpus(0.005), ["5000", "1000000"]),
        (cpus(0.5), ["50000", "100000"]),
        (Limits::new().cpus(Most::Lifted), ["-1", "100000"]),
        (cpus(2.0), ["200000", "100000"]),
    ] {
        set(group.ops(), &limits);
        assert_eq!(kept(), expected);
    }
    for (most, expected) in [(Most::At(7), "7"), (Most::Lifted, "max"), (Most::At(8), "8")] {
        set(group.ops(), &Limits::new().pids_max(most));
        assert_eq!(read(&bench, "pids", "pids.max"), expected);
    }
    end(group);
}

#[test]
fn a_disk_is_limited_and_what_is_no_disk_is_refused() {
    let Some(bench) = bench_with("disk", &[Limit::IoMax]) else { return };
    let Some(disk) = disks::first() else {
        return must_run::skip("cgroup-v1-limits.disk", &"this host has no disk");
    };
    let group = bench.group_with(Set::EMPTY.with(Limit::IoMax));
    let most = IoMax::new().with(Rate::ReadBytes, 1 << 20).with(Rate::Writes, 100);
    set(group.ops(), &Limits::new().io_max(disk, most));
    let kept = |file| read(&bench, "blkio", file);
    assert_eq!(kept("blkio.throttle.read_bps_device"), format!("{disk} 1048576"));
    assert_eq!(kept("blkio.throttle.write_iops_device"), format!("{disk} 100"));
    assert_eq!(kept("blkio.throttle.write_bps_device"), "");
    let lift = IoMax::new().with(Rate::ReadBytes, Most::Lifted);
    set(group.ops(), &Limits::new().io_max(disk, lift));
    assert_eq!(kept("blkio.throttle.read_bps_device"), "");
    let none = Device { major: 4095, minor: 77 };
    let refused = refusal(group.ops(), &Limits::new().io_max(none, most));
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
    assert!(refused.to_string().contains("4095:77"), "{refused}");
    end(group);
}

#[test]
fn huge_pages_are_limited_by_their_size() {
    let Some(bench) = bench_with("huge", &[Limit::Hugetlb]) else { return };
    let group = bench.group_with(Set::EMPTY.with(Limit::Hugetlb));
    let pages = HugePage::new(Bytes::mib(2)).unwrap();
    for (most, expected) in [(Bytes::mib(5), 4 << 20), (Bytes(0), 0)] {
        set(group.ops(), &Limits::new().hugetlb(pages, most));
        let kept = read(&bench, "hugetlb", "hugetlb.2MB.limit_in_bytes");
        assert_eq!(kept, expected.to_string(), "a whole number of pages");
    }
    set(group.ops(), &Limits::new().hugetlb(pages, Most::Lifted));
    end(group);
}

#[test]
fn swap_alone_cannot_be_limited() {
    let Some(bench) = bench_with("swap", &[Limit::Swap]) else { return };
    let group = bench.group_with(Set::EMPTY.with(Limit::Swap));
    let refused = refusal(group.ops(), &Limits::new().swap_max(Bytes(0)));
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.remedy().is_some());
    end(group);
}

/// K34: what cannot be applied is refused by name, at the making of a group and later.
#[test]
fn k34_limits_that_cannot_be_applied_are_refused() {
    let Some(bench) = bench_with("k34", &[Limit::Memory, Limit::Cpuset, Limit::Cpus]) else {
        return;
    };
    for limit in Limit::ALL.iter().copied() {
        if bench.driver.capabilities().limits.contains(limit) {
            continue;
        }
        let refused = bench.driver.create(&bench.name, Set::EMPTY.with(limit)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{limit}");
        assert!(refused.remedy().is_some(), "{limit}");
    }
    let group = bench.group();
    let refused = refusal(group.ops(), &Limits::new().memory_max(Bytes::mib(64)));
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "not joined");
    let high = Limits::new().memory_high(Bytes::mib(64));
    assert_eq!(refusal(group.ops(), &high).kind(), ErrorKind::Unsupported);
    end(group);
    let group = bench.group_with([Limit::Cpuset, Limit::Cpus].into_iter().collect());
    let bad = [
        Limits::new().cpuset(CpuSet::from_iter([4000])),
        Limits::new().cpuset(CpuSet::from_iter([0, 9999])),
    ];
    for limits in bad {
        let refused = refusal(group.ops(), &limits);
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
        assert!(refused.remedy().is_some(), "{refused:?}");
    }
    end(group);
}

/// K17, C3: a new group inherits its CPUs and nodes, at every level; what was configured stays.
#[test]
fn k17_a_new_cpuset_group_takes_programs() {
    let Some(bench) = bench_with("k17", &[Limit::Cpuset]) else { return };
    let cpuset = Set::EMPTY.with(Limit::Cpuset);
    let group = bench.group_with(cpuset);
    set(group.ops(), &Limits::new().cpuset(CpuSet::from_iter([0])));
    let inner = group.ops().subgroup(&"a/b".parse().unwrap(), cpuset).unwrap();
    let child = inner.spawn(&sh("grep Cpus_allowed_list: /proc/self/status | grep -qw 0")).unwrap();
    eventually("its end", || child.try_wait().unwrap() == Some(Outcome::Exited(0)));
    let directory = directory(&bench, "cpuset");
    assert_eq!(fs::read_to_string(directory.join("a/b/cpuset.cpus")).unwrap(), "0\n");
    assert!(!fs::read_to_string(directory.join("a/cpuset.mems")).unwrap().trim().is_empty());
    // A level that somebody set up before is used as it is.
    fs::write(directory.join("a/cgroup.clone_children"), "0").unwrap();
    let other = group.ops().subgroup(&"a/c".parse().unwrap(), cpuset).unwrap();
    assert_eq!(fs::read_to_string(directory.join("a/cpuset.cpus")).unwrap(), "0\n");
    drop((inner, other));
    end(group);
}

/// ENOSPC: somebody emptied the cpuset after it was made.
#[test]
fn an_emptied_cpuset_refuses_programs_with_a_remedy() {
    let Some(bench) = bench_with("enospc", &[Limit::Cpuset]) else { return };
    let group = bench.group_with(Set::EMPTY.with(Limit::Cpuset));
    fs::write(directory(&bench, "cpuset").join("cpuset.cpus"), "\n").unwrap();
    let refused = group.spawn(&sh("true")).unwrap_err();
    assert_eq!((refused.kind(), refused.errno()), (ErrorKind::InvalidInput, Some(28)));
    assert!(refused.remedy().is_some());
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
    let before = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(group.ops().attach(pid).unwrap_err().errno(), Some(28));
    let after = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(before, after, "it is back where it was, in every hierarchy");
    child.kill().unwrap();
    child.wait().unwrap();
    end(group);
}

#[test]
fn limits_hold_and_figures_are_measured() {
    let Some(bench) = bench_with("holds", &[Limit::Pids, Limit::Memory, Limit::Cpus]) else {
        return;
    };
    let all = Measure::ALL.iter().copied().collect();
    let bench = Bench::of(bench.driver.clone().measuring(all).unwrap(), "measured");
    let promised = bench.driver.capabilities().usage;
    let group = bench.group();
    set(group.ops(), &Limits::new().pids_max(2).memory_max(Bytes::mib(64)));
    let forks = group.spawn(&sh("(sleep 0; true) && true")).unwrap();
    assert_ne!(forks.wait().unwrap(), Outcome::Exited(0), "a third process");
    let eats = "dd if=/dev/zero of=/dev/null bs=8M count=1 2>/dev/null";
    assert_eq!(group.spawn(&sh(eats)).unwrap().wait().unwrap(), Outcome::Exited(0));
    group.wait_empty(scaled(std::time::Duration::from_secs(10))).unwrap();
    let usage = group.usage().unwrap();
    let measured: [(Measure, bool); 8] = [
        (Measure::Cpu, usage.cpu.is_some_and(|cpu| !cpu.is_zero()) && usage.cpu_user.is_some()),
        (Measure::Throttling, usage.throttled_periods.is_some() && usage.throttled.is_some()),
        (Measure::Memory, usage.memory.is_some() && usage.memory_anon.is_some()),
        (Measure::MemoryPeak, usage.memory_peak.is_some_and(|peak| peak > 4 << 20)),
        (Measure::Swap, usage.swap.is_some()),
        (Measure::Pids, usage.pids.is_some()),
        (Measure::Io, usage.io_read.is_some() && usage.io_write.is_some()),
        (Measure::Oom, usage.oom_kills == Some(0)),
    ];
    for (measure, seen) in measured {
        assert_eq!(promised.contains(measure), seen, "{measure}: {usage:?}");
    }
    end(group);
}

#[test]
fn what_was_not_joined_is_not_measured() {
    let Some(bench) = bench("unmeasured") else { return };
    let group = bench.group();
    let usage = group.usage().unwrap();
    assert_eq!((usage.cpu, usage.memory, usage.oom_kills), (None, None, None));
    assert_eq!(usage.pids, Some(0));
    end(group);
}

/// The limits alone, as a driver uses them that holds the processes elsewhere.
#[test]
fn limits_serve_groups_of_another_driver() {
    let Some(bench) = bench_with("alone", &[Limit::Memory, Limit::Pids]) else { return };
    let limits = V1Limits::probe(&containment_process::proc::Base::default()).unwrap();
    let asked: ControllerSet = Set::EMPTY.with(Limit::Memory);
    let figures = Set::EMPTY.with(Measure::Pids);
    let group = limits.create(&bench.name, &[4711], asked, figures).unwrap();
    assert_eq!(bench.directories().len(), 2, "memory and pids");
    assert!(group.set_limits(&Limits::new().memory_max(Bytes::mib(64))).refused.is_empty());
    assert_eq!(read(&bench, "memory", "memory.limit_in_bytes"), (64 << 20).to_string());

    let kills = AtomicU64::new(0);
    let files = group.entries().unwrap();
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let program = sleeper();
    let (entry, mark) = (Entry::SelfMove(&files), Mark::read(&kills));
    let launch = Launch::into_cgroup(&program, entry, mark, AskFrozen(&|| Ok(FreezeState::Thawed)));
    let process = spawn(&launch).unwrap();
    assert_eq!(group.pids().unwrap(), [process.pid()]);
    assert_eq!(group.usage().unwrap().pids, Some(1));
    assert_eq!(group.remove(false).unwrap_err().kind(), ErrorKind::Busy);
    process.signal(containment_core::Signal::KILL).unwrap();
    process.wait().unwrap();

    assert!(limits.open(&bench.name, 4712).unwrap().pids().unwrap().is_empty());
    limits.open(&bench.name, 4712).unwrap().remove(true).unwrap();
    assert_eq!(bench.directories().len(), 2, "another group's identity reaches nothing");
    let again = limits.open(&bench.name, 4711).unwrap();
    assert!(again.figures().contains(Measure::Memory));
    again.remove(true).unwrap();
}

/// What a hybrid driver has to know when a member does not die (K47).
#[test]
fn k47_the_freezer_group_that_holds_a_process_is_found_and_thawed() {
    let Some(bench) = bench("hold") else { return };
    let limits = V1Limits::probe(&containment_process::proc::Base::default()).unwrap();
    let group = bench.group();
    let child = group.spawn(&sleeper()).unwrap();
    assert!(limits.hold_on(child.pid()).unwrap().is_none());
    freeze(group.ops());
    let hold = limits.hold_on(child.pid()).unwrap().unwrap();
    assert_eq!(hold.path(), directory(&bench, "freezer"));
    assert!(hold.is_within(&bench.name) && !hold.is_within(&"elsewhere".parse().unwrap()));
    hold.thaw().unwrap();
    assert!(limits.hold_on(child.pid()).unwrap().is_none());
    end(group);
}
