//! A process on record: known by its pid and when it started, so that whoever has its pid later is another one.

use containment_core::{Error, ErrorKind, Operation, Pid, Result};
use containment_process::proc::Stat;
use serde::{Deserialize, Serialize};

/// A process, told apart from others of its pid by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// This process.
    pub(crate) fn current() -> Result<Self> {
        Self::of(Pid::current())?.ok_or_else(|| {
            Error::new(ErrorKind::System, Operation::Register)
                .because("/proc does not show this process")
                .advise("mount it: mount -t proc proc /proc")
        })
    }

    /// Whether it has not ended yet.
    pub(super) fn runs(self) -> Result<bool> {
        let Some(pid) = Pid::new(self.pid) else { return Ok(false) };
        let stat = Stat::read(pid).map_err(|error| Error::from_io(Operation::Register, &error))?;
        Ok(stat.is_some_and(|stat| stat.started == self.started && !stat.has_ended()))
    }

    /// The process of this pid, if there is one.
    pub(crate) fn of(pid: Pid) -> Result<Option<Self>> {
        let stat = Stat::read(pid);
        let stat = stat.map_err(|error| Error::from_io(Operation::Register, &error))?;
        Ok(stat.map(|stat| Self { pid: stat.pid.as_raw(), started: stat.started }))
    }
}
