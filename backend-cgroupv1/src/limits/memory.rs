//! Memory and swap. Version 1 limits memory, and memory and swap together; so a limit of swap is the
//! difference, kept when only the memory limit changes, and the two files are written in the order
//! that keeps the second at least as large as the first. Kernel:
//! Documentation/admin-guide/cgroup-v1/memory.rst, section 2.4.

use containment_core::{Bytes, Result};

use super::write::{MEMORY, Writer, memory_and_swap};
use super::{invalid, read};

/// From here on the kernel means "no limit": `PAGE_COUNTER_MAX` on 64 bits, rounded to a page of any size.
pub(super) const UNLIMITED: u64 = i64::MAX as u64 & !0xf_ffff;

/// Sets either or both.
pub(super) fn set(writer: &Writer<'_>, memory: Option<Bytes>, swap: Option<Bytes>) -> Result<()> {
    let limit = current(writer, MEMORY)?;
    let memory = memory.map_or(limit, |bytes| bytes.0);
    let Some(both_file) = memory_and_swap(writer) else {
        return writer.memory(memory);
    };
    let both = current(writer, both_file)?;
    let target = match swap {
        Some(_) if memory >= UNLIMITED => {
            return Err(invalid("cgroup v1 limits swap only together with memory")
                .advise("give a memory limit too"));
        }
        Some(swap) => memory.saturating_add(swap.0),
        None if both >= UNLIMITED => both,
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

fn current(writer: &Writer<'_>, file: &str) -> Result<u64> {
    let text = read(writer.dir, file)?;
    Ok(text.parse().unwrap_or(u64::MAX))
}
