//! The cgroup v1 driver: so far its probe, which tells the hierarchies that this host has.
#![forbid(unsafe_code)]

use std::convert::Infallible;

use containment_core::{Backend, Error, ErrorKind, Operation, Result};
use containment_process::proc::mountinfo::{self, Mount};

/// The controllers that a hierarchy of cgroup v1 can carry (cgroups(7)).
const CONTROLLERS: [&str; 13] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// Finds the hierarchies.
///
/// # Errors
/// Always [`Unusable`](ErrorKind::Unusable): the reason names the hierarchies that are mounted, which
/// this version does not drive, or says that there are none.
pub fn probe() -> Result<Infallible> {
    let text =
        mountinfo::read().map_err(|error| unusable(Error::from_io(Operation::Probe, &error)))?;
    let error = unusable(Error::new(ErrorKind::Unusable, Operation::Probe));
    Err(match hierarchies(&text).as_slice() {
        [] => error
            .because("no cgroup v1 hierarchy is mounted")
            .advise("use another backend; new hosts have cgroup v2"),
        found => error
            .because(format!(
                "this version does not drive cgroup v1 (mounted: {})",
                found.join(" ")
            ))
            .advise("use another backend"),
    })
}

fn unusable(error: Error) -> Error {
    error.with_kind(ErrorKind::Unusable).with_backend(Backend::CgroupV1)
}

/// The controllers of each mounted hierarchy, joined by commas; those without are left out.
fn hierarchies(mountinfo: &[u8]) -> Vec<String> {
    let v1 = mountinfo::mounts(mountinfo).filter(|mount| mount.is_type("cgroup"));
    v1.map(|mount| controllers(&mount)).filter(|controllers| !controllers.is_empty()).collect()
}

fn controllers(mount: &Mount<'_>) -> String {
    let carried = CONTROLLERS.into_iter().filter(|controller| mount.has_super_option(controller));
    carried.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_told_by_their_controllers() {
        let text = b"\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        assert_eq!(hierarchies(text), ["cpu,cpuacct", "freezer"]);
        assert!(hierarchies(b"41 31 0:38 / / rw - cgroup2 cgroup2 rw\n").is_empty());
    }

    #[test]
    fn the_probe_says_why_not_and_what_to_do() {
        let error = match probe() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Unusable);
        assert_eq!(error.backend(), Some(Backend::CgroupV1));
        assert!(error.remedy().is_some());
    }
}
