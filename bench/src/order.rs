//! `bench order`: where the linker is to put what `contain run` executes, for `src/bin/contain/order.ld`.
//!
//! A run comes to a tenth of the code, which would lie all over it: a page fault maps the sixteen pages around it. A run
//! on each backend is taken step by step with its guardian or its keeper, and then a library's helper with two keepers.
//! That takes minutes, and the functions that they come to are told in their order, by patterns that outlive a change
//! elsewhere: names without their hashes. Those of the helper's keepers are the first: a forked process has no page of the
//! code mapped.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use containment::registry::{Registry, Tenure};
use containment::{Backend, Containment, Policy, Program, Proof};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::backends::contain;
use crate::measure::Result;

/// The last one has a keeper that keeps a record.
const RUNS: [&[&str]; 5] = [
    &["--backend", "cgroup-v2"],
    &["--backend", "hybrid"],
    &["--backend", "cgroup-v1"],
    &["--backend", "process-group"],
    &["--backend", "process-group", "--orphans", "keep"],
];

const HEAD: &str = "/* What `contain run` executes (its own processes do), and a helper, its keepers first, in the order in which they come to it, so that it lies\n   \
                    together. Made by `just order`; what matches nothing does no harm. */\n";

/// Prints the script.
pub fn print() -> Result<()> {
    let binary = contain()?;
    let functions = functions(&binary)?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report");
    let report = report.to_str().ok_or("a directory with an odd name")?;
    let (mut known, mut patterns) = (HashSet::new(), Vec::new());
    let mut take = |places: Vec<u64>| {
        for place in places {
            let Some((_, names)) = functions.range(..=place).next_back() else { continue };
            let new = names.iter().map(|name| pattern(name));
            patterns.extend(new.filter(|pattern| known.insert(pattern.clone())));
        }
    };
    let mut helper = steps_of_helper(&binary, directory.path())?.into_iter();
    let own = helper.next().unwrap_or_default();
    helper.for_each(&mut take);
    for how in RUNS {
        let words = [&["run"], how, &["--report", report, "--", "true"]].concat();
        steps_of_run(&binary, &words)?.into_iter().for_each(&mut take);
    }
    take(own);
    let lines: String =
        patterns.iter().map(|pattern| format!("    *(.text.{pattern})\n")).collect();
    print!("{HEAD}SECTIONS {{\n  .text.run : {{\n{lines}  }}\n}}\nINSERT BEFORE .text;\n");
    Ok(())
}

/// The names at each place where a function begins.
fn functions(binary: &Path) -> Result<BTreeMap<u64, Vec<String>>> {
    let told = Command::new("nm").arg("--defined-only").arg(binary).output()?;
    let mut functions = BTreeMap::<u64, Vec<String>>::new();
    for line in String::from_utf8(told.stdout)?.lines() {
        if let [place, "t" | "T" | "w" | "W", name] = line.split(' ').collect::<Vec<_>>()[..] {
            let place = u64::from_str_radix(place, 16)?;
            functions.entry(place).or_default().push(name.to_owned());
        }
    }
    if functions.is_empty() { Err("the binary has no symbols".into()) } else { Ok(functions) }
}

/// Hashes change with the compiler and with a crate's version; `$` would begin a name of the linker's.
fn pattern(name: &str) -> String {
    let name = name.replace('$', "?");
    match name.rfind("17h") {
        Some(hash) if name.starts_with("_ZN") => format!("{}17h*E", &name[..hash]),
        _ if name.starts_with("_R") => without_crate_hashes(&name),
        _ => name,
    }
}

/// `NtCs7BliBxkEZsN_4core3str` is `NtCs*_4core3str`.
fn without_crate_hashes(name: &str) -> String {
    let mut parts = name.split("Cs");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let crate_hash = part.find('_').filter(|end| {
            (8..=12).contains(end) && part[..*end].bytes().all(|b| b.is_ascii_alphanumeric())
        });
        whole.push_str("Cs");
        whole.push_str(&crate_hash.map_or(part.to_owned(), |end| format!("*{}", &part[end..])));
    }
    whole
}

fn steps_of_run(binary: &Path, words: &[&str]) -> Result<Vec<Vec<u64>>> {
    let child = Command::new("sh")
        .args(["-c", STOPPED, "sh"])
        .arg(binary)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let first = Pid::from_raw(child.id().try_into()?);
    waitpid(first, Some(WaitPidFlag::WUNTRACED))?;
    steps(binary, first).map_err(|error| format!("{words:?}: {error}").into())
}

