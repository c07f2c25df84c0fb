//! `init` mounts what is missing, and only then. In private mount namespaces: nothing of this host is
//! touched.

mod support;

use std::path::Path;
use std::process::Command;

use backend_cgroupv1::{CgroupV1, InitState, init};
use containment_core::CgroupOps;

/// Runs a helper of this file in a mount namespace of its own, after `prepare`.
fn in_a_private_namespace(prepare: &str, helper: &str) {
    if !support::must_run::is_root("mounting takes root") {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    // The lock is in /run, and so are mounts that find no room elsewhere.
    let script = format!(
        "mount -t tmpfs -o mode=755 none /run; {prepare}; exec \"$0\" --exact {helper} --nocapture"
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-ec", &script])
        .arg(exe)
        .env("CONTAIN_TEST_INIT", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
}

fn is_inside() -> bool {
    std::env::var_os("CONTAIN_TEST_INIT").is_some()
}

#[test]
fn a_host_without_cgroups_gets_its_hierarchies() {
    if support::driver().is_none() {
        return;
    }
    in_a_private_namespace("umount -R -l /sys/fs/cgroup", "helper_mounts_everything");
}

/// Runs where no cgroup is mounted; does nothing in an ordinary run.
#[test]
fn helper_mounts_everything() {
    if !is_inside() {
        return;
    }
    let error = CgroupV1::probe(None).unwrap_err();
    assert!(error.remedy().unwrap().contains("contain init"), "{error:?}");
    for done in init(true).unwrap() {
        assert!(matches!(done.state, InitState::Mounted(_)), "{done:?}");
    }
    assert!(CgroupV1::probe(None).is_err(), "a dry run mounts nothing");
    // Two at once: each hierarchy is mounted by one of them.
    let both = std::thread::scope(|scope| {
        let other = scope.spawn(|| init(false).unwrap());
        [init(false).unwrap(), other.join().unwrap()]
    });
    for controller in ["freezer", "cpuset"] {
        let states = both.iter().flatten().filter(|done| done.controller == controller);
        let mounted = states.filter(|done| matches!(done.state, InitState::Mounted(_))).count();
        assert_eq!(mounted, 1, "{both:?}");
    }
    assert!(Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists());
    CgroupV1::probe(None).unwrap().prove().unwrap();
}

#[test]
fn what_is_mounted_is_left_alone() {
    if support::driver().is_none() {
        return;
    }
    in_a_private_namespace("umount -l /sys/fs/cgroup/freezer", "helper_mounts_the_freezer_alone");
}

/// Runs where the freezer alone is missing; does nothing in an ordinary run.
#[test]
fn helper_mounts_the_freezer_alone() {
    if !is_inside() {
        return;
    }
    let driver = CgroupV1::probe(None).unwrap();
    assert_eq!(driver.capabilities().kill, containment_core::Kill::Repeated);
    let done = init(false).unwrap();
    assert!(matches!(done[0].state, InitState::Mounted(_)), "{done:?}");
    assert!(matches!(done[1].state, InitState::Present(_)), "{done:?}");
    let driver = CgroupV1::probe(None).unwrap();
    assert!(driver.capabilities().kill > containment_core::Kill::Repeated);
    driver.prove().unwrap();
}

#[test]
fn beside_a_unified_hierarchy_mounts_go_to_a_place_of_their_own() {
    if support::driver().is_none() {
        return;
    }
    let pure = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup";
    in_a_private_namespace(pure, "helper_mounts_beside_the_unified_hierarchy");
}

/// Runs where only version 2 is mounted; does nothing in an ordinary run.
#[test]
fn helper_mounts_beside_the_unified_hierarchy() {
    if !is_inside() {
        return;
    }
    for done in init(false).unwrap() {
        let InitState::Mounted(point) = &done.state else { panic!("{done:?}") };
        assert!(point.starts_with("/run"), "{done:?}");
    }
    assert!(!Path::new("/sys/fs/cgroup/freezer").exists(), "no group was made by mistake");
    CgroupV1::probe(None).unwrap().prove().unwrap();
}
