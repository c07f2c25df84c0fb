//! A process of a group as it was seen in one moment.

use std::time::Duration;

use crate::{Origin, Pid};

/// One member of a group, as a snapshot: it may have ended since.
///
/// ```
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Program, Signal, Standing};
///
/// let fake = Fake::new();
/// fake.program("make", Script::new());
/// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// job.spawn(&Program::new("make"))?;
/// let make = &job.members()?[0];
/// assert_eq!(make.standing, Standing::Program);
/// assert_eq!(make.to_string(), format!("make (pid {})", make.pid));
/// assert!(!make.state.is_zombie() && !make.state.is_stopped());
///
/// job.signal(Signal::STOP)?;
/// let again = &job.members()?[0];
/// assert!(again.is_same(make) && again.state.is_stopped());
/// assert_eq!(again.state.to_string(), "T");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its pid.
    pub pid: Pid,
    /// Its parent's pid, 0 when that lies outside our pid namespace.
    pub parent: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub started: u64,
    /// Its command name, at most 15 bytes of it.
    pub comm: String,
    /// Its state, as `ps` shows it.
    pub state: ProcessState,
    /// Where it stands to the group.
    pub standing: Standing,
    /// CPU time that it used itself, user and system.
    pub cpu: Option<Duration>,
    /// Memory that it has resident, in bytes; what it shares is counted with each that has it.
    pub memory: Option<u64>,
    /// Where it comes from. Only a teardown asks, of those whom its report names.
    pub origin: Option<Box<Origin>>,
}

impl Member {
    /// Whether both are the same process, not just of the same pid.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

/// Where a member stands to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// A program that was spawned into the group.
    Program,
    /// Something that a program started, where the kernel keeps it for the group.
    Inside,
    /// Something that a program started and that left the process group; it is still found.
    Escaped,
}

/// The state of a process: field 3 of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessState(pub char);

impl ProcessState {
    /// Ended, and not reaped yet.
    pub fn is_zombie(self) -> bool {
        matches!(self.0, 'Z' | 'X' | 'x')
    }

    /// Stopped by a signal or a tracer.
    pub fn is_stopped(self) -> bool {
        matches!(self.0, 'T' | 't')
    }
}

impl std::fmt::Display for ProcessState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
