//! What the tests on the real hierarchy share.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "every test binary compiles this and uses a part of it"
)]

#[path = "../../../tests/support/must_run.rs"]
mod must_run;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backend_cgroupv2::CgroupV2;
use containment_core::{CgroupOps, ControllerSet, Group, GroupName, Policy, Program};
use containment_process::proc::{cgroup, mountinfo};
pub(crate) use must_run::skip;

/// A name that no other test uses.
pub(crate) fn name(test: &str) -> GroupName {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("contain-test-{test}-{}-{serial}", std::process::id()).parse().unwrap()
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

/// `CONTAIN_TIME_SCALE` times as long: emulated machines are slow.
pub(crate) fn scaled(time: Duration) -> Duration {
    let scale = std::env::var("CONTAIN_TIME_SCALE").ok().and_then(|scale| scale.parse().ok());
    time.mul_f64(scale.unwrap_or(1.0))
}

/// The same policy with the time that an emulated machine takes to freeze and to kill.
pub(crate) fn patient(policy: &Policy) -> Policy {
    let (freeze_timeout, kill_timeout) =
        (scaled(policy.freeze_timeout), scaled(policy.kill_timeout));
    Policy { freeze_timeout, kill_timeout, ..policy.clone() }
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + scaled(Duration::from_secs(10));
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The directory of our own group.
pub(crate) fn own_directory() -> PathBuf {
    let mounts = mountinfo::read().unwrap();
    let mount = mountinfo::mounts(&mounts).find(|mount| mount.is_type("cgroup2")).unwrap();
    let text = cgroup::read_self().unwrap();
    let own = cgroup::memberships(&text).find(cgroup::Membership::is_unified).unwrap();
    mount.mount_point().join(cgroup::below_mount(own.path, &mount.root()).unwrap())
}
