//! Memory and swap. Version 1 limits memory, and memory and swap together; so a limit of swap is the
//! difference, kept when only the memory limit changes, and the two files are written in the order
//! that keeps the second at least as large as the first. Kernel:
//! Documentation/admin-guide/cgroup-v1/memory.rst, section 2.4.

use containment_core::{Bytes, Most, Operation, Result};
use containment_process::cgroupfs::parse;

use super::invalid;
use super::write::{MEMORY, Writer, memory_and_swap};
pub(super) use crate::enclosing::UNLIMITED;

/// Sets either or both.
pub(super) fn set(
    writer: &Writer<'_>,
    memory: Option<Most<Bytes>>,
    swap: Option<Most<Bytes>>,
) -> Result<()> {
    let limit = current(writer, MEMORY)?;
    let memory = memory.map_or(limit, bytes);
    let Some(both_file) = memory_and_swap(writer) else {
        return writer.memory(memory);
    };
    let both = current(writer, both_file)?;
    let target = match swap {
        Some(Most::Lifted) => UNLIMITED,
        Some(Most::At(_)) if memory >= UNLIMITED => {
            return Err(invalid("cgroup v1 limits swap only together with memory")
                .advise("give a memory limit too"));
        }
        Some(Most::At(swap)) => memory.saturating_add(swap.0),
        None if both >= UNLIMITED || memory >= UNLIMITED => UNLIMITED,
        None => memory.saturating_add(both.saturating_sub(limit)),
    };
    if target >= both {
        writer.memory_and_swap(target)?;
        writer.memory(memory)
    } else {
        writer.memory(memory)?;
        writer.memory_and_swap(target)
    }
}

fn bytes(most: Most<Bytes>) -> u64 {
    most.value().map_or(UNLIMITED, |bytes| bytes.0)
}

fn current(writer: &Writer<'_>, file: &str) -> Result<u64> {
    writer.dir.parse(file, parse::number).map_err(|failure| failure.during(Operation::SetLimits))
}
