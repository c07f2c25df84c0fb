//! K02: a program of the same user takes the rights to its own group's directories away, to escape its end.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use containment::{Backend, Containment, KillStep, Outcome, Policy, Program, Signal};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use support::backends::run_on;
use support::traces::groups_called;

#[test]
fn k02_a_group_of_version_2_whose_directory_is_shut_is_ended() {
    run_on("cgroup-v2", |_| ended(Backend::CgroupV2));
}

#[test]
fn k02_a_group_of_version_1_whose_directories_are_shut_is_ended() {
    run_on("cgroup-v1", |_| ended(Backend::CgroupV1));
}

#[test]
fn k02_a_hybrid_group_whose_directories_are_shut_is_ended() {
    run_on("hybrid", |_| ended(Backend::Hybrid));
}

fn ended(backend: Backend) {
    let host = Containment::builder().backend(backend).build().unwrap();
    let name = format!("test-shut-{backend}-{}", std::process::id());
    let group = host.group(&name).create().unwrap();
    let child = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    let directories = groups_called(&name);
    assert!(!directories.is_empty());
    for directory in directories {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Capabilities are a thread's own.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            heed_permissions();
            assert!(group.ops().populated().unwrap());
            let killed = group.ops().kill().unwrap();
            assert!(!matches!(killed, KillStep::Signalled(pass) if pass.count != 1));
            assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
        });
    });
    let report = group.terminate(&Policy::kill()).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    assert_eq!(groups_called(&name).len(), 0);
}

/// Root is stopped by permissions only without the capabilities to pass over them.
fn heed_permissions() {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    set_capabilities(None, sets).unwrap();
}
