//! x

pub mod cgroupfs;
pub mod proc;
