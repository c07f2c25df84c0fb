//! What is around this process: the unit that it is in, and the limits that it would leave with it.

use std::path::{Path, PathBuf};

use containment_core::{Error, ErrorKind, Operation, Result};
use containment_process::cgroupfs::{Dir, Version};
use containment_process::proc::{cgroup, mountinfo};

use super::manager::{Whose, unusable};
use super::unit::Unit;

/// Our own group of the unified hierarchy.
#[derive(Debug)]
pub(super) struct Around {
    /// Our unit, if it is one of the manager that would be asked.
    pub(super) unit: Option<Unit>,
    path: PathBuf,
    group: Dir,
}

/// A limit of the unit that a scope is to have, too, as systemd calls it (systemd.resource-control(5)).
pub(super) type Kept = (&'static str, u64);

impl Around {
    /// None where this process is not in a unit's own group, or is held in a group of ours: then it is
    /// not for us to leave.
    pub(super) fn us(asked: Whose) -> Result<Option<Self>> {
        if std::env::var_os(crate::GROUP_VARIABLE).is_some_and(|groups| !groups.is_empty()) {
            return Ok(None);
        }
        let path = own_group()?;
        let Ok(unit) = Unit::of(&path, asked) else { return Ok(None) };
        Ok(open(&path)?.map(|group| Self { unit, path, group }))
    }

    /// Whether this process is still there.
    pub(super) fn is_current(&self) -> Result<bool> {
        Ok(own_group()? == self.path)
    }

    /// The limits to keep.
    ///
    /// # Errors
    /// When it has limits that a scope could not have, too, or they cannot be read.
    pub(super) fn limits(&self) -> Result<Vec<Kept>> {
        for file in ["cpuset.cpus", "cpuset.mems", "io.max"] {
            if !self.read(file)?.trim_ascii().is_empty() {
                let group = self.path.display();
                return Err(unusable(format!(
                    "a scope would leave the limits in {file} of {group}"
                ))
                .advise("run it in a unit with Delegate=yes"));
            }
        }
        let plain = [
            ("MemoryMax", "memory.max"),
            ("MemoryHigh", "memory.high"),
            ("MemorySwapMax", "memory.swap.max"),
            ("TasksMax", "pids.max"),
        ];
        let mut kept = Vec::new();
        for (name, file) in plain {
            let text = self.read(file)?;
            // `max` is none.
            let most = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
            kept.extend(most.map(|most| (name, most)));
        }
        let quota = self.read("cpu.max")?;
        let quota = std::str::from_utf8(&quota).ok().and_then(cpu_time_a_second);
        kept.extend(quota.map(|time| ("CPUQuotaPerSecUSec", time)));
        Ok(kept)
    }

    /// A file's text; empty without the controller that brings it.
    fn read(&self, file: &str) -> Result<Vec<u8>> {
        match self.group.read(file) {
            Err(failure) if failure.kind() == ErrorKind::Unsupported => Ok(Vec::new()),
            read => read.map_err(|failure| failure.during(Operation::Probe)),
        }
    }
}

/// Microseconds a second, of a quota and a period.
fn cpu_time_a_second(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    quota.checked_mul(1_000_000)?.checked_div(period)
}

/// The path of our own group of the unified hierarchy.
pub(super) fn own_group() -> Result<PathBuf> {
    let text = cgroup::read_self().map_err(|error| Error::from_io(Operation::Probe, &error))?;
    let own = cgroup::memberships(&text).find(cgroup::Membership::is_unified);
    Ok(own.map_or_else(PathBuf::new, |own| own.path.to_path_buf()))
}

/// The group in the mount that shows the whole hierarchy; none in a container, which sees only a part of
/// it: the manager's units are none of its own then.
fn open(path: &Path) -> Result<Option<Dir>> {
    let failed = |error| Error::from_io(Operation::Probe, &error);
    let mounts = mountinfo::read().map_err(failed)?;
    let whole = mountinfo::mounts(&mounts)
        .find(|mount| mount.is_type("cgroup2") && *mount.root() == *Path::new("/"));
    let Some(mount) = whole else { return Ok(None) };
    let relative = path.strip_prefix("/").unwrap_or(path);
    let opened = Dir::open_mount(&mount.mount_point(), Version::V2)
        .and_then(|mount| mount.open_beneath(relative));
    opened.map(Some).map_err(|failure| failure.during(Operation::Probe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_quota_is_told_as_systemd_wants_it() {
        assert_eq!(cpu_time_a_second("150000 100000\n"), Some(1_500_000));
        assert_eq!(cpu_time_a_second("max 100000\n"), None);
        assert_eq!(cpu_time_a_second("1 0"), None);
        assert_eq!(cpu_time_a_second(""), None);
    }
}
