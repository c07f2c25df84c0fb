//! How soon is everything gone when a supervisor is killed? SIGKILL to `contain run` with three processes, and to
//! a library's supervisor with twenty groups and a helper; the time until the last process has ended, its guardian,
//! helper and keepers included, and the last directory and record are removed. 100 ms are allowed. The record of a
//! process group of `contain run` is not waited for: `contain gc` removes it.
//!
//! `cargo bench --bench orphans [-- CONTAIN [KILLS]]` (the program of `run` and of the helper; default: the one of
//! this build, 200 times). Ends with 1 where one takes longer.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use containment::registry::{Registry, Tenure};
use containment::{Backend, Containment, Program, Result, Stream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const KILLS: usize = 200;
const GROUPS: usize = 20;
const ALLOWED: Duration = Duration::from_millis(100);
const BACKENDS: [Backend; 4] =
    [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];

/// A daemon, one that ignores SIGTERM, and one more.
const PROGRAM: &str =
    "setsid sleep 1000 & (trap '' TERM; exec sleep 1001) & echo up; exec sleep 1002";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [role, backend, helper, state, name] = &words[..]
        && role == "supervisor"
    {
        supervise(backend, Path::new(helper), Path::new(state), name).expect("it can be used");
        return ExitCode::SUCCESS;
    }
    let contain = words.first().map_or_else(|| env!("CARGO_BIN_EXE_contain").into(), PathBuf::from);
    let kills = words.get(1).map_or(KILLS, |word| word.parse().expect("a number of kills"));
    println!("{}, {kills} kills each", contain.display());
    let mut in_time = true;
    for backend in BACKENDS {
        if Containment::builder().backend(backend).build().is_err() {
            println!("{backend}: not on this host");
            continue;
        }
        let run: Starter = &|state, name| by_run(backend, &contain, state, name);
        let library: Starter = &|state, name| by_library(backend, &contain, state, name);
        let by_keeper = backend == Backend::ProcessGroup;
        for (what, start, records) in
            [("contain run", run, !by_keeper), ("20 groups with a helper", library, true)]
        {
            let mut times: Vec<_> =
                (0..kills).map(|number| killed(number, start, records)).collect();
            times.sort_unstable();
            let (median, most, max) = (times[kills / 2], times[kills * 95 / 100], times[kills - 1]);
            println!(
                "{backend}, {what}: {median:.1?} (median), {most:.1?} (95 %), {max:.1?} (max)"
            );
            in_time &= max <= ALLOWED;
        }
    }
    ExitCode::from(u8::from(!in_time))
}

/// Starts a supervisor with a state directory and a name for its groups; it says a line when all is up.
type Starter<'a> = &'a dyn Fn(&Path, &str) -> Command;

/// How long after its supervisor's death all of it is gone, its records too where they are waited for.
fn killed(number: usize, start: Starter<'_>, records: bool) -> Duration {
    let state = tempfile::tempdir().expect("a directory can be made");
    let name = format!("orphans-{}-{number}", std::process::id());
    let command = &mut start(state.path(), &name);
    let mut supervisor = command.stdout(Stdio::piped()).spawn().expect("it can be run");
    let mut said = BufReader::new(supervisor.stdout.take().expect("it is piped"));
    assert!(said.read_line(&mut String::new()).is_ok_and(|read| read > 0), "it did not come up");
    let watched: Vec<_> = descendants(supervisor.id()).into_iter().filter_map(pidfd).collect();
    let groups = groups(&name);
    let started = Instant::now();
    supervisor.kill().expect("it is our child");
    await_end(&watched, started);
    let is_on_record = || fs::read_dir(&state).is_ok_and(|mut files| files.next().is_some());
    let is_left = || groups.iter().any(|group| group.exists()) || (records && is_on_record());
    while is_left() {
        assert!(started.elapsed() < Duration::from_secs(20), "something is left of {name}");
        std::thread::yield_now();
    }
    let took = started.elapsed();
    supervisor.wait().expect("it is our child");
    took
}

fn await_end(watched: &[OwnedFd], started: Instant) {
    for process in watched {
        let limit = Duration::from_secs(20).try_into().expect("it is short");
        let ready = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit));
        assert_eq!(ready, Ok(1), "a process lives after {:?}", started.elapsed());
    }
}

/// Everybody below a process; itself not.
fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.flat_map(|child| [child].into_iter().chain(descendants(child))).collect()
}

/// None for a process that has ended.
fn pidfd(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).expect("pids are positive"))?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// The directories in the cgroup hierarchies whose names begin so.
fn groups(name: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), mounts());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
                let called = entry.file_name();
                found.extend(called.to_string_lossy().starts_with(name).then(|| entry.path()));
            }
        }
    }
    found
}

/// The mount points of cgroup file systems.
fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let point = |line: &str| {
        let (first, second) = line.split_once(" - ")?;
        second.starts_with("cgroup").then(|| first.split(' ').nth(4).map(PathBuf::from))?
    };
    text.lines().filter_map(point).collect()
}

fn by_run(backend: Backend, contain: &Path, state: &Path, name: &str) -> Command {
    let mut command = Command::new(contain);
    command.args(["run", "--backend", backend.name(), "--name", name, "--state-dir"]).arg(state);
    command.args(["--", "sh", "-c", PROGRAM]);
    command
}

fn by_library(backend: Backend, contain: &Path, state: &Path, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it is this program"));
    command.args(["supervisor", backend.name()]).args([contain, state]).arg(name);
    command
}

/// Starts groups, says so, and waits to be killed.
fn supervise(backend: &str, helper: &Path, state: &Path, name: &str) -> Result<()> {
    let backend = BACKENDS.into_iter().find(|known| known.name() == backend).expect("a backend");
    let registry = Registry::open(Some(state))?;
    let builder = Containment::builder().backend(backend).registry(&registry, Tenure::Owner);
    let host = builder.helper(helper).build()?;
    let start = |number| {
        let group = host.group(format!("{name}-{number}")).create()?;
        let program = Program::new("sleep").arg("1000").stdin(Stream::Null).stdout(Stream::Null);
        group.spawn(&program)?;
        Ok(group)
    };
    let groups = (0..GROUPS).map(start).collect::<Result<Vec<_>>>()?;
    println!("up");
    std::thread::sleep(Duration::from_secs(60));
    drop(groups);
    Ok(())
}