/// A supervisor's, who has it start two programs.
fn steps_of_helper(binary: &Path, directory: &Path) -> Result<Vec<Vec<u64>>> {
    let [script, told, state] = ["helper", "pid", "state"].map(|name| directory.join(name));
    let text = format!(
        "#!/bin/sh\necho $$ >{0}.new && mv {0}.new {0}\nset -- {1} \"$@\"\n{STOPPED}\n",
        told.display(),
        binary.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let supervisor = thread::spawn(move || supervise(&script, &state).map_err(|e| e.to_string()));
    let pid = loop {
        match fs::read_to_string(&told) {
            Ok(pid) => break Pid::from_raw(pid.trim().parse()?),
            Err(_) if supervisor.is_finished() => break Pid::from_raw(0),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    let found = if pid.as_raw() == 0 {
        Err("the helper was not started".into())
    } else {
        waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        steps(binary, pid)
    };
    supervisor.join().map_err(|_| "the supervisor panicked")??;
    found
}

fn supervise(helper: &Path, state: &Path) -> Result<()> {
    let registry = Registry::open(Some(state))?;
    let builder = Containment::builder().backend(Backend::ProcessGroup).proof(Proof::OnUse);
    let host = builder.registry(&registry, Tenure::Owner).helper(helper).build()?;
    let group = host.group("order").create()?;
    for _ in 0..2 {
        group.spawn(&Program::new("/bin/true"))?.wait()?;
    }
    let report = group.terminate(&Policy::kill())?;
    if report.is_clean() { Ok(()) } else { Err(format!("a group was left: {report:?}").into()) }
}

/// A shell's line: the process stops itself before it becomes the binary.
const STOPPED: &str = "kill -STOP $$; exec \"$@\"";

/// Each place in the binary that a process comes to which has stopped itself, the first time; and each that those come to
/// which it starts, until they become another program.
fn steps(binary: &Path, first: Pid) -> Result<Vec<Vec<u64>>> {
    execute(first)?;
    let mut all = vec![Stepped::of(first, binary)?];
    ptrace::step(first, None)?;
    while all.iter().any(|process| process.runs) {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            // The supervisor has waited for its helper itself.
            Err(Errno::ECHILD) => break,
            status => status?,
        };
        let pid = status.pid().ok_or("nothing happened")?;
        let place = match all.iter().position(|process| process.pid == pid && process.runs) {
            Some(place) => place,
            None => {
                all.push(Stepped::of(pid, binary)?);
                all.len() - 1
            }
        };
        let process = &mut all[place];
        let signal = match status {
            WaitStatus::Exited(_, 1..) | WaitStatus::Signaled(..) if pid == first => {
                return Err(format!("ended by {status:?}").into());
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                process.runs = false;
                continue;
            }
            status if has_executed(status) && !executes(pid, binary) => {
                process.runs = false;
                ptrace::detach(pid, None)?;
                continue;
            }
            status if has_executed(status) => {
                (process.base, process.end) = mapping(pid, binary)?;
                None
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {
                if let Some(registers) = unless_killed(ptrace::getregs(pid))? {
                    process.note(registers.rip);
                }
                None
            }
            WaitStatus::Stopped(_, other) => Some(other),
            _ => None,
        };
        unless_killed(ptrace::step(pid, signal))?;
    }
    Ok(all.into_iter().map(|process| process.places).collect())
}

/// Has it become the binary, about to execute its first instruction; who it starts is followed.
fn execute(stopped: Pid) -> Result<()> {
    let exec = Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(stopped, exec)?;
    kill(stopped, Signal::SIGCONT)?;
    while !has_executed(waitpid(stopped, None)?) {
        ptrace::cont(stopped, None)?;
    }
    let children = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    Ok(ptrace::setoptions(stopped, exec | children | Options::PTRACE_O_TRACECLONE)?)
}

/// A process that is taken step by step.
struct Stepped {
    pid: Pid,
    runs: bool,
    /// Where it has the binary.
    base: u64,
    end: u64,
    known: HashSet<u64>,
    places: Vec<u64>,
}

impl Stepped {
    fn of(pid: Pid, binary: &Path) -> Result<Self> {
        let (base, end) = mapping(pid, binary)?;
        Ok(Self { pid, runs: true, base, end, known: HashSet::new(), places: Vec::new() })
    }

    /// Elsewhere is the kernel's own page of code.
    fn note(&mut self, at: u64) {
        if (self.base..self.end).contains(&at) && self.known.insert(at) {
            self.places.push(at - self.base);
        }
    }
}

/// Who was killed while he stood still is told of next.
fn unless_killed<T>(done: nix::Result<T>) -> Result<Option<T>> {
    match done {
        Err(Errno::ESRCH) => Ok(None),
        done => Ok(Some(done?)),
    }
}

fn executes(pid: Pid, binary: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|executed| executed == binary)
}

fn has_executed(status: WaitStatus) -> bool {
    const EXEC: i32 = ptrace::Event::PTRACE_EVENT_EXEC as i32;
    matches!(status, WaitStatus::PtraceEvent(_, _, EXEC))
}

/// From where to where a process has the binary in its memory; for one that may lie anywhere, places are told from there.
fn mapping(pid: Pid, binary: &Path) -> Result<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let name = binary.file_name().and_then(|name| name.to_str()).ok_or("an odd name")?;
    let of_binary = maps.lines().filter(|line| line.ends_with(name));
    let ranges: Vec<_> =
        of_binary.filter_map(|line| line.split(' ').next()?.split_once('-')).collect();
    let (Some((first, _)), Some((_, last))) = (ranges.first(), ranges.last()) else {
        return Err("the process does not have the binary in its memory".into());
    };
    Ok((u64::from_str_radix(first, 16)?, u64::from_str_radix(last, 16)?))
}
