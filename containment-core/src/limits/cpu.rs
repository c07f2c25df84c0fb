//! CPU time and weights.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::InvalidLimit;
use crate::number::number;

/// CPU time per wall-clock time, in CPUs: 1.5 is one and a half. Kept to the millionth.
///
/// ```
/// use containment_core::Cpus;
/// assert_eq!(Cpus::new(1.5)?.to_string(), "1.5");
/// assert_eq!("0.25".parse::<Cpus>()?.as_f64(), 0.25);
/// assert!(Cpus::new(0.0).is_err() && Cpus::new(f64::NAN).is_err());
/// # Ok::<(), containment_core::InvalidLimit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus {
    millionths: u64,
}

/// A quota of CPU time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The CPU time, over all CPUs.
    pub quota: Duration,
    /// The wall-clock time.
    pub period: Duration,
}

/// The kernel's default period, and its longest (kernel: Documentation/scheduler/sched-bwc.rst).
const PERIODS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// The least quota that the kernel takes.
const LEAST_QUOTA: Duration = Duration::from_millis(1);
const MILLION: u64 = 1_000_000;
/// The least quota in the longest period.
const LEAST_MILLIONTHS: u64 = 1_000;

impl Cpus {
    /// So many CPUs.
    ///
    /// # Errors
    /// Below 0.001, which is less than the kernel's least quota in its longest period, above a
    /// million, and for what is no number.
    pub fn new(cpus: f64) -> Result<Self, InvalidLimit> {
        if !(0.001..=1e6).contains(&cpus) {
            return Err(InvalidLimit::Cpus);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive whole number up to 10^12"
        )]
        let millionths = (cpus * 1e6).round() as u64;
        Ok(Self { millionths })
    }

    /// The number of CPUs.
    pub fn as_f64(self) -> f64 {
        Duration::from_micros(self.millionths).as_secs_f64()
    }

    /// The quota for it: of the kernel's default period, or of its longest where that would be too
    /// little for the kernel.
    ///
    /// ```
    /// use containment_core::Cpus;
    /// use std::time::Duration;
    /// let quota = Cpus::new(1.5)?.quota();
    /// assert_eq!(quota.quota, Duration::from_millis(150));
    /// assert_eq!(quota.period, Duration::from_millis(100));
    /// # Ok::<(), containment_core::InvalidLimit>(())
    /// ```
    pub fn quota(self) -> Quota {
        let in_period = |period: Duration| {
            let micros = u128::from(self.millionths) * period.as_micros() / u128::from(MILLION);
            Quota {
                quota: Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)),
                period,
            }
        };
        let [default, longest] = PERIODS.map(in_period);
        if default.quota < LEAST_QUOTA { longest } else { default }
    }
}

impl Quota {
    /// The CPUs that it is worth, rounded down to the millionth; `None` where that is no limit that
    /// [`Cpus`] can be.
    ///
    /// ```
    /// use containment_core::{Cpus, Quota};
    /// use std::time::Duration;
    /// let quota = Quota { quota: Duration::from_millis(30), period: Duration::from_millis(20) };
    /// assert_eq!(quota.cpus(), Cpus::new(1.5).ok());
    /// ```
    pub fn cpus(self) -> Option<Cpus> {
        let micros = self.quota.as_micros() * u128::from(MILLION);
        let millionths = u64::try_from(micros.checked_div(self.period.as_micros())?).ok()?;
        (LEAST_MILLIONTHS..=MILLION * MILLION).contains(&millionths).then_some(Cpus { millionths })
    }
}

impl TryFrom<f64> for Cpus {
    type Error = InvalidLimit;

    fn try_from(cpus: f64) -> Result<Self, InvalidLimit> {
        Self::new(cpus)
    }
}

impl FromStr for Cpus {
    type Err = InvalidLimit;

    /// Reads a decimal number.
    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let unsigned = Some(text).filter(|text| !text.starts_with('+'));
        let cpus = unsigned.and_then(|text| text.parse().ok());
        cpus.ok_or(InvalidLimit::Cpus).and_then(Self::new)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

/// A share relative to siblings: 1 to 10000, 100 for who has none set (kernel: cgroup-v2.rst,
/// "Weights"). Version 1 is given the counterpart in its own units.
///
/// ```
/// use containment_core::Weight;
/// assert_eq!(Weight::new(50)?.get(), 50);
/// assert_eq!("100".parse::<Weight>()?, Weight::DEFAULT);
/// assert_eq!(Weight::DEFAULT.to_string(), "100");
/// assert!(Weight::new(0).is_err() && Weight::new(10_001).is_err());
/// # Ok::<(), containment_core::InvalidLimit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// The share of who has none set.
    pub const DEFAULT: Self = Self(100);

    /// This share.
    ///
    /// # Errors
    /// Outside 1 to 10000.
    pub fn new(weight: u16) -> Result<Self, InvalidLimit> {
        (1..=10_000).contains(&weight).then_some(Self(weight)).ok_or(InvalidLimit::Weight)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = InvalidLimit;

    fn try_from(weight: u16) -> Result<Self, InvalidLimit> {
        Self::new(weight)
    }
}

impl FromStr for Weight {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        number(text).ok_or(InvalidLimit::Weight).and_then(Self::new)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_a_quota_that_the_kernel_takes() {
        let cases =
            [(1.5, 150_000, 100), (0.5, 50_000, 100), (0.01, 1_000, 100), (0.005, 5_000, 1_000)];
        for (cpus, quota, period) in cases {
            let expected = Quota {
                quota: Duration::from_micros(quota),
                period: Duration::from_millis(period),
            };
            assert_eq!(Cpus::new(cpus).unwrap().quota(), expected, "{cpus}");
        }
        let most = Cpus::new(1e6).unwrap().quota();
        assert_eq!(most.quota, Duration::from_secs(100_000));
    }

    #[test]
    fn a_quota_is_worth_as_many_cpus_and_never_more() {
        let quota = |quota, period| Quota {
            quota: Duration::from_micros(quota),
            period: Duration::from_micros(period),
        };
        assert_eq!(quota(10_000, 30_000).cpus(), Cpus::new(0.333_333).ok());
        for cpus in [0.005, 0.5, 1.5, 64.0, 1e6].map(|cpus| Cpus::new(cpus).unwrap()) {
            assert_eq!(cpus.quota().cpus(), Some(cpus));
        }
        assert_eq!([quota(1, 100_000), quota(1, 0)].map(Quota::cpus), [None, None]);
    }

    #[test]
    fn what_is_no_number_of_cpus_is_refused() {
        for wrong in [0.0, -1.0, 0.0009, 1.1e6, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Cpus::new(wrong), Err(InvalidLimit::Cpus), "{wrong}");
        }
        for wrong in ["", "x", "-1", "+1", "nan", "inf", "1,5"] {
            assert_eq!(wrong.parse::<Cpus>(), Err(InvalidLimit::Cpus), "{wrong:?}");
        }
    }

    #[test]
    fn weights_have_ends() {
        assert_eq!([1, 10_000].map(|n| Weight::new(n).map(Weight::get)), [Ok(1), Ok(10_000)]);
        for wrong in ["0", "10001", "-1", "+1", "", "1.5", "70000"] {
            assert_eq!(wrong.parse::<Weight>(), Err(InvalidLimit::Weight), "{wrong:?}");
        }
    }
}
