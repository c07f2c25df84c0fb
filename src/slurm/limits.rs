//! What a step may use on this node, by its environment.

use containment_core::{Bytes, Cpus, Error, ErrorKind, Limits, Operation, Result};

use super::variable;

/// The memory and the CPUs on this node that Slurm told our step, or our job where it says nothing of the
/// step: `SLURM_MEM_PER_NODE`, or `SLURM_MEM_PER_CPU` times the CPUs, or `SLURM_MEM_PER_GPU` times the GPUs;
/// `SLURM_CPUS_ON_NODE`, of which a task of `srun` has `SLURM_CPUS_PER_TASK`. Of what Slurm does not tell
/// there is no limit.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) outside of Slurm, and for a variable that is not understood.
pub fn step_limits() -> Result<Limits> {
    limits(variable)
}

fn limits(variable: impl Fn(&str) -> Option<String>) -> Result<Limits> {
    if variable("SLURM_JOB_ID").is_none() {
        return Err(Error::new(ErrorKind::InvalidInput, Operation::SetLimits)
            .because("this is no step of Slurm: SLURM_JOB_ID is not set")
            .advise("start it with srun or sbatch, or take --limits-from group"));
    }
    let environment = Environment(&variable);
    let cpus_on_node = environment.number("SLURM_CPUS_ON_NODE")?;
    let memory = environment.memory(cpus_on_node)?;
    let limits = memory.into_iter().fold(Limits::new(), Limits::memory_max);
    // A script starts tasks, and so has the CPUs of all of them.
    let of_task = variable("SLURM_STEP_ID")
        .map_or(Ok(None), |_| environment.number("SLURM_CPUS_PER_TASK"))?;
    let Some(cpus) = cpus_on_node.into_iter().chain(of_task).min() else { return Ok(limits) };
    let cpus = u32::try_from(cpus).ok().and_then(|cpus| Cpus::new(cpus.into()).ok());
    Ok(limits.cpus(cpus.ok_or_else(|| odd("SLURM_CPUS_ON_NODE"))?))
}

struct Environment<'a, F>(&'a F);

impl<F: Fn(&str) -> Option<String>> Environment<'_, F> {
    /// Memory is told in MiB, or with a unit where a user set the variable for srun; 0 is all of the node's.
    fn memory(&self, cpus: Option<u64>) -> Result<Option<Bytes>> {
        let each = [
            ("SLURM_MEM_PER_NODE", Some(1)),
            ("SLURM_MEM_PER_CPU", cpus),
            ("SLURM_MEM_PER_GPU", self.number("SLURM_GPUS_ON_NODE")?),
        ];
        for (name, count) in each {
            let Some((text, count)) = (self.0)(name).zip(count) else { continue };
            let bytes = mebibytes(&text).and_then(|each| each.checked_mul(count));
            let bytes = bytes.ok_or_else(|| odd(name))?;
            return Ok((bytes > 0).then_some(Bytes(bytes)));
        }
        Ok(None)
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = (self.0)(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| odd(name))
    }
}

/// A number of MiB, or of what its last letter says, in bytes.
fn mebibytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 20),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn odd(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::SetLimits)
        .because(format!("{name} in the environment is not understood"))
        .advise("unset it, or leave out --limits-from slurm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits_in(environment: &[(&str, &str)]) -> Result<Limits> {
        let environment = [&[("SLURM_JOB_ID", "42")], environment].concat();
        limits(|name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn cpus(cpus: f64) -> Limits {
        Limits::new().cpus(Cpus::new(cpus).unwrap())
    }

    #[test]
    fn a_script_has_what_its_job_has_on_the_node() {
        let job = [("SLURM_CPUS_ON_NODE", "4"), ("SLURM_CPUS_PER_TASK", "2")];
        let each = [("SLURM_MEM_PER_CPU", "64")];
        assert_eq!(limits_in(&job).unwrap(), cpus(4.0));
        let expected = cpus(4.0).memory_max(Bytes::mib(256));
        assert_eq!(limits_in(&[job, [each[0], each[0]]].concat()).unwrap(), expected);
        let node = [("SLURM_MEM_PER_NODE", "2G"), ("SLURM_MEM_PER_CPU", "64")];
        assert_eq!(limits_in(&node).unwrap(), Limits::new().memory_max(Bytes::gib(2)));
    }

    #[test]
    fn a_task_has_its_own_cpus_and_never_more_than_the_step() {
        let task = [("SLURM_STEP_ID", "0"), ("SLURM_CPUS_PER_TASK", "2")];
        assert_eq!(
            limits_in(&[task, [("SLURM_CPUS_ON_NODE", "4"); 2]].concat()).unwrap(),
            cpus(2.0)
        );
        assert_eq!(
            limits_in(&[task, [("SLURM_CPUS_ON_NODE", "1"); 2]].concat()).unwrap(),
            cpus(1.0)
        );
    }

    #[test]
    fn what_slurm_does_not_limit_or_tell_is_no_limit() {
        assert_eq!(limits_in(&[("SLURM_MEM_PER_NODE", "0")]).unwrap(), Limits::new());
        assert_eq!(limits_in(&[("SLURM_MEM_PER_CPU", "64")]).unwrap(), Limits::new());
        let gpus = [("SLURM_MEM_PER_GPU", "100"), ("SLURM_GPUS_ON_NODE", "2")];
        assert_eq!(limits_in(&gpus).unwrap(), Limits::new().memory_max(Bytes::mib(200)));
    }

    #[test]
    fn what_is_not_understood_is_no_limit_silently() {
        let odd = [("SLURM_MEM_PER_NODE", "much"), ("SLURM_MEM_PER_NODE", "99999999999999999999")];
        for (name, value) in
            [odd[0], odd[1], ("SLURM_CPUS_ON_NODE", "0"), ("SLURM_CPUS_ON_NODE", "4(x2)")]
        {
            let error = limits_in(&[(name, value)]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(limits(|_| None).unwrap_err().to_string().contains("SLURM_JOB_ID"));
    }
}
