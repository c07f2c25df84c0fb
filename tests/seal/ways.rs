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
    /// The backends that have it, where not all do.
    on: Option<&'static [&'static str]>,
}

/// `Ok` when it worked; else why not.
type Tried = Result<(), String>;

impl Way {
    fn new(name: impl Into<String>, go: impl Fn(&Outside) -> Tried + Send + 'static) -> Self {
        Self { name: name.into(), go: Box::new(go), needs: None, on: None }
    }

    fn needs(mut self, file: impl Into<PathBuf>) -> Self {
        self.needs = Some(file.into());
        self
    }

    fn on(mut self, backends: &'static [&'static str]) -> Self {
        self.on = Some(backends);
        self
    }

    pub(crate) fn go(&self, outside: &Outside) -> Tried {
        (self.go)(outside)
    }

    /// Why this host does not have it on a backend, unless it does.
    pub(crate) fn why_not(&self, backend: &str) -> Option<String> {
        if self.on.is_some_and(|backends| !backends.contains(&backend)) {
            return Some(format!("a program on {backend} has no group of its own there"));
        }
        let needed = self.needs.as_deref()?;
        (!needed.exists()).then(|| format!("there is no {} for us", needed.display()))
    }
}

/// Every way that this host may have.
pub(crate) fn all() -> Vec<Way> {
    let mut ways: Vec<_> = cgroup_mounts().iter().flat_map(by_hierarchy).collect();
    ways.extend(by_mounts());
    ways.extend(by_namespaces());
    ways.extend(by_descriptors());
    ways.extend(by_processes());
    ways.extend(by_kernel());
    ways
}

/// The ways through one mounted hierarchy.
fn by_hierarchy(hierarchy: &CgroupMount) -> Vec<Way> {
    type Go = fn(&CgroupMount, &Outside) -> Tried;
    let of = |what: &str, go: Go| {
        let mount = hierarchy.clone();
        let name = what.replace("MOUNT", &mount.point.display().to_string());
        Way::new(name, move |outside| go(&mount, outside))
    };
    let mut ways = vec![
        of("write to MOUNT", |mount, outside| move_to(&outside.group_in(&mount.point))),
        of("remount MOUNT writable", |mount, outside| {
            apart();
            told(mount_remount(&mount.point, MountFlags::BIND, c""))?;
            move_to(&outside.group_in(&mount.point))
        }),
        of("bind MOUNT elsewhere", |mount, outside| {
            apart();
            told(mount_bind(outside.group_in(&mount.point), &outside.directory))?;
            move_to(&outside.directory)
        }),
        of("change the own group in MOUNT", |mount, _| {
            let file = if mount.is_v2 { "cgroup.max.depth" } else { "notify_on_release" };
            // A list of version 1 leaves out the newest member while another forks: look again.
            let own = (0..100).find_map(|_| own_group(&mount.point));
            rewrite(&own.ok_or("it is not to be found")?.join(file))
        }),
    ];
    if hierarchy.is_v2 {
        // The root, in which the processes of other backends are, lacks the file.
        let last = ways.pop().map(|way| way.on(&["cgroup-v2", "hybrid"]));
        ways.extend(last);
    } else {
        ways.push(of("write a thread to MOUNT", |mount, outside| {
            told(fs::write(outside.group_in(&mount.point).join("tasks"), "0"))
        }));
        let agent = hierarchy.point.join("release_agent");
        let ask =
            of("release_agent of MOUNT", |mount, _| rewrite(&mount.point.join("release_agent")));
        ways.push(ask.needs(agent));
    }
    ways
}

fn by_mounts() -> Vec<Way> {
    vec![
        Way::new("mount a fresh cgroup2", |outside| {
            apart();
            told(mount("none", &outside.directory, "cgroup2", MountFlags::empty(), None))?;
            move_to(&outside.group_in(&outside.directory))
        })
        .needs(v2_point()),
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
            let group = outside.group();
            let path = group.strip_prefix("/").map_err(|error| error.to_string())?;
            move_to(&Path::new("/proc/self/fd/8").join(path))
        }),
    ]
}

fn by_processes() -> Vec<Way> {
    let root_of = |who: &'static str, pid: fn(&Outside) -> i32| {
        Way::new(format!("the root directory of {who}"), move |outside| {
            let group = outside.group();
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
    vec![
        file("/proc/sys/kernel/core_pattern"),
        file("/proc/sys/kernel/modprobe"),
        file("/sys/kernel/uevent_helper"),
        file("/sys/kernel/mm/transparent_hugepage/enabled"),
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

/// Where the unified hierarchy is mounted.
fn v2_point() -> PathBuf {
    let v2 = cgroup_mounts().into_iter().find(|mount| mount.is_v2);
    v2.map_or("/no unified hierarchy".into(), |mount| mount.point)
}

/// The group at or below `top` that holds this process. In a cgroup namespace of its own the path in
/// `/proc/self/cgroup` is not the host's, so it is looked for.
fn own_group(top: &Path) -> Option<PathBuf> {
    let own = std::process::id().to_string();
    let pids = fs::read_to_string(top.join("cgroup.procs")).unwrap_or_default();
    if pids.lines().any(|pid| pid == own) {
        return Some(top.to_owned());
    }
    let below = fs::read_dir(top).into_iter().flatten().flatten();
    let mut groups = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.find_map(|entry| own_group(&entry.path()))
}

fn told<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
