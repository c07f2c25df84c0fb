//! A new cpuset group has no CPU and no memory node, and takes no process (`ENOSPC`): it gets those of
//! its parent. Kernel: Documentation/admin-guide/cgroup-v1/cpusets.rst, section 1.4.

use containment_core::ErrorKind;
use containment_process::cgroupfs::{Dir, Failure};

/// The files of a hierarchy, whose names may lack their prefix.
pub(crate) fn file(name: &'static str, no_prefix: bool) -> &'static str {
    if no_prefix { name.strip_prefix("cpuset.").unwrap_or(name) } else { name }
}

/// Hands the parent's CPUs and memory nodes down to `group`, but overwrites nothing that was
/// configured. Where the kernel can do that itself for the groups below, it is told to.
pub(crate) fn inherit(parent: &Dir, group: &Dir, no_prefix: bool) -> Result<(), Failure> {
    for name in ["cpuset.cpus", "cpuset.mems"].map(|name| file(name, no_prefix)) {
        if group.read(name)?.trim_ascii().is_empty() {
            group.write(name, parent.read(name)?.trim_ascii())?;
        }
    }
    match group.write("cgroup.clone_children", "1") {
        // Before Linux 3.8 there was no such file.
        Err(failure) if failure.kind() == ErrorKind::Unsupported => Ok(()),
        written => written,
    }
}

/// Whether the kernel rebinds the memory of whoever enters `group` to other nodes than ours. A child that
/// shares our memory until it executes would have ours rebound. Kernel: `cpuset_attach` in cpuset.c.
pub(crate) fn rebinds_memory(group: &Dir, no_prefix: bool) -> Result<bool, Failure> {
    let nodes = group.read(file("cpuset.mems", no_prefix))?;
    // Where ours cannot be told the child takes no part in our memory, which is never wrong.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("Mems_allowed_list:"));
    Ok(own.map(|own| own.trim().as_bytes()) != Some(nodes.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lack_their_prefix_where_they_were_mounted_so() {
        assert_eq!(file("cpuset.cpus", false), "cpuset.cpus");
        assert_eq!(file("cpuset.cpus", true), "cpus");
        assert_eq!(file("cgroup.procs", true), "cgroup.procs");
    }
}
