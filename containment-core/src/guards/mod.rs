//! Guards above the owning guard of one group: several groups at once, a stay of this process in a
//! group, many processes moved in, and a group that stands still.
//!
//! They go through the driver traits like any other user; only the process that made a guard acts on it.

mod attached;
mod cgroup_group;
mod entered;
mod frozen;

pub use attached::Attached;
pub use cgroup_group::{CgroupGroup, Driver};
pub use entered::Entered;
pub use frozen::{FreezeGuard, NotFrozen};
