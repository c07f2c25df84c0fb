//! Being part of a step of Slurm: what it may use, how long it is given to end, and who looks after it.
//!
//! All of it is found on the node: the environment that Slurm gives to its steps (srun(1), sbatch(1),
//! "OUTPUT ENVIRONMENT VARIABLES"), its configuration (slurm.conf(5)), and `/proc`. Its daemons are not
//! asked anything, so that nothing waits for them.
//!
//! ```
//! use std::time::Duration;
//! use containment::{Limits, Policy, slurm};
//!
//! let mut limits = Limits::new().pids_max(1_000);
//! let mut policy = Policy::graceful(Duration::from_secs(60));
//! if slurm::is_here() {
//!     // No looser than what the step was told.
//!     (limits, _) = limits.within(&slurm::step_limits()?);
//!     // Over before Slurm sends SIGKILL, with time left for the kill.
//!     let longest = slurm::kill_wait().map(|wait| wait * 3 / 4);
//!     policy.grace = longest.map_or(policy.grace, |longest| longest.min(policy.grace));
//! }
//! if slurm::StepDaemon::find().is_some_and(|daemon| daemon.has_ended()) {
//!     // Nobody ends the step any more.
//!     policy.grace = Duration::ZERO;
//! }
//! assert!(limits.pids_max.is_some() && policy.grace <= Duration::from_secs(60));
//! # Ok::<(), containment::Error>(())
//! ```

mod configuration;
mod daemon;
mod limits;

pub use configuration::kill_wait;
pub use daemon::StepDaemon;
pub use limits::step_limits;

/// A variable of our environment, unless it is empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether this process is part of a step, or of the script of a job.
pub fn is_here() -> bool {
    std::env::var_os("SLURM_JOB_ID").is_some_and(|id| !id.is_empty())
}
