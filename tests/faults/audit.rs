//! What is left of a job: its living processes, its directories in the cgroup hierarchies, its files in the
//! state directory. Nothing here shares code with the product: `/proc` and the file systems are read as they
//! are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) comm: String,
}

/// The living processes that carry `mark` in their arguments or their environment; not the tracer.
pub(crate) fn marked(mark: &str) -> Vec<Process> {
    let found = pids().into_iter().filter(|pid| carries(*pid, mark)).filter_map(living);
    found.filter(|process| process.comm != "strace").collect()
}

fn carries(pid: u32, mark: &str) -> bool {
    let holds = |file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    holds("cmdline") || holds("environ")
}

fn living(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything (proc_pid_stat(5)).
    let (start, end) = stat.rsplit_once(')')?;
    let state = end.trim_start().chars().next()?;
    let comm = start.split_once('(')?.1.to_owned();
    (!matches!(state, 'Z' | 'X')).then_some(Process { pid, comm })
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process is still there and no zombie.
pub(crate) fn lives(pid: u32) -> bool {
    living(pid).is_some()
}

/// Whether somebody traces a process.
pub(crate) fn is_traced(pid: u32) -> bool {
    status_of(pid, "TracerPid:").is_some_and(|tracer| tracer != 0)
}

/// How many of `others` are above a process.
pub(crate) fn depth(pid: u32, others: &[u32]) -> usize {
    let parent = |pid: &u32| status_of(*pid, "PPid:").filter(|parent| others.contains(parent));
    std::iter::successors(parent(&pid), parent).count()
}

fn status_of(pid: u32, field: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

/// The directories of the cgroup hierarchies that are called `name`, or that are a probe of one of `pids`.
pub(crate) fn groups(name: &str, pids: &[u32]) -> Vec<PathBuf> {
    let probes: Vec<_> = pids.iter().map(|pid| format!("contain-probe-{pid}-")).collect();
    let mut found = Vec::new();
    let mut open = mounts();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let called = entry.file_name();
            let called = called.to_str().unwrap_or_default();
            if called == name || probes.iter().any(|probe| called.starts_with(probe)) {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    found
}

/// The mount points of cgroup file systems.
fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &str| {
        let (first, second) = line.split_once(" - ")?;
        second.starts_with("cgroup").then(|| first.split(' ').nth(4).map(PathBuf::from))?
    };
    text.lines().filter_map(point).collect()
}

/// The names of the files in a directory.
pub(crate) fn files(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Removes a group's directory and those in it.
pub(crate) fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    // What is frozen does not die; what is gone is no failure.
    let _ = fs::write(group.join("freezer.state"), "THAWED");
    let _ = fs::write(group.join("cgroup.freeze"), "0");
    let _ = fs::remove_dir(group);
}

/// Sends a signal by name; a process that is gone is no failure.
pub(crate) fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &pid.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    kill.status().expect("kill(1) is here");
}

/// Looks until `happened` or the time is up; gives how long it took, to an eighth of it. A look reads all of
/// `/proc`, and takes the time from those who are waited for.
pub(crate) fn within(time: Duration, mut happened: impl FnMut() -> bool) -> Option<Duration> {
    let start = Instant::now();
    loop {
        if happened() {
            return Some(start.elapsed());
        }
        if start.elapsed() > time {
            return None;
        }
        let pause = start.elapsed() / 8;
        std::thread::sleep(pause.clamp(Duration::from_millis(1), Duration::from_millis(20)));
    }
}
