//! Why a value is no limit.

use crate::{Error, ErrorKind, Operation};

/// A value that cannot be a limit on any host.
///
/// ```
/// use containment_core::{Cpus, Error, ErrorKind, InvalidLimit, Weight};
/// assert_eq!(Cpus::new(-1.0), Err(InvalidLimit::Cpus));
/// let error = Error::from(Weight::new(0).unwrap_err());
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.reason().to_string(), "a weight is a whole number from 1 to 10000");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLimit {
    /// Memory of less than a page.
    #[error("a limit of memory is at least 4096 bytes")]
    Memory,
    /// No number of CPUs, or one out of range.
    #[error("a number of CPUs is at least 0.001 and at most 1000000")]
    Cpus,
    /// A weight out of range.
    #[error("a weight is a whole number from 1 to 10000")]
    Weight,
    /// An empty set of CPUs or memory nodes.
    #[error("a set of CPUs or memory nodes has at least one member")]
    EmptySet,
    /// No device's numbers.
    #[error("a device is given by its numbers, MAJOR:MINOR")]
    Device,
    /// A maximum of I/O without any rate.
    #[error("a maximum of I/O names at least one of rbps, wbps, riops, wiops")]
    NoRate,
    /// A rate of 0.
    #[error("a rate of I/O is at least 1")]
    ZeroRate,
    /// No size of huge pages.
    #[error("the size of a huge page is a power of two from 8 KiB on")]
    HugePage,
}

impl InvalidLimit {
    fn remedy(self) -> &'static str {
        match self {
            Self::Memory => "give at least 4096 bytes, or lift the limit",
            Self::Cpus => "give a number such as 1.5, or lift the limit",
            Self::Weight => "give a weight such as 100",
            Self::EmptySet => "name at least one, such as 0",
            Self::Device => "give numbers such as 8:0, as lsblk shows them",
            Self::NoRate => "give one such as rbps=1000000",
            Self::ZeroRate => "give at least 1, or lift the limit",
            Self::HugePage => "give a size such as 2 MiB",
        }
    }
}

impl From<InvalidLimit> for Error {
    fn from(invalid: InvalidLimit) -> Self {
        Self::new(ErrorKind::InvalidInput, Operation::SetLimits)
            .because(invalid.to_string())
            .advise(invalid.remedy())
    }
}
