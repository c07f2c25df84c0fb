//! What the tests on the real hierarchy share.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "every test binary compiles this and uses a part of it"
)]

#[path = "../../../tests/support/must_run.rs"]
pub(crate) mod must_run;
#[path = "../../../tests/support/time.rs"]
mod time;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use backend_cgroupv2::CgroupV2;
use containment_core::{CgroupOps, ControllerSet, Group, GroupName, Program};
use containment_process::proc::{cgroup, mountinfo};
pub(crate) use must_run::skip;
pub(crate) use time::*;

/// A name that no other test uses.
pub(crate) fn name(test: &str) -> GroupName {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("contain-test-{test}-{}-{serial}", std::process::id()).parse().unwrap()
}

/// The driver as it is here, and one that does as kernels without `cgroup.kill` do.
pub(crate) fn drivers() -> Vec<CgroupV2> {
    match CgroupV2::probe(None).and_then(|driver| driver.prove().map(|()| driver)) {
        Ok(driver) => vec![driver, CgroupV2::probe(None).unwrap().without_kill_file()],
        Err(error) => {
            skip("cgroup-v2", &error);
            Vec::new()
        }
    }
}

pub(crate) fn create(driver: &CgroupV2, test: &str) -> Group {
    create_with(driver, test, ControllerSet::EMPTY)
}

pub(crate) fn create_with(driver: &CgroupV2, test: &str, with: ControllerSet) -> Group {
    Group::new(driver.create(&name(test), with).unwrap(), driver.waiter())
}

pub(crate) fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

/// The directory of our own group.
pub(crate) fn own_directory() -> PathBuf {
    let mounts = mountinfo::read().unwrap();
    let mount = mountinfo::mounts(&mounts).find(|mount| mount.is_type("cgroup2")).unwrap();
    let text = cgroup::read_self().unwrap();
    let own = cgroup::memberships(&text).find(cgroup::Membership::is_unified).unwrap();
    mount.mount_point().join(cgroup::below_mount(own.path, &mount.root()).unwrap())
}
