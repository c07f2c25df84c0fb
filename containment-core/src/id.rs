//! What a group is, beyond its name: an identity that a re-used name does not have.

use std::fmt;

use crate::{Backend, GroupName, Pid};

/// Names one group of one boot for certain. A group that is removed and made again under the same
/// name has another `GroupId`.
///
/// ```
/// use containment_core::{Backend, GroupId, Identity, Pid};
/// let made = |inode| GroupId {
///     backend: Backend::CgroupV2,
///     name: "build-42".parse().unwrap(),
///     identity: Identity::Cgroup(inode),
/// };
/// assert_eq!(made(4711).to_string(), "cgroup-v2.4711");
/// assert_ne!(made(4711), made(4712), "the name was used again");
/// let held = Identity::Process { pid: Pid::new(42).unwrap(), started: 99 };
/// assert_eq!(held.to_string(), "42.99");
/// assert_eq!(Identity::Serial(3).to_string(), "3");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// The driver that holds it.
    pub backend: Backend,
    /// Its name below the driver's parent group.
    pub name: GroupName,
    /// What the kernel knows it by.
    pub identity: Identity,
}

/// What the kernel knows a group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// The cgroup's id: its directory's inode number.
    Cgroup(u64),
    /// The process that holds the group together, and when it started, in clock ticks since boot.
    Process {
        /// Its pid.
        pid: Pid,
        /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
        started: u64,
    },
    /// A group that no process holds yet, told apart by a number of its maker.
    Serial(u64),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(inode) => write!(f, "{inode}"),
            Self::Process { pid, started } => write!(f, "{pid}.{started}"),
            Self::Serial(number) => write!(f, "{number}"),
        }
    }
}

/// The identity without the name, as `cgroup-v2.4711`: no colon, no slash, no space.
impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.backend, self.identity)
    }
}
