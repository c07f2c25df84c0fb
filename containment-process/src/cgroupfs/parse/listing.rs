//! Files that list processes or threads.

use containment_core::Pid;

use super::{Parsed, each_line};
use crate::proc::text::number as decimal;

/// What `cgroup.procs`, `cgroup.threads` or `tasks` list.
///
/// ```
/// use containment_process::cgroupfs::parse::Listing;
/// let listing = Listing::parse(b"12\n0\n7\n")?;
/// assert_eq!((listing.pids.len(), listing.outside), (2, 1));
/// assert!(!listing.is_empty() && Listing::parse(b"")?.is_empty());
/// assert!(Listing::parse(b"-1\n").is_err());
/// # Ok::<(), containment_process::Malformed>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those that have a pid here, in the kernel's order; one may be listed twice.
    pub pids: Vec<Pid>,
    /// How many live outside of our pid namespace: they read as 0.
    pub outside: usize,
}

impl Listing {
    /// Whether nothing is listed. A group may be populated all the same (K10).
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.outside == 0
    }

    /// Reads the text of such a file.
    pub fn parse(text: &[u8]) -> Parsed<Self> {
        let mut listing = Self::default();
        each_line(text, |line| {
            match decimal(line)? {
                0 => listing.outside += 1,
                raw => listing.pids.push(Pid::new(raw)?),
            }
            Some(())
        })?;
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::malformed::Malformed;
    use proptest::prelude::*;

    #[test]
    fn pids_outside_of_the_namespace_are_counted() {
        let listing = Listing::parse(b"12\n0\n7\n0\n").unwrap();
        assert_eq!(listing.pids, [12, 7].map(|raw| Pid::new(raw).unwrap()));
        assert_eq!(listing.outside, 2);
        assert!(!listing.is_empty() && Listing::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_pid_is_rejected_with_its_line() {
        let cases: [(&[u8], usize); 5] =
            [(b"1\n\n", 2), (b"junk\n", 1), (b"1\n-4\n", 2), (b"99999999999\n", 1), (b"1\n2", 2)];
        for (text, line) in cases {
            assert_eq!(Listing::parse(text), Err(Malformed { line }), "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_listing_round_trips(raw in prop::collection::vec(1..i32::MAX, 0..40)) {
            let text: String = raw.iter().flat_map(|pid| [pid.to_string(), "\n".to_owned()]).collect();
            let read: Vec<_> = Listing::parse(text.as_bytes()).unwrap().pids;
            prop_assert_eq!(read.into_iter().map(Pid::as_raw).collect::<Vec<_>>(), raw);
        }
    }
}
