//! What is fuzzed: every parser of kernel text, each as a function of any bytes. A target of `cargo fuzz` calls
//! one of them, and `containment-process/tests/fuzz.rs` drives them all on a stable compiler.
//!
//! Besides not to panic, a parser must not tell one text in two ways: what it took, it takes again with a
//! line more that it does not know, and what was cut off in the middle of a line it never takes.

use containment_process::cgroupfs::Listing;
use containment_process::cgroupfs::parse;
use containment_process::proc::{Stat, cgroup, mountinfo};

/// Something to feed bytes to.
pub(crate) type Entry = fn(&[u8]);

/// Each by its name, which is that of its target and of the directory of its seeds.
pub(crate) const ALL: &[(&str, Entry)] = &[
    ("memory_stat", memory_stat),
    ("cpu_stat", cpu_stat),
    ("memory_events", memory_events),
    ("cgroup_events", cgroup_events),
    ("io_stat", io_stat),
    ("io_limits", io_limits),
    ("blkio", blkio),
    ("pressure", pressure),
    ("single_values", single_values),
    ("cpu_list", cpu_list),
    ("pids", pids),
    ("mountinfo", mounts),
    ("proc_cgroup", proc_cgroup),
    ("proc_stat", proc_stat),
];

pub(crate) fn memory_stat(text: &[u8]) {
    keyed(text, parse::MemoryStat::parse);
    keyed(text, parse::V1MemoryStat::parse);
}

pub(crate) fn cpu_stat(text: &[u8]) {
    keyed(text, parse::CpuStat::parse);
    keyed(text, parse::V1CpuStat::parse);
    keyed(text, parse::CpuAcctStat::parse);
}

pub(crate) fn memory_events(text: &[u8]) {
    keyed(text, parse::MemoryEvents::parse);
    keyed(text, parse::OomControl::parse);
}

pub(crate) fn cgroup_events(text: &[u8]) {
    keyed(text, parse::Events::parse);
}

pub(crate) fn io_stat(text: &[u8]) {
    extended(text, b"7:7 zbytes=1 odd=0.5\n", parse::io_stat);
}

pub(crate) fn io_limits(text: &[u8]) {
    cut(text, parse::io_max);
    cut(text, parse::rates);
    cut(text, parse::weight);
    cut(text, parse::cpu_max);
    if let Ok(devices) = parse::io_max(text) {
        // What is written is read again.
        let lines = devices.iter().filter(|(_, most)| most.iter().next().is_some());
        let written: Vec<_> = lines.map(|(device, most)| format!("{device} {most}\n")).collect();
        let again = parse::io_max(written.concat().as_bytes()).expect("it was written by us");
        assert!(again.iter().all(|(device, most)| devices.get(device) == Some(most)));
    }
}

pub(crate) fn blkio(text: &[u8]) {
    extended(text, b"7:7 Discard 4096\n", parse::blkio_bytes);
}

pub(crate) fn pressure(text: &[u8]) {
    extended(text, b"other avg10=0.00 total=1\n", parse::pressure);
}

pub(crate) fn single_values(text: &[u8]) {
    cut(text, parse::number);
    cut(text, parse::most);
    if let Ok(number) = parse::number(text) {
        let written = format!("{number}\n");
        assert_eq!(parse::number(written.as_bytes()), Ok(number));
        assert_eq!(parse::most(text).map(containment_core::Most::value), Ok(Some(number)));
    }
}

pub(crate) fn cpu_list(text: &[u8]) {
    cut(text, parse::list);
    if let Ok(set) = parse::list(text) {
        assert_eq!(parse::list(format!("{set}\n").as_bytes()), Ok(set));
    }
}

pub(crate) fn pids(text: &[u8]) {
    extended(text, b"0\n", |text| Listing::parse(text).map(|listing| listing.pids));
}

pub(crate) fn mounts(text: &[u8]) {
    let whole = mountinfo::check(text).is_ok();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let read = mountinfo::mounts(text).inspect(|mount| {
        mount.root();
        mount.mount_point();
        mount.has_super_option("cpu");
    });
    assert!(!whole || read.count() == lines, "a line was skipped in silence");
}

pub(crate) fn proc_cgroup(text: &[u8]) {
    let whole = cgroup::check(text).is_ok();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let read = cgroup::memberships(text).inspect(|one| {
        cgroup::below_mount(one.path, std::path::Path::new("/a"));
    });
    assert!(!whole || read.count() == lines, "a line was skipped in silence");
}

pub(crate) fn proc_stat(text: &[u8]) {
    if let Some(stat) = Stat::parse(text) {
        assert!(stat.pid.as_raw() > 0);
        stat.member(containment_core::Standing::Inside);
    }
}

fn keyed<T: PartialEq + std::fmt::Debug>(text: &[u8], parse: fn(&[u8]) -> parse::Parsed<T>) {
    extended(text, b"a_key_of_later_kernels 1\n", parse);
}

/// A line that is not known changes nothing.
fn extended<T: PartialEq + std::fmt::Debug>(
    text: &[u8],
    line: &[u8],
    parse: impl Fn(&[u8]) -> parse::Parsed<T>,
) {
    if let Ok(taken) = parse(text) {
        assert_eq!(parse(&[text, line].concat()), Ok(taken));
    }
    cut(text, parse);
}

/// Half a line is never taken for a whole one.
fn cut<T: std::fmt::Debug>(text: &[u8], parse: impl Fn(&[u8]) -> parse::Parsed<T>) {
    if text.last().is_some_and(|last| *last != b'\n') {
        assert!(parse(text).is_err(), "half a line was taken");
    }
}
