//! Most I/O per block device.

use std::fmt;
use std::str::FromStr;

use super::{InvalidLimit, Most};
use crate::number::number;

/// A block device: a whole disk, not a partition, which the kernel does not limit.
///
/// ```
/// use containment_core::Device;
/// let disk: Device = "259:0".parse()?;
/// assert_eq!((disk.major, disk.minor), (259, 0));
/// assert_eq!(disk.to_string(), "259:0");
/// assert!("sda".parse::<Device>().is_err());
/// # Ok::<(), containment_core::InvalidLimit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// The number of its driver.
    pub major: u32,
    /// Its number there.
    pub minor: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for Device {
    type Err = InvalidLimit;

    /// Reads `MAJOR:MINOR`.
    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let number = |text| number(text).ok_or(InvalidLimit::Device);
        let (major, minor) = text.split_once(':').ok_or(InvalidLimit::Device)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// A rate of I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Bytes read per second.
    ReadBytes,
    /// Bytes written per second.
    WriteBytes,
    /// Reads per second.
    Reads,
    /// Writes per second.
    Writes,
}

impl Rate {
    /// All of them, in the kernel's order.
    pub const ALL: [Self; 4] = [Self::ReadBytes, Self::WriteBytes, Self::Reads, Self::Writes];

    /// Its name in `io.max`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::Reads => "riops",
            Self::Writes => "wiops",
        }
    }
}

/// The most I/O on one device; what is not set is left as it is.
///
/// ```
/// use containment_core::{IoMax, Most, Rate};
/// let most = IoMax::new().with(Rate::ReadBytes, 1 << 20).with(Rate::Writes, Most::Lifted);
/// assert_eq!(most.to_string(), "rbps=1048576 wiops=max");
/// assert_eq!(most.rate(Rate::Writes), Some(Most::Lifted));
/// assert_eq!(most.rate(Rate::Reads), None);
/// let set: Vec<_> = most.iter().map(|(rate, _)| rate.name()).collect();
/// assert_eq!(set, ["rbps", "wiops"]);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct IoMax([Option<Most<u64>>; 4]);

impl IoMax {
    /// No limit at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// This, and so much of one rate.
    #[must_use]
    pub fn with(mut self, rate: Rate, most: impl Into<Most<u64>>) -> Self {
        self.0[rate as usize] = Some(most.into());
        self
    }

    /// What is set for one rate.
    pub fn rate(&self, rate: Rate) -> Option<Most<u64>> {
        self.0[rate as usize]
    }

    /// The rates that are set, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = (Rate, Most<u64>)> + '_ {
        Rate::ALL.into_iter().filter_map(|rate| Some((rate, self.rate(rate)?)))
    }

    pub(super) fn check(&self) -> Result<(), InvalidLimit> {
        let mut set = self.iter().peekable();
        if set.peek().is_none() {
            return Err(InvalidLimit::NoRate);
        }
        // To version 1 a rate of 0 means none at all.
        if set.any(|(_, most)| most == Most::At(0)) { Err(InvalidLimit::ZeroRate) } else { Ok(()) }
    }
}

/// As `io.max` reads it.
impl fmt::Display for IoMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (rate, most)) in self.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{}={most}", rate.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_two_numbers() {
        assert_eq!("8:16".parse::<Device>().unwrap().to_string(), "8:16");
        for wrong in ["", ":", "8", "8:", ":0", "8:0:1", "+8:0", "sda", "8:-1", "8: 0"] {
            assert_eq!(wrong.parse::<Device>(), Err(InvalidLimit::Device), "{wrong:?}");
        }
    }

    #[test]
    fn a_maximum_names_a_rate_above_zero() {
        assert_eq!(IoMax::new().check(), Err(InvalidLimit::NoRate));
        assert_eq!(IoMax::new().with(Rate::Reads, 0).check(), Err(InvalidLimit::ZeroRate));
        assert_eq!(IoMax::new().with(Rate::Reads, Most::Lifted).check(), Ok(()));
    }
}
