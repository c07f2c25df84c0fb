//! What does a helper cost? The time until a supervisor has one, the memory that nobody shares with it, a
//! spawn by its keepers beside one of our own, and how soon everything is gone when the supervisor is killed.
//!
//! `cargo bench --bench helper [-- CONTAIN]` (the helper's program; default: the one of this build).

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use containment::registry::{Registry, Tenure};
use containment::{Backend, Containment, Policy, Program, Result, Stream};

const ROUNDS: usize = 30;
const GROUPS: usize = 20;
const BACKENDS: [Backend; 4] =
    [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];

fn main() -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let state = tempfile::tempdir().expect("a directory can be made");
    if let [role, backend, helper, state] = &words[..]
        && role == "supervisor"
    {
        return supervise(backend, Path::new(helper), Path::new(state));
    }
    let helper = words.iter().find(|word| word.contains('/')).map(PathBuf::from);
    let helper = helper.unwrap_or_else(|| env!("CARGO_BIN_EXE_contain").into());
    println!("helper: {}", helper.display());
    for backend in BACKENDS {
        let builder = Containment::builder().backend(backend);
        if builder.build().is_err() {
            println!("{backend}: not on this host");
            continue;
        }
        start(backend, &helper, state.path())?;
        spawn(backend, &helper, state.path())?;
        kill(backend, &helper, state.path());
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time until `build` returns, with a helper and without.
fn start(backend: Backend, helper: &Path, state: &Path) -> Result<()> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let registry = Registry::open(Some(state))?;
        let builder = Containment::builder().backend(backend).registry(&registry, Tenure::Owner);
        let started = Instant::now();
        let plain = builder.build()?;
        without.push(started.elapsed());
        drop(plain);
        let started = Instant::now();
        let host = builder.helper(helper).build()?;
        with.push(started.elapsed());
        assert!(host.degraded().is_empty(), "{:?}", host.degraded());
        registry.close()?;
    }
    let (with, without) = (median(with), median(without));
    println!("{backend}: a helper is started in {:?}", with.saturating_sub(without));
    Ok(())
}

/// `/bin/true` in a lasting group, started by a keeper and by ourselves.
fn spawn(backend: Backend, helper: &Path, state: &Path) -> Result<()> {
    let registry = Registry::open(Some(state))?;
    let builder = Containment::builder().backend(backend).registry(&registry, Tenure::Lasting);
    for (how, host) in
        [("ourselves", builder.build()?), ("a keeper", builder.helper(helper).build()?)]
    {
        let group = host.group(format!("bench-helper-{}", std::process::id())).create()?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            std::thread::sleep(Duration::from_millis(20));
            let started = Instant::now();
            group.spawn(&Program::new("/bin/true"))?.wait()?;
            times.push(started.elapsed());
            group.ops().reap()?;
        }
        println!("{backend}: /bin/true by {how} takes {:?}", median(times));
        assert!(group.terminate(&Policy::kill())?.is_clean());
    }
    Ok(())
}

/// How long after the supervisor's death the last of its groups and processes is gone, and what the helper
/// had for itself before that.
fn kill(backend: Backend, helper: &Path, state: &Path) {
    let mut supervisor = Command::new(std::env::current_exe().expect("it is this program"))
        .args(["supervisor", backend.name()])
        .args([helper, state])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut said = BufReader::new(supervisor.stdout.take().expect("it is piped")).lines();
    let said = said.next().expect("it speaks").expect("it speaks");
    let pids: Vec<_> = said.split_whitespace().map(str::to_owned).collect();
    let own: u64 = pids.iter().skip(GROUPS).map(|helper| unshared(helper)).max().unwrap_or(0);
    println!("{backend}: {own} KiB are the helper's own");
    supervisor.kill().expect("it is our child");
    let started = Instant::now();
    supervisor.wait().expect("it is our child");
    let lives = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    while pids.iter().any(lives) || std::fs::read_dir(state).is_ok_and(|files| files.count() > 0) {
        assert!(started.elapsed() < Duration::from_secs(20), "something is left: {pids:?}");
        std::thread::yield_now();
    }
    println!("{backend}: {GROUPS} groups are gone {:?} after the kill", started.elapsed());
}

fn unshared(pid: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// Starts groups, tells the pids of their programs and then of the helper, and waits to be killed.
fn supervise(backend: &str, helper: &Path, state: &Path) -> Result<()> {
    let backend = BACKENDS.into_iter().find(|known| known.name() == backend).expect("a backend");
    let registry = Registry::open(Some(state))?;
    let builder = Containment::builder().backend(backend).registry(&registry, Tenure::Owner);
    let host = builder.helper(helper).build()?;
    let mut pids = Vec::new();
    let mut groups = Vec::new();
    for number in 0..GROUPS {
        let group = host.group(format!("bench-{}-{number}", std::process::id())).create()?;
        let program = Program::new("sleep").arg("1000").stdin(Stream::Null).stdout(Stream::Null);
        pids.push(group.spawn(&program)?.pid().to_string());
        groups.push(group);
    }
    let children = format!("/proc/self/task/{}/children", std::process::id());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let helpers = children.split_whitespace().filter(|child| !pids.iter().any(|pid| pid == child));
    let helpers: Vec<_> = helpers.map(str::to_owned).collect();
    println!("{} {}", pids.join(" "), helpers.join(" "));
    std::thread::sleep(Duration::from_secs(60));
    drop(groups);
    Ok(())
}
