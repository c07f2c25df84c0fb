//! Limits: written through the controllers of cgroups-rs, on directories that we hold, and read back
//! by us. A value that the kernel did not take is an error.

mod convert;
mod devices;
mod memory;
mod write;

use containment_core::{Applied, Cpus, Error, ErrorKind, Limit, Limits, Operation, Result};
use containment_process::cgroupfs::Dir;

use crate::branches::Branches;
use crate::offer;
use write::Writer;

impl Branches {
    /// Sets limits one by one; says what was applied, and what was not and why.
    pub(crate) fn set_limits(&self, limits: &Limits) -> Applied {
        let mut applied = Applied::default();
        for limit in limits.asked().iter() {
            // Memory and swap are one pair of files, written in an order; the first of them does both.
            let both = limits.memory_max.is_some() && limits.swap_max.is_some();
            if both && limit == Limit::Swap && applied.applied.contains(&Limit::Memory) {
                self.note_swap(&mut applied);
                continue;
            }
            match self.writer(limit).and_then(|writer| set(&writer, limit, limits)) {
                Ok(()) => applied.applied.push(limit),
                Err(error) => applied.refused.push((limit, error)),
            }
        }
        applied
    }

    /// Swap was set together with memory, if the kernel counts it.
    fn note_swap(&self, applied: &mut Applied) {
        match self.writer(Limit::Swap) {
            Ok(_) => applied.applied.push(Limit::Swap),
            Err(error) => applied.refused.push((Limit::Swap, error)),
        }
    }

    fn writer(&self, limit: Limit) -> Result<Writer<'_>> {
        if !self.place.limits.contains(limit) {
            return Err(offer::unsupported(limit));
        }
        let branch = offer::controller_of(limit).and_then(|controller| self.serving(controller));
        let branch = branch.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, Operation::SetLimits)
                .because(format!("the group did not join the hierarchy of the limit {limit}"))
                .advise("ask for the limit when the group is made")
        })?;
        let no_prefix = self.place.hierarchies[branch.index].mounted.no_prefix;
        Ok(Writer { dir: &branch.dir, no_prefix })
    }
}

fn set(writer: &Writer<'_>, limit: Limit, limits: &Limits) -> Result<()> {
    fn if_asked<T>(value: Option<T>, write: impl FnOnce(T) -> Result<()>) -> Result<()> {
        value.map_or(Ok(()), write)
    }
    match limit {
        Limit::Memory | Limit::Swap => memory::set(writer, limits.memory_max, limits.swap_max),
        Limit::Cpus => if_asked(limits.cpus, |cpus| writer.cpu_quota(cpus.map(Cpus::quota))),
        Limit::CpuWeight => if_asked(limits.cpu_weight, |weight| {
            writer.cpu_shares(convert::shares_of_weight(weight))
        }),
        Limit::Cpuset => if_asked(limits.cpuset.as_ref(), |cpus| writer.cpus(cpus)),
        Limit::Mems => if_asked(limits.mems.as_ref(), |nodes| writer.mems(nodes)),
        Limit::Pids => if_asked(limits.pids_max, |most| writer.pids_max(most)),
        Limit::IoWeight => {
            if_asked(limits.io_weight, |weight| writer.io_weight(convert::blkio_of_weight(weight)))
        }
        Limit::IoMax => {
            limits.io_max.iter().try_for_each(|(device, most)| writer.io_max(*device, most))
        }
        Limit::Hugetlb => {
            limits.hugetlb.iter().try_for_each(|(pages, most)| writer.hugetlb(*pages, *most))
        }
        other => Err(offer::unsupported(other)),
    }
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::SetLimits).because(why)
}

/// The text of a file of limits, without its newline.
fn read(dir: &Dir, file: &str) -> Result<String> {
    let text = dir.read(file).map_err(|failure| failure.during(Operation::SetLimits))?;
    Ok(String::from_utf8_lossy(text.trim_ascii()).into_owned())
}
