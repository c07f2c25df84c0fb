//! Being part of a step of Slurm: what it may use, how long it is given to end, and who looks after it.
//!
//! All of it is found on the node: the environment that Slurm gives to its steps (srun(1), sbatch(1),
//! "OUTPUT ENVIRONMENT VARIABLES"), its configuration (slurm.conf(5)), and `/proc`. Its daemons are not
//! asked anything, so that nothing waits for them.

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
