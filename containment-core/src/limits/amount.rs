//! Amounts, and a most that can be lifted again.

use std::fmt;

/// An amount of memory in bytes.
///
/// ```
/// use containment_core::Bytes;
/// assert_eq!(Bytes::kib(1024), Bytes::mib(1));
/// assert_eq!(Bytes::gib(1), Bytes(1_073_741_824));
/// assert_eq!(Bytes::gib(1 << 34), Bytes(u64::MAX), "no large amount becomes a small one");
/// assert_eq!(Bytes::kib(4).to_string(), "4096", "in bytes, as the kernel's files have it");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many KiB; [`u64::MAX`] bytes where that is more.
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }
    /// So many MiB; [`u64::MAX`] bytes where that is more.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }
    /// So many GiB; [`u64::MAX`] bytes where that is more.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A limit that is set to a value, or lifted: what the kernel's files of version 2 write as `max`.
///
/// ```
/// use containment_core::{Bytes, Limits, Most};
/// let limits = Limits::new().memory_max(Bytes::mib(64)).pids_max(Most::Lifted);
/// assert_eq!(limits.memory_max, Some(Most::At(Bytes::mib(64))));
/// assert_eq!(limits.memory_max.unwrap().map(|most| most.0 >> 20).value(), Some(64));
/// assert_eq!(limits.pids_max.unwrap().to_string(), "max");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Most<T> {
    /// No limit.
    Lifted,
    /// This much.
    At(T),
}

impl<T> Most<T> {
    /// The value, unless it is lifted.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Lifted => None,
            Self::At(value) => Some(value),
        }
    }

    /// The same of another type.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Most<U> {
        match self {
            Self::Lifted => Most::Lifted,
            Self::At(value) => Most::At(change(value)),
        }
    }
}

impl<T> From<T> for Most<T> {
    fn from(value: T) -> Self {
        Self::At(value)
    }
}

/// As version 2 writes it.
impl<T: fmt::Display> fmt::Display for Most<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifted => f.pad("max"),
            Self::At(value) => value.fmt(f),
        }
    }
}
