//! The units of version 2, which the limits are given in, as those of version 1.

use containment_core::Weight;

/// The shares, 2 to 262144, of a weight: linear, as in the OCI runtimes
/// (github.com/opencontainers/cgroups, `ConvertCPUSharesToCgroupV2Value`, solved for the shares).
pub(super) fn shares_of_weight(weight: Weight) -> u64 {
    2 + (u64::from(weight.get()) - 1) * 262_142 / 9_999
}

/// The blkio weight, 10 to 1000, of a weight: linear, as in the OCI runtimes
/// (github.com/opencontainers/cgroups, `ConvertBlkIOToIOWeightValue`, solved for the blkio weight).
pub(super) fn blkio_of_weight(weight: Weight) -> u64 {
    10 + (u64::from(weight.get()) - 1) * 990 / 9_999
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_reach_from_end_to_end() {
        let weights = [1, 100, 10_000].map(|weight| Weight::new(weight).unwrap());
        assert_eq!(weights.map(shares_of_weight), [2, 2_597, 262_144]);
        assert_eq!(weights.map(blkio_of_weight), [10, 19, 1_000]);
    }
}
