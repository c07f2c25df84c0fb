//! User and system time out of the total.
//!
//! `cpuacct.usage` is precise. The two parts of it are sampled: whoever runs when the clock ticks is charged
//! a whole tick (`cpuacct_account_field` in kernel/sched/cpuacct.c, since Linux 5.17 also behind
//! `cpuacct.usage_user`), so that together they may be more than a short program ever ran, or nothing.
//! Only their ratio is used, as the kernel does for its processes and for cgroup v2 (`cputime_adjust` in
//! kernel/sched/cputime.c).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The parts as they were told last: neither gets less.
#[derive(Debug, Default)]
pub(crate) struct Parts(Mutex<[Duration; 2]>);

impl Parts {
    /// User and system time that make up `total`, in the ratio of the sampled ones.
    pub(crate) fn of(&self, total: Duration, user: Duration, system: Duration) -> [Duration; 2] {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *told = adjusted(total, user, system, *told);
        *told
    }
}

/// A time without a sample is user time, until there are some.
fn adjusted(
    total: Duration,
    user: Duration,
    system: Duration,
    [user_before, system_before]: [Duration; 2],
) -> [Duration; 2] {
    if user_before + system_before >= total {
        return [user_before, system_before];
    }
    let share = match (user, system) {
        (_, Duration::ZERO) => Duration::ZERO,
        (Duration::ZERO, _) => total,
        _ => scaled(total, system, user + system),
    };
    let system = share.clamp(system_before, total.saturating_sub(user_before));
    [total.saturating_sub(system), system]
}

/// `total * part / whole`.
fn scaled(total: Duration, part: Duration, whole: Duration) -> Duration {
    // Of a century of nanoseconds the product has 124 bits.
    let nanos = total.as_nanos() * part.as_nanos() / whole.as_nanos();
    u64::try_from(nanos).map_or(total, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [Duration; 2] = [Duration::ZERO; 2];

    fn micros(values: [u64; 2]) -> [Duration; 2] {
        values.map(Duration::from_micros)
    }

    #[test]
    fn the_parts_make_up_the_total_in_the_ratio_of_the_samples() {
        for (total, sampled, parts) in [
            (1_500, [10_000, 0], [1_500, 0]),
            (1_500, [0, 10_000], [0, 1_500]),
            (1_500, [0, 0], [1_500, 0]),
            (0, [0, 0], [0, 0]),
            (4_000, [10_000, 30_000], [1_000, 3_000]),
            (80_000, [10_000, 30_000], [20_000, 60_000]),
        ] {
            let [user, system] = micros(sampled);
            let total = Duration::from_micros(total);
            assert_eq!(adjusted(total, user, system, NOTHING), micros(parts), "{total:?}");
        }
    }

    #[test]
    fn neither_part_gets_less_and_they_never_pass_the_total() {
        let parts = Parts::default();
        let mut before = NOTHING;
        let samples = [[0, 0], [0, 10_000], [10_000, 10_000], [10_000, 90_000], [900_000, 90_000]];
        for (round, sampled) in (1..).zip(samples) {
            let ([user, system], total) = (micros(sampled), Duration::from_micros(round * 7_000));
            let now = parts.of(total, user, system);
            assert_eq!(now[0] + now[1], total);
            assert!(now[0] >= before[0] && now[1] >= before[1], "{before:?} {now:?}");
            before = now;
        }
    }

    #[test]
    fn what_ran_for_a_century_is_no_overflow() {
        let century = Duration::from_secs(3_200_000_000);
        assert_eq!(scaled(century, century / 2, century), century / 2);
    }
}
