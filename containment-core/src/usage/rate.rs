//! What two samples say of the time between them.

use std::time::Duration;

use crate::{Time, Usage};

/// What was used by some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The moment, by any clock that does not jump.
    pub at: Time,
    /// What was used by then.
    pub usage: Usage,
}

/// The CPU time used per time, in percent of one CPU: 150 is one and a half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuRate {
    /// Of user and system together.
    pub percent: f64,
    /// In user mode, where that is measured.
    pub user_percent: Option<f64>,
    /// In the kernel, where that is measured.
    pub system_percent: Option<f64>,
}

impl Sample {
    /// How much CPU was used since an earlier sample; `None` where CPU time is not measured, where no
    /// time has passed, and where the samples are of different groups: time that was used does not
    /// get less.
    ///
    /// ```
    /// use containment_core::{Sample, Time, Usage};
    /// use std::time::Duration;
    /// let sample = |at, used| Sample {
    ///     at: Time::ZERO + Duration::from_secs(at),
    ///     usage: Usage { cpu: Some(Duration::from_millis(used)), ..Usage::default() },
    /// };
    /// let rate = sample(12, 3_500).cpu_since(&sample(10, 500)).unwrap();
    /// assert_eq!(rate.percent, 150.0);
    /// assert_eq!(rate.ticks(2_000.0), 3_000.0);
    /// ```
    pub fn cpu_since(&self, earlier: &Self) -> Option<CpuRate> {
        let passed = Some(self.at.since(earlier.at)).filter(|passed| !passed.is_zero())?;
        let percent = |figure: fn(&Usage) -> Option<Duration>| {
            let used = figure(&self.usage)?.checked_sub(figure(&earlier.usage)?)?;
            Some(used.as_secs_f64() / passed.as_secs_f64() * 100.0)
        };
        Some(CpuRate {
            percent: percent(|usage| usage.cpu)?,
            user_percent: percent(|usage| usage.cpu_user),
            system_percent: percent(|usage| usage.cpu_system),
        })
    }
}

impl CpuRate {
    /// The clock ticks per microsecond that this is on CPUs of so many MHz: a whole CPU at 2,000 MHz
    /// is 2,000 (what Nomad calls total ticks).
    pub fn ticks(&self, mhz: f64) -> f64 {
        self.percent / 100.0 * mhz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, user: u64, system: u64) -> Sample {
        let [cpu, cpu_user, cpu_system] =
            [user + system, user, system].map(|millis| Some(Duration::from_millis(millis)));
        let usage = Usage { cpu, cpu_user, cpu_system, ..Usage::default() };
        Sample { at: Time::ZERO + Duration::from_millis(at), usage }
    }

    #[test]
    fn user_and_system_add_up() {
        let rate = sample(3_000, 1_750, 250).cpu_since(&sample(1_000, 250, 250)).unwrap();
        assert_eq!(rate.percent.to_string(), "75");
        assert_eq!((rate.user_percent, rate.system_percent), (Some(75.0), Some(0.0)));
        assert_eq!(rate.ticks(1_000.0).to_string(), "750");
    }

    #[test]
    fn samples_that_say_nothing_together_give_no_rate() {
        let (early, late) = (sample(1_000, 100, 100), sample(2_000, 200, 200));
        assert_eq!(late.cpu_since(&late), None, "no time has passed");
        assert_eq!(early.cpu_since(&late), None, "in the wrong order");
        assert_eq!(sample(3_000, 0, 0).cpu_since(&late), None, "of another group");
        let unmeasured = Sample { usage: Usage::default(), ..late };
        assert_eq!(unmeasured.cpu_since(&early), None);
    }
}
