//! Process ids: positive numbers, checked once.

use std::fmt;
use std::num::NonZeroI32;

use crate::number::number;

/// The id of a process: always positive, so it can never mean "every process" or "my group" to `kill(2)`.
///
/// ```
/// use containment_core::Pid;
/// let pid: Pid = "42".parse()?;
/// assert_eq!((pid.as_raw(), pid.to_string().as_str()), (42, "42"));
/// assert!("+42".parse::<Pid>().is_err());
/// assert!("0".parse::<Pid>().is_err(), "to kill(2) that is a whole process group");
/// assert_eq!(Pid::current().as_raw().unsigned_abs(), std::process::id());
/// # Ok::<(), containment_core::InvalidPid>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// The pid with this number, or `None` unless it is positive.
    ///
    /// ```
    /// use containment_core::Pid;
    /// assert_eq!(Pid::new(42).map(Pid::as_raw), Some(42));
    /// assert!(Pid::new(0).is_none() && Pid::new(-1).is_none());
    /// ```
    pub fn new(raw: i32) -> Option<Self> {
        NonZeroI32::new(raw).filter(|n| n.get() > 0).map(Self)
    }

    /// The calling process.
    ///
    /// # Panics
    /// Never: the kernel's pids fit.
    pub fn current() -> Self {
        i32::try_from(std::process::id())
            .ok()
            .and_then(Self::new)
            .expect("the kernel's pids are positive i32")
    }

    /// The plain number.
    pub fn as_raw(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pid({})", self.0)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Pid {
    type Err = InvalidPid;

    fn from_str(text: &str) -> Result<Self, InvalidPid> {
        number(text).and_then(Self::new).ok_or(InvalidPid)
    }
}

/// A text that is no process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a process id is a positive number")]
pub struct InvalidPid;
