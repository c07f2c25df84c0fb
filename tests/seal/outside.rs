//! What there is outside of a sealed group to reach for: groups, processes, a directory; all of one
//! attempt's own, and gone with it.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::eventually;

/// The outside of one attempt.
#[derive(Debug)]
pub(crate) struct Outside {
    /// Its groups' name, one in each hierarchy.
    name: String,
    /// A root process with every capability, and one with none.
    pub(crate) strong: i32,
    pub(crate) weak: i32,
    pub(crate) directory: PathBuf,
    /// What has to be undone, by whoever made it.
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    processes: [Child; 2],
    _directory: tempfile::TempDir,
}

impl Outside {
    pub(crate) fn make() -> io::Result<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("seal-test-{}-{serial}", std::process::id());
        for mount in cgroup_mounts() {
            let group = mount.point.join(&name);
            fs::create_dir(&group)?;
            for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| !mount.is_v2) {
                if let Ok(value) = fs::read(mount.point.join(file)) {
                    fs::write(group.join(file), value)?;
                }
            }
        }
        let strong = Command::new("sleep").arg("1000").spawn()?;
        let weak = ["--bounding-set", "-all", "--inh-caps", "-all", "sleep", "1000"];
        let weak = Command::new("setpriv").args(weak).process_group(0).spawn()?;
        let directory = tempfile::tempdir()?;
        let pid = |child: &Child| i32::try_from(child.id()).expect("pids are positive");
        let outside = Self {
            name,
            strong: pid(&strong),
            weak: pid(&weak),
            directory: directory.path().to_owned(),
            made: Some(Made { processes: [strong, weak], _directory: directory }),
        };
        eventually("the weak one has no capability", || {
            let status = fs::read_to_string(format!("/proc/{}/status", outside.weak));
            status.is_ok_and(|status| status.contains("CapPrm:\t0000000000000000"))
        });
        Ok(outside)
    }

    /// As arguments of a try.
    pub(crate) fn words(&self) -> [String; 4] {
        let directory = self.directory.to_str().expect("temporary paths are UTF-8");
        [self.name.clone(), self.strong.to_string(), self.weak.to_string(), directory.to_owned()]
    }

    pub(crate) fn of_words(words: &[String]) -> Self {
        Self {
            name: words[0].clone(),
            strong: words[1].parse().expect("a pid"),
            weak: words[2].parse().expect("a pid"),
            directory: PathBuf::from(&words[3]),
            made: None,
        }
    }

    /// The group in the unified hierarchy, or, where there is none, in another one.
    pub(crate) fn group(&self) -> PathBuf {
        let mounts = cgroup_mounts();
        let any = mounts.iter().find(|mount| mount.is_v2).or(mounts.first());
        self.group_in(&any.expect("a hierarchy is mounted").point)
    }

    /// The group in the hierarchy that is mounted there.
    pub(crate) fn group_in(&self, mount: &Path) -> PathBuf {
        mount.join(&self.name)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let Some(made) = &mut self.made else { return };
        for process in &mut made.processes {
            let ended = process.kill().and_then(|()| process.wait());
            ended.expect("it is our child");
        }
        for mount in cgroup_mounts() {
            let group = mount.point.join(&self.name);
            eventually("the group is removed", || {
                fs::remove_dir(&group).is_ok() || !group.exists()
            });
        }
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct CgroupMount {
    pub(crate) point: PathBuf,
    pub(crate) is_v2: bool,
}

/// The mounted hierarchies, each once.
pub(crate) fn cgroup_mounts() -> Vec<CgroupMount> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let mount = |line: &str| {
        let (first, second) = line.split_once(" - ")?;
        let is_v2 = match second.split(' ').next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        Some(CgroupMount { point: first.split(' ').nth(4)?.into(), is_v2 })
    };
    text.lines().filter_map(mount).collect()
}
