//! The ways out, each as a root program would try it.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::outside::{CgroupMount, Outside, cgroup_mounts};

/// One way out.
pub(crate) struct Way {
    pub(crate) name: String,
    go: Box<dyn Fn(&Outside) -> Tried + Send>,
    /// A file without which the host does not have this way.
    needs: Option<PathBuf>,
}

/// `Ok` when it worked; else why not.
type Tried = Result<(), String>;

impl Way {
    fn new(name: impl Into<String>, go: impl Fn(&Outside) -> Tried + Send + 'static) -> Self {
        Self { name: name.into(), go: Box::new(go), needs: None }
    }

    fn needs(mut self, file: impl Into<PathBuf>) -> Self {
        self.needs = Some(file.into());
        self
    }

    pub(crate) fn go(&self, outside: &Outside) -> Tried {
        (self.go)(outside)
    }

    /// Why this host does not have it, unless it does.
    pub(crate) fn why_not(&self) -> Option<String> {
        let needed = self.needs.as_deref()?;
        (!needed.exists()).then(|| format!("there is no {} for us", needed.display()))
    }
}

/// Every way that this host may have.
pub(crate) fn all() -> Vec<Way> {
    let mut ways: Vec<_> = cgroup_mounts().into_iter().map(write_procs).collect();
    ways.extend(by_mounts());
    ways.extend(by_namespaces());
    ways.extend(by_descriptors());
    ways.extend(by_processes());
    ways.extend(by_kernel());
    ways
}

fn write_procs(mount: CgroupMount) -> Way {
    Way::new(format!("write to {}", mount.point.display()), move |outside| {
        move_to(&outside.group_in(&mount.point))
    })
}

fn by_mounts() -> Vec<Way> {
    vec![
        Way::new("remount cgroup2 writable", |outside| {
            apart();
            let group = outside.v2_group();
            let point = group.parent().ok_or("it has a parent")?;
            told(mount_remount(point, MountFlags::BIND, c""))?;
            move_to(&group)
        }),
        Way::new("bind cgroup2 elsewhere", |outside| {
            apart();
            let group = outside.v2_group();
            told(mount_bind(&group, &outside.directory))?;
            move_to(&outside.directory)
        }),
        Way::new("mount a fresh cgroup2", |outside| {
            apart();
            told(mount("none", &outside.directory, "cgroup2", MountFlags::empty(), None))?;
            let group = outside.v2_group();
            move_to(&outside.directory.join(group.file_name().ok_or("it has a name")?))
        }),
        Way::new("mount a fresh cgroup", |outside| {
            apart();
            let option = c"none,name=systemd";
            told(mount("none", &outside.directory, "cgroup", MountFlags::empty(), Some(option)))
        })
        .needs("/sys/fs/cgroup/systemd"),
        Way::new("mount a fresh proc", |outside| {
            apart();
            told(mount("none", &outside.directory, "proc", MountFlags::empty(), None))?;
            rewrite(&outside.directory.join("sys/kernel/core_pattern"))
        }),
        Way::new("lift an own limit", |_| {
            let text = told(fs::read_to_string("/proc/self/cgroup"))?;
            let own = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("not in v2")?;
            let mounts = cgroup_mounts();
            let v2 = mounts.iter().find(|mount| mount.is_v2).ok_or("no v2")?;
            let mut group = v2.point.join(own);
            // In a cgroup namespace of its own the path is not the host's: look for the group.
            if own.is_empty() {
                group = told(own_group(&v2.point))?;
            }
            told(fs::write(group.join("cgroup.max.depth"), "max"))
        }),
    ]
}

fn by_namespaces() -> Vec<Way> {
    let join = |name: &'static str, kind| {
        Way::new(format!("setns to the {name} namespace outside"), move |outside| {
            let namespace = told(File::open(format!("/proc/{}/ns/{name}", outside.strong)))?;
            apart();
            told(move_into_link_name_space(namespace.as_fd(), Some(kind)))
        })
    };
    vec![
        join("mnt", LinkNameSpaceType::Mount),
        join("cgroup", LinkNameSpaceType::ControlGroup),
        Way::new("nsenter", |outside| {
            let target = outside.strong.to_string();
            told(Command::new("nsenter").args(["-t", &target, "-m", "-C", "true"]).status())
                .and_then(|status| if status.success() { Ok(()) } else { Err(status.to_string()) })
        })
        .needs("/usr/bin/nsenter"),
        Way::new("a user namespace, and a fresh cgroup2", |outside| {
            let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP;
            told(unshare(flags))?;
            told(mount("none", &outside.directory, "cgroup2", MountFlags::empty(), None))
        }),
        Way::new("a user namespace by clone", |_| {
            told(Command::new("unshare").args(["-U", "-f", "true"]).status())
                .and_then(|status| if status.success() { Ok(()) } else { Err(status.to_string()) })
        })
        .needs("/usr/bin/unshare"),
        Way::new("a mount namespace", |_| told(unshare(UnshareFlags::NEWNS))),
    ]
}

