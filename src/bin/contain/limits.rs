//! The options that limit a group.

use clap::Args;
use containment::{Bytes, CpuSet, Limits};

use crate::values::{self, Most};

/// Limits of the group.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Most memory: bytes, or K, M, G, T of 1024; `max` lifts it
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory: Option<Most<Bytes>>,
    /// Memory above which the group is slowed down and reclaimed from
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory_high: Option<Most<Bytes>>,
    /// Most swap; 0 means none
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    swap: Option<Most<Bytes>>,
    /// Most CPU time, in CPUs (1.5)
    #[arg(long, value_name = "N", value_parser = values::cpus)]
    cpus: Option<Most<f64>>,
    /// CPU share relative to siblings, 1 to 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    cpu_weight: Option<u16>,
    /// CPUs to run on (0-3,6)
    #[arg(long, value_name = "LIST", value_parser = values::list)]
    cpuset: Option<CpuSet>,
    /// Memory nodes to allocate from (0-1)
    #[arg(long, value_name = "LIST", value_parser = values::list)]
    mems: Option<CpuSet>,
    /// Most processes and threads
    #[arg(long, value_name = "N", value_parser = values::count)]
    pids: Option<Most<u64>>,
    /// I/O share relative to siblings, 1 to 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    io_weight: Option<u16>,
}

impl LimitOptions {
    /// The limits of a new group: it has none yet, so lifting one asks for nothing.
    pub(crate) fn of_new_group(&self) -> Limits {
        Limits {
            memory_max: self.memory.and_then(Most::limit),
            memory_high: self.memory_high.and_then(Most::limit),
            swap_max: self.swap.and_then(Most::limit),
            cpus: self.cpus.and_then(Most::limit),
            cpu_weight: self.cpu_weight,
            cpuset: self.cpuset.clone(),
            mems: self.mems.clone(),
            pids_max: self.pids.and_then(Most::limit),
            io_weight: self.io_weight,
        }
    }
}
