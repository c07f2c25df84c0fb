//! What a run could leave behind: processes, zombies, directories of the cgroup hierarchies.
//!
//! Nothing here uses the code under test: `/proc` and the mounts are read as they are.

use std::fs;
use std::path::{Path, PathBuf};

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) comm: String,
}

/// The living processes that carry `mark` in their arguments or their environment.
pub(crate) fn marked(mark: &str) -> Vec<Process> {
    pids().filter(|pid| carries(*pid, mark)).filter_map(process).collect()
}

/// A first thread that has ended has neither any more; the others have them still.
fn carries(pid: i32, mark: &str) -> bool {
    let holds = |directory: &Path, file: &str| {
        let text = fs::read(directory.join(file)).unwrap_or_default();
        text.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    threads(pid).any(|thread| holds(&thread, "cmdline") || holds(&thread, "environ"))
}

fn process(pid: i32) -> Option<Process> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Process { pid, comm: comm.trim_end().to_owned() })
}

/// The zombies of the session `session`, and those among `pids`.
pub(crate) fn zombies(session: i32, known: &[i32]) -> Vec<i32> {
    let is_one = |pid: &i32| {
        stat(*pid).is_some_and(|stat| {
            stat.state == 'Z' && (stat.session == session || known.contains(pid)) && !runs(*pid)
        })
    };
    pids().filter(is_one).collect()
}

/// The children of this process, whatever their state.
pub(crate) fn children_of_this_process() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).expect("pids are positive");
    pids().filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == own)).collect()
}

/// The state letter of `pid`, if there is such a process.
pub(crate) fn state(pid: i32) -> Option<char> {
    stat(pid).map(|stat| stat.state)
}

/// Whether `pid` executes anything: it is there, and one of its threads is neither a zombie nor on its way to become
/// one. The kernel tells that a group is empty shortly before it shows a zombie, and shows one where the first thread
/// alone has ended.
pub(crate) fn runs(pid: i32) -> bool {
    let mut stats = threads(pid).filter_map(|thread| stat_at(&thread));
    stats.any(|stat| stat.state != 'Z' && !stat.exiting)
}

/// The parent of `pid`, if there is such a process.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.parent)
}

struct Stat {
    state: char,
    parent: i32,
    session: i32,
    exiting: bool,
}

/// `PF_EXITING` (`include/linux/sched.h`).
const EXITING: u32 = 0x4;

fn stat(pid: i32) -> Option<Stat> {
    stat_at(Path::new(&format!("/proc/{pid}")))
}

/// Of a process, or of a thread.
fn stat_at(directory: &Path) -> Option<Stat> {
    let text = fs::read_to_string(directory.join("stat")).ok()?;
    // The command's name, in parentheses, may hold anything (proc_pid_stat(5)).
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let flags: u32 = fields.nth(2)?.parse().ok()?;
    Some(Stat { state, parent, session, exiting: flags & EXITING != 0 })
}

/// The directories of the threads of `pid`; none where it is gone.
fn threads(pid: i32) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Every directory called `name` in the cgroup hierarchies.
pub(crate) fn groups_called(name: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|last| last == name);
    groups().into_iter().filter(is_it).collect()
}

/// Every directory of the cgroup hierarchies.
pub(crate) fn groups() -> Vec<PathBuf> {
    cgroup_mounts().iter().flat_map(|mount| directories(mount)).collect()
}

/// The group of `pid` in the hierarchy of `controller`, or in the unified one (`""`).
pub(crate) fn group_of(pid: i32, controller: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then(|| path.to_owned())
    };
    text.lines().find_map(path)
}

/// The mount point of the hierarchy of version 1 that carries a controller.
pub(crate) fn mount_of(controller: &str) -> Option<PathBuf> {
    let carries = |options: &str| options.split(',').any(|option| option == controller);
    mounts(|fs_type, options| fs_type == "cgroup" && carries(options)).into_iter().next()
}

/// The mount points of cgroup file systems.
fn cgroup_mounts() -> Vec<PathBuf> {
    mounts(|fs_type, _| fs_type.starts_with("cgroup"))
}

/// The mount points of file systems of a type, and with super options, that will do.
fn mounts(will_do: impl Fn(&str, &str) -> bool) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let mount = |line: &str| {
        let (first, second) = line.split_once(" - ")?;
        let mut second = second.split(' ');
        let (fs_type, options) = (second.next()?, second.nth(1)?);
        let point = first.split(' ').nth(4)?;
        will_do(fs_type, options).then(|| PathBuf::from(point))
    };
    text.lines().filter_map(mount).collect()
}

/// The directories below `top`; those that vanish meanwhile are passed over.
fn directories(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let below = entries.filter_map(Result::ok).filter(is_dir).map(|entry| entry.path());
        let below: Vec<_> = below.collect();
        found.extend(below.iter().cloned());
        open.extend(below);
    }
    found
}
