//! The daemon that looks after our step on this node.

use containment_core::{Pid, Source};
use containment_process::pidfd::PidFd;
use containment_process::proc::Stat;

/// What Slurm calls the process that started the step.
const NAME: &str = "slurmstepd";

/// The `slurmstepd` of our step, held by pidfd. When it is killed its step goes on, and nobody ends it.
#[derive(Debug)]
pub struct StepDaemon(PidFd);

impl StepDaemon {
    /// The nearest of our ancestors that is one; `None` where there is none, or it may not be seen.
    pub fn find() -> Option<Self> {
        let mut pid = Pid::current();
        loop {
            let parent = Pid::new(Stat::read(pid).ok()??.parent)?;
            let stat = Stat::read(parent).ok()??;
            if stat.comm == NAME {
                let held = PidFd::open(parent).ok()??;
                // It has not been recycled if it still is who it was.
                let same = Stat::read(parent).ok()??.started == stat.started;
                return same.then_some(Self(held));
            }
            pid = parent;
        }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Whether it is gone.
    pub fn has_ended(&self) -> bool {
        self.0.has_ended().unwrap_or(false)
    }

    /// What announces that.
    pub fn source(&self) -> Source {
        self.0.source()
    }
}
