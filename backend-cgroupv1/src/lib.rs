//! The cgroup v1 driver.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::path::Path;

use containment_core::{Backend, Error, ErrorKind, Operation, Result};

/// Finds the hierarchies.
pub fn probe(_parent: Option<&Path>) -> Result<Infallible> {
    Err(Error::new(ErrorKind::Unusable, Operation::Probe).with_backend(Backend::CgroupV1))
}
