//! Flat keyed files: a key and a number on each line.

use super::Parsed;
use crate::malformed::Malformed;
use crate::proc::text::number as decimal;

macro_rules! flat_keyed {
    ($(#[$doc:meta])* $type:ident { $($(#[$fdoc:meta])* $field:ident: $key:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $type {
            $($(#[$fdoc])* pub $field: Option<u64>),+
        }

        impl $type {
            /// Reads the text of such a file.
            pub fn parse(text: &[u8]) -> Parsed<Self> {
                let mut found = Self::default();
                each_entry(text, |key, value| {
                    match key {
                        $($key => found.$field = Some(decimal(value)?),)+
                        _ => {}
                    }
                    Some(())
                })?;
                Ok(found)
            }
        }
    };
}

flat_keyed! {
    /// `cpu.stat`. Times are in microseconds; those of throttling take the controller.
    ///
    /// ```
    /// use containment_process::cgroupfs::parse::{CpuStat, Events, MemoryEvents, MemoryStat};
    /// let used = CpuStat::parse(b"usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n")?;
    /// assert_eq!((used.usage, used.throttled), (Some(1500), None));
    /// assert_eq!(MemoryStat::parse(b"anon 4096\nfile 0\n")?.anon, Some(4096));
    /// assert_eq!(MemoryEvents::parse(b"low 0\noom_kill 2\n")?.oom_kill, Some(2));
    /// assert_eq!(Events::parse(b"populated 1\nfrozen 0\n")?.populated, Some(1));
    /// assert!(Events::parse(b"populated yes\n").is_err());
    /// # Ok::<(), containment_process::Malformed>(())
    /// ```
    CpuStat {
        /// CPU time.
        usage: b"usage_usec",
        /// CPU time in user mode.
        user: b"user_usec",
        /// CPU time in the kernel.
        system: b"system_usec",
        /// Periods in which the group was throttled.
        throttled_periods: b"nr_throttled",
        /// Time for which it was throttled.
        throttled: b"throttled_usec",
    }
}

flat_keyed! {
    /// `cpu.stat` of version 1.
    V1CpuStat {
        /// Periods in which the group was throttled.
        throttled_periods: b"nr_throttled",
        /// Time for which it was throttled, in nanoseconds.
        throttled: b"throttled_time",
    }
}

flat_keyed! {
    /// `cpuacct.stat` of version 1, in ticks of `USER_HZ`.
    CpuAcctStat {
        /// CPU time in user mode.
        user: b"user",
        /// CPU time in the kernel.
        system: b"system",
    }
}

flat_keyed! {
    /// `memory.stat`, in bytes.
    MemoryStat {
        /// Anonymous memory.
        anon: b"anon",
        /// Page cache.
        file: b"file",
        /// Kernel memory, since Linux 5.18.
        kernel: b"kernel",
    }
}

flat_keyed! {
    /// `memory.stat` of version 1, in bytes: the group and those below it.
    V1MemoryStat {
        /// Anonymous memory.
        anon: b"total_rss",
        /// Page cache.
        file: b"total_cache",
        /// Swap, where it is counted.
        swap: b"total_swap",
    }
}

flat_keyed! {
    /// `memory.events` and `memory.events.local`.
    MemoryEvents {
        /// How often the limit was about to be passed.
        max: b"max",
        /// How often memory could not be had.
        oom: b"oom",
        /// Members that the OOM killer took.
        oom_kill: b"oom_kill",
        /// How often it took the whole group, since Linux 5.17.
        oom_group_kill: b"oom_group_kill",
    }
}

flat_keyed! {
    /// `memory.oom_control` of version 1.
    OomControl {
        /// Whether the OOM killer leaves members waiting.
        disabled: b"oom_kill_disable",
        /// Whether members wait for memory.
        under_oom: b"under_oom",
        /// Members that the OOM killer took, since Linux 4.13.
        oom_kill: b"oom_kill",
    }
}

flat_keyed! {
    /// `cgroup.events`.
    Events {
        /// Whether anything in the subtree lives.
        populated: b"populated",
        /// Whether the subtree is frozen, since Linux 5.2.
        frozen: b"frozen",
    }
}

/// Gives every entry to `read`, which answers `None` for one that it does not understand. What is no name ends the key and
/// the search for its end at once: a monitor reads hundreds of these lines for each group.
fn each_entry(text: &[u8], mut read: impl FnMut(&[u8], &[u8]) -> Option<()>) -> Parsed<()> {
    let (mut rest, mut line) = (text, 0);
    while !rest.is_empty() {
        line += 1;
        let (key, value, after) = split_entry(rest).ok_or(Malformed { line })?;
        read(key, value).ok_or(Malformed { line })?;
        rest = after;
    }
    Ok(())
}

/// The key and the value of the first line, and what follows it.
fn split_entry(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = text.iter().position(|byte| !byte.is_ascii_graphic())?;
    let (key, after) = text.split_at(blank);
    let after = after.strip_prefix(b" ").filter(|_| !key.is_empty())?;
    let end = after.iter().position(|byte| *byte == b'\n').filter(|end| *end > 0)?;
    Some((key, &after[..end], &after[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_not_known_are_passed_over_and_missing_ones_are_none() {
        let text = b"usage_usec 18446744073709551615\nnice_usec 0\nodd 0.5\nuser_usec 5\n";
        let stat = CpuStat::parse(text).unwrap();
        assert_eq!((stat.usage, stat.user, stat.system), (Some(u64::MAX), Some(5), None));
        assert_eq!(CpuStat::parse(b""), Ok(CpuStat::default()));
    }

    #[test]
    fn what_is_no_entry_is_rejected_with_its_line() {
        let cases: [(&[u8], usize); 7] = [
            (b"oom 0\noom_kill x\n", 2),
            (b"oom 0\noom_kill -1\n", 2),
            (b"oom\n", 1),
            (b"oom 0\n\noom_kill 0\n", 2),
            (b" 0\n", 1),
            (b"oom 0\nmax 1", 2),
            (b"oom 0\nm\xffx 1\n", 2),
        ];
        for (text, line) in cases {
            let error = MemoryEvents::parse(text).unwrap_err();
            assert_eq!(error, Malformed { line }, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn version_1_counts_by_other_names() {
        let text = b"cache 1\nrss 2\ntotal_cache 4096\ntotal_rss 8192\n";
        let stat = V1MemoryStat::parse(text).unwrap();
        assert_eq!((stat.file, stat.anon, stat.swap), (Some(4096), Some(8192), None));
        let oom = OomControl::parse(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n").unwrap();
        assert_eq!(oom.oom_kill, Some(3));
    }
}
