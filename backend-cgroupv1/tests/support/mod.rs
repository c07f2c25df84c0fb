//! What the tests of the v1 driver share: drivers of this host, and groups that have to leave nothing
//! behind in any hierarchy.
#![expect(unreachable_pub, reason = "shared by several test crates")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every test crate uses all of it")]

#[path = "../../../tests/support/must_run.rs"]
pub mod must_run;
#[path = "../../../tests/support/time.rs"]
mod time;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use backend_cgroupv1::CgroupV1;
use containment_core::{
    CgroupOps, ControllerSet, FreezeState, Group, GroupName, GroupOps, Limit, Pid, Policy, Program,
};
use containment_process::proc::mountinfo;
pub(crate) use time::*;

/// The driver of this host, unless it has none: then the test says so, and fails where it must run.
pub fn driver() -> Option<CgroupV1> {
    match CgroupV1::probe(None).and_then(|driver| driver.prove().map(|()| driver)) {
        Ok(driver) => Some(driver),
        Err(error) => {
            must_run::skip("cgroup-v1", &error);
            None
        }
    }
}

/// That driver, and those of hosts without a freezer and without pids.
pub fn drivers() -> Vec<CgroupV1> {
    let lacking = |controller: &str| driver().and_then(|driver| driver.without(controller).ok());
    driver().into_iter().chain(lacking("freezer")).chain(lacking("pids")).collect()
}

/// A driver and a name of the test's own. When it is dropped no directory of that name may be left.
#[derive(Debug)]
pub struct Bench {
    pub driver: CgroupV1,
    pub name: GroupName,
}

impl Bench {
    pub fn of(driver: CgroupV1, test: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("contain-test-{test}-{}-{serial}", std::process::id());
        Self { driver, name: name.parse().unwrap() }
    }

    pub fn group(&self) -> Group {
        self.group_with(ControllerSet::EMPTY)
    }

    pub fn group_with(&self, with: ControllerSet) -> Group {
        Group::new(self.driver.create(&self.name, with).unwrap(), self.driver.waiter())
    }

    /// A second group, whose name begins like the first's.
    pub fn another_group(&self) -> Group {
        let name = format!("{}-2", self.name).parse().unwrap();
        let group = self.driver.create(&name, ControllerSet::EMPTY).unwrap();
        Group::new(group, self.driver.waiter())
    }

    /// The group's directories on this host, by its name.
    pub fn directories(&self) -> Vec<PathBuf> {
        directories_of(self.name.as_str())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.directories(), Vec::<PathBuf>::new(), "left behind");
        }
    }
}

/// One bench a driver of this host.
pub fn benches(test: &str) -> Vec<Bench> {
    drivers().into_iter().map(|driver| Bench::of(driver, test)).collect()
}

/// A bench of the driver with all that this host has.
pub fn bench(test: &str) -> Option<Bench> {
    driver().map(|driver| Bench::of(driver, test))
}

/// A bench whose driver has these limits.
pub fn bench_with(test: &str, limits: &[Limit]) -> Option<Bench> {
    let bench = bench(test)?;
    let offered = bench.driver.capabilities().limits;
    let lacking = limits.iter().find(|limit| !offered.contains(**limit));
    if let Some(limit) = lacking {
        let what = format!("cgroup-v1-limits.{limit}");
        must_run::skip(&what, &format!("no hierarchy of this host offers the limit {limit}"));
        return None;
    }
    Some(bench)
}

/// Where the hierarchies of this host are mounted.
pub fn mounts() -> Vec<PathBuf> {
    let text = mountinfo::read().unwrap();
    let v1 = mountinfo::mounts(&text).filter(|mount| mount.is_type("cgroup"));
    v1.map(|mount| mount.mount_point().into_owned()).collect()
}

pub fn directories_of(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for mount in mounts() {
        search(&mount, name, &mut found);
    }
    found
}

fn search(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
    // Other tests remove their groups meanwhile.
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())) {
        if entry.file_name().to_string_lossy().starts_with(name) {
            found.push(entry.path());
        }
        search(&entry.path(), name, found);
    }
}

/// Where the hierarchy of a controller is mounted, perhaps together with others.
pub fn mount_of(controller: &str) -> PathBuf {
    let text = mountinfo::read().unwrap();
    let mut mounts = mountinfo::mounts(&text)
        .filter(|mount| mount.is_type("cgroup") && mount.has_super_option(controller));
    mounts.next().unwrap().mount_point().into_owned()
}

/// The group's directory in the hierarchy of a controller.
pub fn directory(bench: &Bench, controller: &str) -> PathBuf {
    let mut found = Vec::new();
    search(&mount_of(controller), bench.name.as_str(), &mut found);
    assert_eq!(found.len(), 1, "{controller}: {found:?}");
    found.remove(0)
}

pub fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

pub fn sleeper() -> Program {
    Program::new("sleep").arg("1000")
}

pub fn is_over(pid: Pid) -> bool {
    containment_process::proc::Stat::read(pid).unwrap().is_none_or(|stat| stat.state.is_zombie())
}

pub fn is_alive(pid: Pid) -> bool {
    containment_process::proc::Stat::read(pid).unwrap().is_some_and(|stat| !stat.has_ended())
}

pub fn freeze(group: &dyn GroupOps) {
    group.request_freeze().unwrap();
    eventually("frozen", || group.frozen().unwrap() == FreezeState::Frozen);
}

/// Ends a group that has to end without a survivor and without an error.
pub fn end(group: Group) {
    let report = group.terminate(&patient(&Policy::kill())).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
}

/// This test binary again, running one of its tests alone.
pub fn this_test(name: &str) -> Program {
    Program::new(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"])
}
