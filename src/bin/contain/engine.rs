//! The step of a cluster engine that we run in: its name, and what it means for the end of a run.

use std::time::Duration;

use containment::Watch;
use containment::slurm::{self, StepDaemon};

use crate::cli::EngineChoice;

/// What the engine has to do with a run. Outside of one it is nothing, for the price of a look at the
/// environment.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    is_slurm: bool,
    daemon: Option<StepDaemon>,
}

impl Engine {
    /// The engine that we are in a step of, if we are to take part in it.
    pub(crate) fn find(choice: EngineChoice) -> Self {
        if choice == EngineChoice::None || !slurm::is_here() {
            return Self::default();
        }
        let daemon = StepDaemon::find();
        if daemon.is_none() {
            tracing::debug!("no slurmstepd is among our ancestors: its end will not be seen");
        }
        Self { is_slurm: true, daemon }
    }

    /// Whether whoever looked after our step is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.daemon.as_ref().is_some_and(StepDaemon::has_ended)
    }

    /// What announces that.
    pub(crate) fn watch(&self) -> Option<Watch> {
        self.daemon.as_ref().map(|daemon| Watch::Sources(vec![daemon.source()]))
    }

    /// The longest grace after a signal of the engine: three quarters of what it waits itself before it
    /// kills us, so that the rest is left for the kill and the report.
    pub(crate) fn longest_grace(&self) -> Option<Duration> {
        self.is_slurm.then(slurm::kill_wait)?.map(|wait| wait * 3 / 4)
    }

    /// The grace that was asked for, as far as the engine grants it.
    pub(crate) fn grace(&self, asked_for: Duration) -> Duration {
        match self.longest_grace() {
            Some(longest) if longest < asked_for => {
                tracing::info!("Slurm's KillWait leaves a grace of {longest:?}, not {asked_for:?}");
                longest
            }
            _ => asked_for,
        }
    }
}

/// The node that we run on: the engine's name for it, else the host's.
pub(crate) fn node() -> String {
    let named = ["SLURMD_NODENAME", "NODE_NAME"].into_iter().find_map(variable);
    named.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// The step that we are a part of, by the engine's name for it; `None` outside of one.
pub(crate) fn step() -> Option<String> {
    step_of(variable)
}

/// A variable of our environment, unless it is empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn step_of(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    slurm(&variable)
        .or_else(|| nomad(&variable))
        .or_else(|| variable("POD_NAME"))
        .or_else(|| variable("PARALLEL_SEQ"))
}

/// As `sacct` names it, `JOB[_ELEMENT].STEP`, with the task where the step has several. A job's script,
/// which has no number as a step, is `batch`.
fn slurm(variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let job = variable("SLURM_JOB_ID")?;
    let element = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    let job = element.map_or(job, |(array, element)| format!("{array}_{element}"));
    let Some(step) = variable("SLURM_STEP_ID") else { return Some(format!("{job}.batch")) };
    let alone = variable("SLURM_STEP_NUM_TASKS").is_none_or(|tasks| tasks == "1");
    Some(match variable("SLURM_PROCID") {
        Some(task) if !alone => format!("{job}.{step}.{task}"),
        _ => format!("{job}.{step}"),
    })
}

fn nomad(variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let allocation = variable("NOMAD_ALLOC_ID")?;
    Some(match variable("NOMAD_TASK_NAME") {
        Some(task) => format!("{allocation}/{task}"),
        None => allocation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_in(environment: &[(&str, &str)]) -> Option<String> {
        step_of(|name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_step_has_the_name_that_its_engine_gives_it() {
        let script = [("SLURM_JOB_ID", "42"), ("SLURM_PROCID", "0")];
        let element = [("SLURM_ARRAY_JOB_ID", "40"), ("SLURM_ARRAY_TASK_ID", "7")];
        let step = [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "1")];
        let tasks = [("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4")];
        assert_eq!(step_in(&script).as_deref(), Some("42.batch"));
        assert_eq!(step_in(&[script, element].concat()).as_deref(), Some("40_7.batch"));
        assert_eq!(step_in(&[script, element, step].concat()).as_deref(), Some("40_7.0"));
        assert_eq!(step_in(&[script, tasks].concat()).as_deref(), Some("42.0.0"));
        let nomad = [("NOMAD_ALLOC_ID", "5fc9"), ("NOMAD_TASK_NAME", "batch")];
        assert_eq!(step_in(&nomad).as_deref(), Some("5fc9/batch"));
        assert_eq!(step_in(&[("POD_NAME", "build-x7")]).as_deref(), Some("build-x7"));
        assert_eq!(step_in(&[("PARALLEL_SEQ", "3")]).as_deref(), Some("3"));
        assert_eq!(step_in(&[]), None);
    }
}
