//! `bench order`: where the linker is to put what `contain run` executes, for `src/bin/contain/order.ld`.
//!
//! A run comes to a tenth of the code, which would lie all over it: a page fault maps the sixteen pages around it. A run
//! on each backend is taken step by step with its guardian or its keeper, which takes minutes, and the functions
//! that they come to are told in their order, by patterns that outlive a change elsewhere: names without their hashes.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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

const HEAD: &str = "/* What `contain run` executes (its own processes do), in the order in which it comes to it, so that it lies\n   \
                    together. Made by `just order`; what matches nothing does no harm. */\n";

/// Prints the script.
pub fn print() -> Result<()> {
    let binary = contain()?;
    let functions = functions(&binary)?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report");
    let report = report.to_str().ok_or("a directory with an odd name")?;
    let (mut known, mut patterns) = (HashSet::new(), Vec::new());
    for how in RUNS {
        let words = [&["run"], how, &["--report", report, "--", "true"]].concat();
        for place in steps(&binary, &words)? {
            let Some((_, names)) = functions.range(..=place).next_back() else { continue };
            let new = names.iter().map(|name| pattern(name));
            patterns.extend(new.filter(|pattern| known.insert(pattern.clone())));
        }
    }
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

/// Each place in the binary that a process of the line comes to, the first time, process by process: its own, and those
/// that it starts until they become another program.
fn steps(binary: &Path, words: &[&str]) -> Result<Vec<u64>> {
    let (mut child, first) = begun(binary, words)?;
    let mut all = vec![Stepped::of(first, binary)?];
    ptrace::step(first, None)?;
    while all.iter().any(|process| process.runs) {
        let status = waitpid(None, Some(WaitPidFlag::__WALL))?;
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
                return Err(format!("{words:?} ended by {status:?}").into());
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
    // It was waited for above.
    drop(child.try_wait());
    Ok(all.into_iter().flat_map(|process| process.places).collect())
}

/// The line, about to execute the first instruction of the binary; who it starts is followed.
fn begun(binary: &Path, words: &[&str]) -> Result<(Child, Pid)> {
    let child = stopped(binary, words)?;
    let first = Pid::from_raw(child.id().try_into()?);
    waitpid(first, Some(WaitPidFlag::WUNTRACED))?;
    let exec = Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, exec)?;
    kill(first, Signal::SIGCONT)?;
    while !has_executed(waitpid(first, None)?) {
        ptrace::cont(first, None)?;
    }
    let children = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    ptrace::setoptions(first, exec | children | Options::PTRACE_O_TRACECLONE)?;
    Ok((child, first))
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

/// A process that stops itself before it becomes the binary.
fn stopped(binary: &Path, words: &[&str]) -> Result<Child> {
    let shell = ["-c", "kill -STOP $$; exec \"$@\"", "sh"];
    let mut command = Command::new("sh");
    command.args(shell).arg(binary).args(words);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}
