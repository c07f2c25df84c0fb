//! The units of version 2, which the limits are given in, as those of version 1.

/// A quota of CPU time in each period, both in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) quota: i64,
    pub(super) period: u64,
}

/// The kernel's default period, and its longest (kernel: Documentation/scheduler/sched-bwc.rst).
const PERIODS: [u32; 2] = [100_000, 1_000_000];
/// The least quota that the kernel takes.
const LEAST: f64 = 1_000.0;
/// More than any machine has.
const MOST_CPUS: f64 = 1e6;

/// The quota for so many CPUs: of the default period, or, where that is too little for the kernel, of the
/// longest. `None` when it is too little even so, or no number of CPUs.
pub(super) fn quota_of_cpus(cpus: f64) -> Option<Quota> {
    let quota = |period: u32| (cpus * f64::from(period)).round();
    let enough = |period: &u32| (LEAST..=MOST_CPUS * f64::from(*period)).contains(&quota(*period));
    let period = PERIODS.into_iter().find(enough)?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 10^12")]
    let quota = quota(period) as i64;
    Some(Quota { quota, period: period.into() })
}

/// The shares, 2 to 262144, of a weight, 1 to 10000: linear, as in the OCI runtimes
/// (github.com/opencontainers/cgroups, `ConvertCPUSharesToCgroupV2Value`, solved for the shares).
pub(super) fn shares_of_weight(weight: u64) -> u64 {
    2 + (weight - 1) * 262_142 / 9_999
}

/// The blkio weight, 10 to 1000, of a weight, 1 to 10000: linear, as in the OCI runtimes
/// (github.com/opencontainers/cgroups, `ConvertBlkIOToIOWeightValue`, solved for the blkio weight).
pub(super) fn blkio_of_weight(weight: u64) -> u64 {
    10 + (weight - 1) * 990 / 9_999
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_reach_from_end_to_end() {
        assert_eq!([1, 100, 10_000].map(shares_of_weight), [2, 2_597, 262_144]);
        assert_eq!([1, 100, 10_000].map(blkio_of_weight), [10, 19, 1_000]);
    }

    #[test]
    fn cpus_become_a_quota_that_the_kernel_takes() {
        let quota = |cpus| quota_of_cpus(cpus).map(|q| (q.quota, q.period));
        assert_eq!(quota(1.5), Some((150_000, 100_000)));
        assert_eq!(quota(0.005), Some((5_000, 1_000_000)));
        for nonsense in [0.0, 0.0001, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(quota(nonsense), None, "{nonsense}");
        }
    }
}
