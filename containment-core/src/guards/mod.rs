//! Guards above the owning guard of one group: several groups at once, a stay of this process in a
//! group, and many processes moved in.
//!
//! They go through the driver traits like any other user; only the process that made a guard acts on it.

mod attached;
mod cgroup_group;
mod entered;

pub use attached::Attached;
pub use cgroup_group::{CgroupGroup, Driver};
pub use entered::Entered;
