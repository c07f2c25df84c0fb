//! A hybrid host under test: a group's name, and what of it is in each hierarchy, read off cgroupfs without
//! the code under test.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use containment::{
    Backend, Builder, Containment, Group, GroupOps, Limits, Pid, Policy, Program, TeardownReport,
};

use super::{backends, eventually, traces};

/// A name of the test's own. When it is dropped no directory of that name may be left anywhere.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) name: String,
    builder: Builder,
}

/// Tells the benches of this process apart.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A bench, where this host has the backend and these v1 hierarchies; skips the test otherwise.
pub(crate) fn bench(controllers: &[&str]) -> Option<Bench> {
    if let Some(reason) = backends::unusable("hybrid") {
        backends::skip("hybrid", &reason);
        return None;
    }
    let lacks = |controller: &&&str| parent_in(controller).is_none();
    if let Some(controller) = controllers.iter().find(lacks) {
        let reason = format!("no v1 hierarchy of the controller {controller} is mounted");
        backends::skip(&format!("hybrid-{controller}"), &reason);
        return None;
    }
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let name = format!("contain-test-hybrid-{}-{serial}", std::process::id());
    Some(Bench { name, builder: Containment::builder().backend(Backend::Hybrid) })
}

/// The directory of our own group in the hierarchy of `controller`, or in the unified one (`""`).
fn parent_in(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let mount = mounts.lines().find_map(|line| {
        let (first, second) = line.split_once(" - ")?;
        let mut fields = second.split(' ');
        let (fs_type, options) = (fields.next()?, fields.nth(1)?);
        let carries = options.split(',').any(|option| option == controller);
        let is_it = if controller.is_empty() { fs_type == "cgroup2" } else { carries };
        let mut fields = first.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        is_it.then(|| (root.to_owned(), PathBuf::from(point)))
    });
    let (root, point) = mount?;
    let own = traces::group_of(i32::try_from(std::process::id()).ok()?, controller)?;
    let below = own.strip_prefix(root.trim_end_matches('/'))?;
    Some(point.join(below.trim_start_matches('/')))
}

impl Bench {
    /// The same on another way to choose.
    pub(crate) fn with(mut self, change: impl FnOnce(Builder) -> Builder) -> Self {
        self.builder = change(self.builder.clone());
        self
    }

    pub(crate) fn host(&self) -> Containment {
        self.builder.build().expect("hybrid can be used")
    }

    /// A group with these limits.
    pub(crate) fn group(&self, limits: &Limits) -> Group {
        self.host().group(&self.name).limits(limits).create().expect("a group can be made")
    }

    /// Where the group's directory is, or would be, in the hierarchy of `controller` (`""`: the unified one).
    pub(crate) fn directory(&self, controller: &str) -> PathBuf {
        parent_in(controller).expect("the bench asked for the controller").join(&self.name)
    }

    /// Every directory of the group, those of groups inside it included, in every hierarchy.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let is_ours = |path: &PathBuf| path.components().any(|c| c.as_os_str() == &*self.name);
        let mut all: Vec<_> = traces::groups().into_iter().filter(is_ours).collect();
        all.sort();
        all
    }

    /// Whether `pid` is in the group, or one inside it, by the hierarchy of `controller`.
    pub(crate) fn holds(&self, pid: Pid, controller: &str) -> bool {
        let group = traces::group_of(pid.as_raw(), controller).expect("it lives");
        group.split('/').any(|level| level == self.name)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.directories(), [] as [PathBuf; 0], "directories are left");
        }
    }
}

/// A program that sleeps.
pub(crate) fn sleeper() -> Program {
    Program::new("sleep").arg("1000")
}

/// Ends a group that has to end without a survivor and without an error.
pub(crate) fn end(group: Group) {
    drop(ended(group));
}

/// The same, and how it went.
pub(crate) fn ended(group: Group) -> TeardownReport {
    let report = group.terminate(&Policy::kill().measuring()).expect("it is ours");
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    report
}

/// A process in no group. It ends with its guard.
#[derive(Debug)]
pub(crate) struct Outsider(Child);

impl Outsider {
    pub(crate) fn start() -> Self {
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn();
        Self(child.expect("sleep can be started"))
    }

    pub(crate) fn pid(&self) -> Pid {
        i32::try_from(self.0.id()).ok().and_then(Pid::new).expect("a pid is positive")
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

/// A freezer group of version 1 that this test made. It is thawed, and removed once it is empty.
#[derive(Debug)]
pub(crate) struct Freezer(PathBuf);

impl Freezer {
    pub(crate) fn make(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("a freezer group can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.0
    }

    /// Puts a process into it, and freezes it.
    pub(crate) fn hold(&self, pid: Pid) {
        self.take_in(pid);
        self.freeze();
    }

    pub(crate) fn take_in(&self, pid: Pid) {
        self.write("cgroup.procs", &pid.to_string());
    }

    pub(crate) fn freeze(&self) {
        self.write("freezer.state", "FROZEN");
        let state = || fs::read_to_string(self.0.join("freezer.state")).expect("it can be read");
        eventually("it is frozen", || state().trim() == "FROZEN");
    }

    pub(crate) fn thaw(&self) {
        self.write("freezer.state", "THAWED");
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).expect("the freezer group can be written to");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        drop(fs::write(self.0.join("freezer.state"), "THAWED"));
        eventually("the freezer group can be removed", || fs::remove_dir(&self.0).is_ok());
    }
}

/// Waits until nothing in the group lives.
pub(crate) fn emptied(group: &dyn GroupOps) {
    eventually("the group is empty", || {
        group.reap().expect("what ended can be reaped");
        !group.populated().expect("the population can be read")
    });
}
