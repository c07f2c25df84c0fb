//! Controllers: which of them a limit or a figure takes, and how they are handed down to a group.
//!
//! They are enabled from the driver's parent group downwards, in `cgroup.subtree_control` of each level
//! above the group, and only those that its limits and figures take. They stay enabled when the group is
//! gone: others may have come to rely on them (kernel: cgroup-v2.rst, "Controlling Controllers").

use std::fmt;

use containment_core::{
    ControllerSet, Element, Error, ErrorKind, Limit, Measure, Operation, Result, Set,
};
use containment_process::cgroupfs::{Dir, Failure};
use rustix::io::Errno;

/// A controller of the unified hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Cpuset,
    Pids,
    Io,
    Hugetlb,
}

impl Element for Controller {
    const ALL: &'static [Self] =
        &[Self::Memory, Self::Cpu, Self::Cpuset, Self::Pids, Self::Io, Self::Hugetlb];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::Hugetlb => "hugetlb",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Some controllers.
pub(crate) type Controllers = Set<Controller>;

/// The controller that applies a limit.
pub(crate) fn of_limit(limit: Limit) -> Option<Controller> {
    Some(match limit {
        Limit::Memory | Limit::MemoryHigh | Limit::Swap => Controller::Memory,
        Limit::Cpus | Limit::CpuWeight => Controller::Cpu,
        Limit::Cpuset | Limit::Mems => Controller::Cpuset,
        Limit::Pids => Controller::Pids,
        Limit::IoWeight | Limit::IoMax => Controller::Io,
        Limit::Hugetlb => Controller::Hugetlb,
        _ => return None,
    })
}

/// The controller that a figure takes; `None` where the kernel measures without one.
pub(crate) fn of_figure(figure: Measure) -> Option<Controller> {
    match figure {
        Measure::Throttling => Some(Controller::Cpu),
        Measure::Memory | Measure::MemoryPeak | Measure::Swap | Measure::Oom => {
            Some(Controller::Memory)
        }
        Measure::Pids => Some(Controller::Pids),
        Measure::Io => Some(Controller::Io),
        _ => None,
    }
}

/// The controllers that these limits take.
pub(crate) fn of_limits(limits: ControllerSet) -> Controllers {
    limits.iter().filter_map(of_limit).collect()
}

/// Those that a group's own file lists: `cgroup.controllers`, or `cgroup.subtree_control` for what it
/// hands down.
pub(crate) fn listed(dir: &Dir, file: &str) -> Result<Controllers, Failure> {
    let text = dir.read(file)?;
    let known = |word| Controller::ALL.iter().copied().find(|one| one.name().as_bytes() == word);
    Ok(text.split(u8::is_ascii_whitespace).filter_map(known).collect())
}

/// Why controllers were not handed down.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The group holds processes of its own.
    HoldsProcesses,
    /// The kernel said so.
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        if failure.kind() == ErrorKind::Busy { Self::HoldsProcesses } else { Self::Failed(failure) }
    }
}

/// Hands controllers down from `dir` to the groups below it, where it does not yet.
///
/// Not from a group that holds processes: the kernel refuses it for some controllers, and for the others
/// (cpu, cpuset, pids) makes it the root of a threaded tree, below which no group can hold processes
/// (cgroup-v2.rst, "Threads").
pub(crate) fn hand_down(dir: &Dir, wanted: Controllers) -> Result<(), Refusal> {
    let already = listed(dir, SUBTREE)?;
    let missing: Vec<_> = wanted.iter().filter(|one| !already.contains(*one)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root(dir) && !dir.pids("cgroup.procs")?.is_empty() {
        return Err(Refusal::HoldsProcesses);
    }
    let text: Vec<_> = missing.iter().map(|one| format!("+{one}")).collect();
    Ok(dir.write(SUBTREE, text.join(" "))?)
}

/// Whether it is the hierarchy's root, which may hold processes all the same.
pub(crate) fn is_root(dir: &Dir) -> bool {
    !dir.exists("cgroup.events")
}

/// Takes controllers back from the groups below `dir`.
pub(crate) fn take_back(dir: &Dir, these: Controllers) -> Result<(), Failure> {
    let text: Vec<_> = these.iter().map(|one| format!("-{one}")).collect();
    if text.is_empty() { Ok(()) } else { dir.write(SUBTREE, text.join(" ")) }
}

/// What a failure to hand controllers down means.
pub(crate) fn refused(refusal: Refusal) -> Error {
    let failure = match refusal {
        Refusal::Failed(failure) => failure,
        Refusal::HoldsProcesses => {
            return Error::new(ErrorKind::InternalProcesses, Operation::Create)
                .because("limits take a parent group without processes of its own")
                .advise(REMEDY);
        }
    };
    let errno = failure.errno().map(Errno::from_raw_os_error);
    let error = failure.during(Operation::Create);
    match errno {
        Some(Errno::NOENT) => error
            .with_kind(ErrorKind::Unsupported)
            .because("the group around it does not hand down a controller that the limits take")
            .advise("enable it in cgroup.subtree_control there, or leave the limits out"),
        _ => error,
    }
}

/// What to do where the parent group holds processes.
pub(crate) const REMEDY: &str = "run it in a delegated group of its own, systemd-run --scope -p Delegate=yes …, \
                                 or name an empty group with --parent PATH";

pub(crate) const SUBTREE: &str = "cgroup.subtree_control";
