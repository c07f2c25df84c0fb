//! How long members had to wait for what they lacked (kernel: Documentation/accounting/psi.rst).

use std::time::Duration;

/// The waiting for CPU, memory and I/O.
///
/// ```
/// use std::time::Duration;
/// use containment_core::{Pressure, Stalled};
/// let memory = Some(Stalled { some: Duration::from_secs(3), full: Some(Duration::from_secs(1)) });
/// assert!(Pressure { memory, ..Pressure::default() }.is_measured());
/// assert!(!Pressure::default().is_measured());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// For a CPU.
    pub cpu: Option<Stalled>,
    /// For memory.
    pub memory: Option<Stalled>,
    /// For I/O.
    pub io: Option<Stalled>,
}

impl Pressure {
    /// Whether the kernel told of anything.
    pub fn is_measured(&self) -> bool {
        self.cpu.is_some() || self.memory.is_some() || self.io.is_some()
    }
}

/// For how long members waited, in total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalled {
    /// While at least one waited.
    pub some: Duration,
    /// While all that were not idle waited. Kernels before 5.13 do not tell it of CPUs.
    pub full: Option<Duration>,
}
