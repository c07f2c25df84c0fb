//! What does a helper cost? The time until a supervisor has one (1 ms is allowed), the memory that nobody shares
//! with it (1536 KiB are allowed), and a spawn by its keepers beside one of our own.
//!
//! `cargo bench --bench helper [-- CONTAIN]` (the helper's program; default: the one of this build).

use std::io::{BufRead as _, BufReader, Read as _};
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
        memory(backend, &helper, state.path());
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time until `build` returns, with a helper and without.
fn start(backend: Backend, helper: &Path, state: &Path) -> Result<()> {
    let (mut with, mut without, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare_spawn(helper));
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
    let (with, without, bare) = (median(with), median(without), median(bare));
    let took = with.saturating_sub(without);
    println!("{backend}: a helper is started in {took:.0?}; posix_spawn alone takes {bare:.0?}");
    Ok(())
}

/// The time in which the standard library starts the same program, which then finds no supervisor and ends.
fn bare_spawn(helper: &Path) -> Duration {
    let mut command = Command::new(helper);
    command.arg("guard").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().expect("it can be run");
    let took = started.elapsed();
    child.wait().expect("it is our child");
    took
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

/// What the helper of a supervisor with groups has for itself, once it has given back what its start took.
fn memory(backend: Backend, helper: &Path, state: &Path) {
    let mut supervisor = Command::new(std::env::current_exe().expect("it is this program"))
        .args(["supervisor", backend.name()])
        .args([helper, state])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut said = BufReader::new(supervisor.stdout.take().expect("it is piped")).lines();
    let pid = said.next().expect("it speaks").expect("it speaks");
    let begun = Own::of(&pid);
    let until = Instant::now() + Duration::from_secs(13);
    while Own::of(&pid).code == begun.code && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let Own { code, data, heap_and_stack } = Own::of(&pid);
    let all = code + data + heap_and_stack;
    println!(
        "{backend}: {all} KiB are the helper's own with {GROUPS} groups ({code} of its program's file, {data} \
         relocated, {heap_and_stack} heap and stack); {} before it was idle",
        begun.code + begun.data + begun.heap_and_stack
    );
    drop(supervisor.stdin.take());
    assert!(supervisor.wait().expect("it is our child").success());
}

/// The memory that nobody shares with a process, in KiB (`/proc/PID/smaps`, its `Private_` lines).
#[derive(Debug, Default)]
struct Own {
    /// Pages of the program's file that no other process has mapped: the page cache holds them anyway.
    code: u64,
    /// Pages of files that were written to.
    data: u64,
    heap_and_stack: u64,
}

impl Own {
    fn of(pid: &str) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it lives");
        let (mut own, mut of_file) = (Self::default(), false);
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let kib = || words[1].parse::<u64>().expect("it is in KiB");
            match words[0] {
                "Private_Clean:" => own.code += kib(),
                "Private_Dirty:" if of_file => own.data += kib(),
                "Private_Dirty:" => own.heap_and_stack += kib(),
                field if field.ends_with(':') => {}
                _ => of_file = words.last().is_some_and(|name| name.starts_with('/')),
            }
        }
        own
    }
}

/// Starts groups, tells the pid of the helper, and ends when nobody listens any more.
fn supervise(backend: &str, helper: &Path, state: &Path) -> Result<()> {
    let backend = BACKENDS.into_iter().find(|known| known.name() == backend).expect("a backend");
    let registry = Registry::open(Some(state))?;
    let builder = Containment::builder().backend(backend).registry(&registry, Tenure::Owner);
    let host = builder.helper(helper).build()?;
    let helper = children().pop().expect("the helper is the first child");
    let mut groups = Vec::new();
    for number in 0..GROUPS {
        let group = host.group(format!("bench-{}-{number}", std::process::id())).create()?;
        let program = Program::new("sleep").arg("1000").stdin(Stream::Null).stdout(Stream::Null);
        group.spawn(&program)?;
        groups.push(group);
    }
    println!("{helper}");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("it can be heard");
    for group in groups {
        assert!(group.terminate(&Policy::kill())?.is_clean());
    }
    registry.close()
}

fn children() -> Vec<String> {
    let children = format!("/proc/self/task/{}/children", std::process::id());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}
