//! Topologies out of directories of the kernel's shape, whole and with holes, and how CPUs are dealt.

use std::fs;
use std::path::Path;

use containment_core::{CpuSet, ErrorKind, Topology};
use proptest::prelude::*;
use tempfile::TempDir;

fn set(text: &str) -> CpuSet {
    text.parse().unwrap()
}

/// A machine of these CPUs: number, core, package.
fn machine(online: Option<&str>, cpus: &[(u16, i32, i32)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    if let Some(online) = online {
        fs::write(directory.path().join("online"), format!("{online}\n")).unwrap();
    }
    for (cpu, core, package) in cpus {
        let topology = directory.path().join(format!("cpu{cpu}/topology"));
        fs::create_dir_all(&topology).unwrap();
        fs::write(topology.join("core_id"), format!("{core}\n")).unwrap();
        fs::write(topology.join("physical_package_id"), format!("{package}\n")).unwrap();
    }
    directory
}

/// Two packages of two cores of two threads, numbered as many machines do: threads far apart.
fn server() -> Topology {
    let cpus: Vec<_> =
        (0..8).map(|cpu| (cpu, i32::from(cpu % 2), i32::from(cpu % 4 / 2))).collect();
    Topology::read_from(machine(Some("0-7"), &cpus).path()).unwrap()
}

fn lists(sets: &[CpuSet]) -> Vec<String> {
    sets.iter().map(ToString::to_string).collect()
}

#[test]
fn cores_and_packages_are_read() {
    let server = server();
    assert_eq!(server.cpus(), set("0-7"));
    let cores: Vec<_> = server.cores().cloned().collect();
    assert_eq!(lists(&cores), ["0,4", "1,5", "2,6", "3,7"]);
    assert_eq!(lists(&server.packages()), ["0-1,4-5", "2-3,6-7"]);
}

#[test]
fn whole_cores_are_dealt_as_long_as_there_are_enough() {
    let server = server();
    assert_eq!(lists(&server.deal(1).unwrap()), ["0-7"]);
    assert_eq!(lists(&server.deal(2).unwrap()), ["0-1,4-5", "2-3,6-7"], "a package each");
    assert_eq!(lists(&server.deal(4).unwrap()), ["0,4", "1,5", "2,6", "3,7"]);
    assert_eq!(server.deal(8).unwrap().len(), 8);
    for wrong in [0, 9] {
        assert_eq!(server.deal(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn what_the_kernel_does_not_tell_is_taken_as_simple() {
    let bare = machine(None, &[]);
    for cpu in ["cpu0", "cpu1", "cpufreq", "cpuidle"] {
        fs::create_dir(bare.path().join(cpu)).unwrap();
    }
    let bare = Topology::read_from(bare.path()).unwrap();
    assert_eq!((bare.cpus(), bare.cores().len()), (set("0-1"), 2));
    let unnumbered = machine(Some("0-3"), &[(0, -1, -1), (1, -1, -1)]);
    let unnumbered = Topology::read_from(unnumbered.path()).unwrap();
    assert_eq!((unnumbered.cores().len(), unnumbered.packages().len()), (4, 1));
    let missing = Topology::read_from(Path::new("/proc/self/nothing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::InvalidInput);
}

#[test]
fn cpus_that_are_offline_or_not_ours_are_left_out() {
    let cpus = [(0, 0, 0), (1, 1, 0), (2, 0, 0), (3, 1, 0)];
    let partly = Topology::read_from(machine(Some("0-2"), &cpus).path()).unwrap();
    assert_eq!(partly.cpus(), set("0-2"));
    let ours = partly.clone().within(&set("2-9")).unwrap();
    assert_eq!(ours.cpus(), set("2"));
    assert_eq!(partly.within(&set("9")).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn this_machine_has_cpus_and_we_may_use_some() {
    let online = Topology::read().unwrap();
    let allowed = Topology::allowed().unwrap();
    assert!(!allowed.cpus().is_empty() && allowed.cpus().is_subset(&online.cpus()));
}

proptest! {
    #[test]
    fn dealing_leaves_nothing_out_and_gives_nothing_twice(
        facts in prop::collection::vec((0..4i32, 0..3i32), 1..24),
        sets in 1..24usize,
    ) {
        let cpus: Vec<_> = (0..).zip(&facts).map(|(cpu, (core, package))| (cpu, *core, *package)).collect();
        let last = facts.len() - 1;
        let topology = Topology::read_from(machine(Some(&format!("0-{last}")), &cpus).path()).unwrap();
        prop_assume!(sets <= facts.len());
        let dealt = topology.deal(sets).unwrap();
        prop_assert_eq!(dealt.len(), sets);
        prop_assert!(dealt.iter().all(|set| !set.is_empty()));
        prop_assert_eq!(dealt.iter().map(CpuSet::len).sum::<usize>(), facts.len(), "disjoint");
        let all = dealt.iter().fold(CpuSet::new(), |all, set| all.union(set));
        prop_assert_eq!(all, topology.cpus());
        if sets <= topology.cores().len() {
            let whole = |core: &CpuSet| dealt.iter().any(|set| core.is_subset(set));
            prop_assert!(topology.cores().all(whole));
        }
    }

    #[test]
    fn any_set_reads_back(cpus in prop::collection::btree_set(any::<u16>(), 0..50)) {
        let set: CpuSet = cpus.into_iter().collect();
        prop_assert_eq!(set.to_string().parse(), Ok(set));
    }

    #[test]
    fn no_text_panics(text in "[0-9,+ a-]{0,12}") {
        if let Ok(set) = text.parse::<CpuSet>() {
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }
    }
}
