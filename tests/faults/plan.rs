//! What is to be struck: every system call of a plain run, by its name and its number, and what at it.

use std::collections::BTreeMap;
use std::fmt;

use crate::errnos::plausible;

/// What happens at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process is killed before the kernel executes it.
    Kill,
    /// The process is held before the kernel executes it, and then it and its guardian are killed.
    KillBoth,
    /// It is not executed, and fails with this error.
    Errno(&'static str),
}

impl Fault {
    /// Whether it is the death of one process.
    pub(crate) fn is_kill(self) -> bool {
        self == Self::Kill
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "SIGKILL",
            Self::KillBoth => "SIGKILL, guardian too",
            Self::Errno(name) => name,
        })
    }
}

/// One fault at one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) call: String,
    /// The how many-eth call of this name in its process, from 1.
    pub(crate) nth: usize,
    pub(crate) fault: Fault,
}

impl Point {
    /// The argument of `strace -e`.
    pub(crate) fn injection(&self) -> String {
        let Self { call, nth, fault } = self;
        match fault {
            Fault::Kill => format!("inject={call}:signal=SIGKILL:when={nth}"),
            Fault::KillBoth => format!("inject={call}:signal=SIGSTOP:when={nth}"),
            Fault::Errno(errno) => format!("inject={call}:error={errno}:when={nth}"),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} #{}", self.fault, self.call, self.nth)
    }
}

/// Which faults a plan holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    Kill,
    KillBoth,
    KillAndErrnos,
}

/// A system call that a trace shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    name: String,
    nth: usize,
    arguments: String,
}

/// The faults at every call of a trace that `strace -o` wrote of one process.
pub(crate) fn of_trace(trace: &str, faults: Faults) -> Vec<Point> {
    let calls = trace.lines().filter_map(|line| line.split_once('('));
    points(&numbered(calls), faults)
}

/// The faults at every call of the processes other than `main`, up to the execution of another program, in a
/// trace that `strace -f -o` wrote.
pub(crate) fn of_other_processes(trace: &str, main: u32, faults: Faults) -> Vec<Point> {
    let mut processes: BTreeMap<u32, Vec<(&str, &str)>> = BTreeMap::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let (Ok(pid), Some(call)) = (pid.parse(), rest.trim_start().split_once('(')) else {
            continue;
        };
        let calls = processes.entry(pid).or_default();
        let execs = calls.last().is_some_and(|(name, _)| *name == "execve");
        if pid != main && !execs {
            calls.push(call);
        }
    }
    let mut all: Vec<Point> = Vec::new();
    for calls in processes.into_values() {
        let calls = points(&numbered(calls.into_iter()), faults);
        all.extend(calls.into_iter().filter(|point| !all.contains(point)).collect::<Vec<_>>());
    }
    all
}

/// So many files of processes are struck of those that are read one after the other; there may be thousands.
const LISTED: usize = 8;

fn numbered<'a>(calls: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Call> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut listing = Listing::default();
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let number = |(name, arguments): (&'a str, &str)| {
        let nth = counts.entry(name).or_default();
        *nth += 1;
        let call = Call { name: name.to_owned(), nth: *nth, arguments: arguments.to_owned() };
        (!listing.repeats(&call)).then_some(call)
    };
    calls.filter(|(name, _)| is_name(name)).filter_map(number).collect()
}

/// One reading of `/proc`, process by process.
#[derive(Debug, Default)]
struct Listing {
    /// How many files of processes it opened.
    files: usize,
    inside: bool,
}

impl Listing {
    /// Whether a call does for one more process what was done for many.
    fn repeats(&mut self, call: &Call) -> bool {
        match call.name.as_str() {
            "open" | "openat" if is_of_a_process(&call.arguments) => {
                self.files = if self.inside { self.files + 1 } else { 1 };
                self.inside = true;
            }
            "stat" if is_of_a_process(&call.arguments) => {}
            "read" | "close" | "fcntl" | "fstat" | "geteuid" => {}
            _ => self.inside = false,
        }
        self.inside && self.files > LISTED
    }
}

/// Whether the path among a call's arguments is one below `/proc/PID`, or below `PID` in an open `/proc`.
fn is_of_a_process(arguments: &str) -> bool {
    let path = arguments.split('"').nth(1).unwrap_or_default();
    path.strip_prefix("/proc/").unwrap_or(path).starts_with(|c: char| c.is_ascii_digit())
}

fn points(calls: &[Call], faults: Faults) -> Vec<Point> {
    // The first is the tracer's own: it starts the program that is traced.
    let started = |call: &&Call| call.name != "execve" || call.nth > 1 || calls[0].name != "execve";
    let all = calls.iter().filter(started).flat_map(|call| {
        let errnos = plausible(&call.name, &call.arguments).iter().map(|name| Fault::Errno(name));
        let errnos: Vec<_> =
            if faults == Faults::KillAndErrnos { errnos.collect() } else { vec![] };
        let kill = if faults == Faults::KillBoth { Fault::KillBoth } else { Fault::Kill };
        let at = |fault| Point { call: call.name.clone(), nth: call.nth, fault };
        [kill].into_iter().chain(errnos).map(at).collect::<Vec<_>>()
    });
    all.collect()
}