fn by_descriptors() -> Vec<Way> {
    vec![
        Way::new("an inherited directory of cgroupfs", |_| {
            told(fs::write("/proc/self/fd/7/cgroup.procs", "0"))
        }),
        Way::new("an inherited directory of the host", |outside| {
            let group = outside.v2_group();
            let path = group.strip_prefix("/").map_err(|error| error.to_string())?;
            move_to(&Path::new("/proc/self/fd/8").join(path))
        }),
    ]
}

fn by_processes() -> Vec<Way> {
    let root_of = |who: &'static str, pid: fn(&Outside) -> i32| {
        Way::new(format!("the root directory of {who}"), move |outside| {
            let group = outside.v2_group();
            let path = group.strip_prefix("/").map_err(|error| error.to_string())?;
            move_to(&Path::new(&format!("/proc/{}/root", pid(outside))).join(path))
        })
    };
    let trace = |who: &'static str, pid: fn(&Outside) -> i32| {
        Way::new(format!("trace {who}"), move |outside| {
            let pid = Pid::from_raw(pid(outside));
            told(ptrace::seize(pid, ptrace::Options::empty()))?;
            Ok(())
        })
    };
    let memory = |who: &'static str, pid: fn(&Outside) -> i32| {
        Way::new(format!("write to the memory of {who}"), move |outside| {
            let memory = format!("/proc/{}/mem", pid(outside));
            told(OpenOptions::new().write(true).open(memory)).map(drop)
        })
    };
    vec![
        root_of("pid 1", |_| 1).needs("/proc/1/root/proc"),
        root_of("a process outside", |outside| outside.strong),
        root_of("a weaker process of its user", |outside| outside.weak),
        trace("a process outside", |outside| outside.strong),
        trace("a weaker process of its user", |outside| outside.weak),
        memory("a process outside", |outside| outside.strong),
        memory("a weaker process of its user", |outside| outside.weak),
        Way::new("signal a process outside", |outside| {
            told(kill(Pid::from_raw(outside.strong), None))
        })
        .needs(signal_scope()),
    ]
}

fn by_kernel() -> Vec<Way> {
    let file = |path: &'static str| Way::new(path, move |_| rewrite(Path::new(path))).needs(path);
    let v1 = cgroup_mounts().into_iter().find(|mount| !mount.is_v2);
    let agent = v1.map(|mount| mount.point.join("release_agent")).unwrap_or_default();
    vec![
        file("/proc/sys/kernel/core_pattern"),
        file("/proc/sys/kernel/modprobe"),
        file("/sys/kernel/uevent_helper"),
        file("/sys/kernel/mm/transparent_hugepage/enabled"),
        Way::new("release_agent", {
            let agent = agent.clone();
            move |_| rewrite(&agent)
        })
        .needs(agent),
        Way::new("sysrq-trigger", |_| {
            told(OpenOptions::new().write(true).open("/proc/sysrq-trigger")).map(drop)
        })
        .needs("/proc/sysrq-trigger"),
        Way::new("mknod of a block device", |outside| {
            let path = outside.directory.join("disk");
            told(mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR, rustix::fs::makedev(7, 0)))
        }),
    ]
}

/// A file that is there where the kernel can keep signals inside (Linux 6.12 with Landlock 6).
fn signal_scope() -> &'static str {
    let version = rustix::system::uname();
    let release = version.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let release: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if release >= (6, 12) { "/proc/self" } else { "/proc/Linux 6.12" }
}

/// Moves this process into the group, and looks whether it did.
fn move_to(group: &Path) -> Tried {
    told(fs::write(group.join("cgroup.procs"), "0"))?;
    let pids = told(fs::read_to_string(group.join("cgroup.procs")))?;
    let own = std::process::id().to_string();
    if pids.lines().any(|pid| pid == own) { Ok(()) } else { Err("still where it was".to_owned()) }
}

/// Writes to a file of the kernel what it holds; of several choices, the one in brackets.
fn rewrite(path: &Path) -> Tried {
    let text = told(fs::read_to_string(path))?;
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    told(fs::write(path, chosen.map_or(text.as_str(), |(chosen, _)| chosen)))
}

/// Where it may, leaves the host's mount namespace first: a try that works changes nothing there.
fn apart() {
    if unshare(UnshareFlags::NEWNS).is_ok() {
        let private = rustix::mount::MountPropagationFlags::PRIVATE;
        let below = rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private | below).expect("a namespace of one's own");
    }
}

#[expect(deprecated, reason = "the safe form: no descriptor table is unshared here")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// The group below `top` that holds this process.
fn own_group(top: &Path) -> std::io::Result<PathBuf> {
    let own = std::process::id().to_string();
    for entry in fs::read_dir(top)? {
        let path = entry?.path();
        let pids = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        if pids.lines().any(|pid| pid == own) {
            return Ok(path);
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}

fn told<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
