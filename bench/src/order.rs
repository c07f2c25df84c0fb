//! `bench order`: where the linker is to put what `contain run` executes, for `src/bin/contain/order.ld`.
//!
//! A run comes to a tenth of the code, which would lie all over it: a page fault maps the sixteen pages around it. A run
//! on each backend is taken step by step, which takes half a minute, and the functions that it comes to are told in
//! their order, by patterns that outlive a change elsewhere: names without their hashes.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::backends::contain;
use crate::measure::Result;

const BACKENDS: [&str; 4] = ["cgroup-v2", "hybrid", "cgroup-v1", "process-group"];

const HEAD: &str = "/* What `contain run` executes (its first process does), in the order in which it comes to it, so that it lies\n   \
                    together. Made by `just order`; what matches nothing does no harm. */\n";

/// Prints the script.
pub fn print() -> Result<()> {
    let binary = contain()?;
    let functions = functions(&binary)?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report");
    let report = report.to_str().ok_or("a directory with an odd name")?;
    let (mut known, mut patterns) = (HashSet::new(), Vec::new());
    for backend in BACKENDS {
        let words = ["run", "--backend", backend, "--report", report, "--", "true"];
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

/// Each place in the binary that the process comes to, the first time.
fn steps(binary: &Path, words: &[&str]) -> Result<Vec<u64>> {
    let mut child = stopped(binary, words)?;
    let pid = Pid::from_raw(child.id().try_into()?);
    waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL)?;
    kill(pid, Signal::SIGCONT)?;
    while !has_executed(waitpid(pid, None)?) {
        ptrace::cont(pid, None)?;
    }
    let (base, end) = mapping(pid, binary)?;
    let (mut known, mut places) = (HashSet::new(), Vec::new());
    let mut signal = None;
    loop {
        let at = ptrace::getregs(pid)?.rip;
        // Elsewhere is the kernel's own page of code.
        if (base..end).contains(&at) && known.insert(at) {
            places.push(at - base);
        }
        ptrace::step(pid, signal)?;
        signal = match waitpid(pid, None)? {
            WaitStatus::Exited(_, 0) => break,
            WaitStatus::Stopped(_, Signal::SIGTRAP) => None,
            WaitStatus::Stopped(_, other) => Some(other),
            status => return Err(format!("{words:?} ended by {status:?}").into()),
        };
    }
    // It was waited for above.
    drop(child.try_wait());
    Ok(places)
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
