//! Other libraries, each used as its own documentation shows.

use std::process::{Child, Command};

use cgroups_rs::CgroupPid;
use cgroups_rs::fs::cgroup::Cgroup;
use cgroups_rs::fs::hierarchies;
use libcgroups::common::{
    AnyCgroupManager, CgroupConfig, CgroupManager as _, create_cgroup_manager,
};
use process_wrap::std::{ChildWrapper, CommandWrap, ProcessGroup};

use crate::crowd;
use crate::measure::Result;

pub const PROCESS_WRAP: &str = "process-wrap";
pub const CGROUPS_RS: &str = "cgroups-rs";
pub const LIBCGROUPS: &str = "libcgroups";

/// What holds for a program that was started and then moved.
pub const MOVED: &str = "moved in while it runs: what it started before is outside";
pub const WRAPPED: &str = "process group: a setsid leaves it, and `wait` returns while others live";
/// What holds when libcgroups has removed a group.
pub const REMOVED: &str = "listed and signalled by pid, once a hierarchy; whoever was forked meanwhile is left to a retry of the \
                           removal in 100 ms";
/// Why cgroups-rs does not take part in the end of groups.
pub const CANNOT_KILL: &str = "its kill is for version 2 only, and adds no process to a version 2 group without controllers, \
                               which is all that a hybrid host has; for version 1 it has no kill";

/// A program in a process group of its own.
pub fn wrapped(command: Command) -> Result<Box<dyn ChildWrapper>> {
    Ok(CommandWrap::from(command).wrap(ProcessGroup::leader()).spawn()?)
}

/// A group of cgroups-rs, in whatever hierarchies it finds.
pub fn cgroup() -> Result<Cgroup> {
    let group = Cgroup::new(hierarchies::auto(), crowd::name("cgroups-rs"))?;
    if !group.exists() {
        return Err("cgroups-rs made no group, and said that it did".into());
    }
    Ok(group)
}

pub fn add_to_cgroup(group: &Cgroup, child: &Child) -> Result<()> {
    Ok(group.add_task_by_tgid(CgroupPid::from(u64::from(child.id())))?)
}

/// A manager of libcgroups; it makes its group when the first process is added.
pub fn manager() -> Result<AnyCgroupManager> {
    let name = crowd::name("libcgroups");
    Ok(create_cgroup_manager(CgroupConfig {
        cgroup_path: format!("/{name}").into(),
        systemd_cgroup: false,
        container_name: name,
    })?)
}

pub fn add_to_manager(manager: &AnyCgroupManager, child: &Child) -> Result<()> {
    Ok(manager.add_task(nix::unistd::Pid::from_raw(child.id().try_into()?))?)
}

pub fn remove_manager(manager: &AnyCgroupManager) -> Result<()> {
    Ok(manager.remove()?)
}
