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
