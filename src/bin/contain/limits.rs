//! The options that limit a group.

use clap::{Args, ValueEnum};
use containment::{
    Bytes, CpuSet, Cpus, Device, Error, ErrorKind, HugePage, IoMax, Limits, Most, Operation,
    Result, Weight,
};

use crate::cli::{Concern, Given};
use crate::values;

/// Who allows something that limits can be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    Group,
    Slurm,
}

impl Source {
    fn allows(self) -> Result<Limits> {
        match self {
            Self::Group => containment::enclosing_limits(),
            Self::Slurm => containment::slurm::step_limits(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Group => "the enclosing group",
            Self::Slurm => "the step of Slurm",
        }
    }
}

// No documentation: it would become the subcommand's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Most memory: bytes, or K, M, G, T of 1024; `max` lifts it
    #[arg(long, value_name = "SIZE", value_parser = values::memory, allow_negative_numbers = true)]
    memory: Option<Most<Bytes>>,
    /// Memory above which the group is slowed down and reclaimed from
    #[arg(long, value_name = "SIZE", value_parser = values::memory, allow_negative_numbers = true)]
    memory_high: Option<Most<Bytes>>,
    /// Most swap; 0 means none
    #[arg(long, value_name = "SIZE", value_parser = values::size, allow_negative_numbers = true)]
    swap: Option<Most<Bytes>>,
    /// Most CPU time, in CPUs (1.5)
    #[arg(long, value_name = "N", value_parser = values::cpus, allow_negative_numbers = true)]
    cpus: Option<Most<Cpus>>,
    /// CPU share relative to siblings, 1 to 10000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_weight: Option<Weight>,
    /// CPUs to run on (0-3,6)
    #[arg(long, value_name = "LIST", value_parser = values::list, allow_negative_numbers = true)]
    cpuset: Option<CpuSet>,
    /// Memory nodes to allocate from (0-1)
    #[arg(long, value_name = "LIST", value_parser = values::list, allow_negative_numbers = true)]
    mems: Option<CpuSet>,
    /// Most processes and threads
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true)]
    pids: Option<Most<u64>>,
    /// I/O share relative to siblings, 1 to 10000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    io_weight: Option<Weight>,
    /// Most I/O per second on a disk, MAJOR:MINOR or a path; may be given for several
    #[arg(long, value_name = "DEV:rbps=N,wbps=N,riops=N,wiops=N", value_parser = values::io_max)]
    io_max: Vec<(Device, IoMax)>,
    /// Most memory in huge pages of a size (2M:64M); may be given for several
    #[arg(long, value_name = "PAGE:SIZE", value_parser = values::huge_pages)]
    hugetlb: Vec<(HugePage, Most<Bytes>)>,
    /// Take over what the enclosing group, or the step of Slurm, allows; of two limits the tighter holds
    #[arg(long, value_name = "group|slurm", value_delimiter = ',', hide_possible_values = true)]
    limits_from: Vec<Source>,
}

impl Concern for LimitOptions {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "memory" => self.memory = Some(option.read(values::memory)?),
            "memory-high" => self.memory_high = Some(option.read(values::memory)?),
            "swap" => self.swap = Some(option.read(values::size)?),
            "cpus" => self.cpus = Some(option.read(values::cpus)?),
            "cpu-weight" => self.cpu_weight = Some(option.parsed()?),
            "cpuset" => self.cpuset = Some(option.read(values::list)?),
            "mems" => self.mems = Some(option.read(values::list)?),
            "pids" => self.pids = Some(option.read(values::count)?),
            "io-weight" => self.io_weight = Some(option.parsed()?),
            "io-max" => self.io_max.push(option.read(values::io_max)?),
            "hugetlb" => self.hugetlb.push(option.read(values::huge_pages)?),
            "limits-from" => {
                self.limits_from.extend(option.list(|text| Source::from_str(text, false).ok())?);
            }
            _ => return None,
        }
        Some(())
    }
}

impl LimitOptions {
    /// The limits that are asked for, those that are to be lifted among them, within what is allowed by
    /// whom they were to be taken from.
    pub(crate) fn limits(&self) -> Result<Limits> {
        self.limits_from.iter().try_fold(self.asked_for(), |limits, source| {
            let (limits, tightened) = limits.within(&source.allows()?);
            for limit in tightened.iter() {
                tracing::warn!("{} allows less than --{limit}: that holds", source.name());
            }
            limits.check().map_err(|invalid| {
                Error::new(ErrorKind::InvalidInput, Operation::SetLimits)
                    .because(format!("nothing is left of what {} allows: {invalid}", source.name()))
                    .advise("ask for less, or leave out --limits-from")
            })?;
            Ok(limits)
        })
    }

    fn asked_for(&self) -> Limits {
        let mut limits = Limits {
            memory_max: self.memory,
            memory_high: self.memory_high,
            swap_max: self.swap,
            cpus: self.cpus,
            cpu_weight: self.cpu_weight,
            cpuset: self.cpuset.clone(),
            mems: self.mems.clone(),
            io_weight: self.io_weight,
            hugetlb: self.hugetlb.iter().copied().collect(),
            ..Limits::new()
        };
        if let Some(most) = self.pids {
            limits = limits.pids_max(most);
        }
        for (device, most) in &self.io_max {
            let all = limits.io_max.entry(*device).or_default();
            *all = most.iter().fold(*all, |all, (rate, most)| all.with(rate, most));
        }
        limits
    }
}
