//! The formats of cgroup files. Kernel: Documentation/admin-guide/cgroup-v2.rst, "Format".

use containment_core::Pid;

use crate::proc::text::{self, number as decimal};

/// A file that lists processes or threads.
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

    /// Reads the text of such a file. Malformed lines are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let mut listing = Self::default();
        for line in text::lines(text) {
            match decimal(line) {
                Some(0) => listing.outside += 1,
                Some(raw) => listing.pids.extend(Pid::new(raw)),
                None => {}
            }
        }
        listing
    }
}

/// The entries of a flat keyed file such as `cgroup.events`. Lines without a number are skipped.
pub fn flat_keyed(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    text::lines(text).filter_map(|line| {
        let blank = line.iter().position(|byte| *byte == b' ')?;
        Some((&line[..blank], decimal(&line[blank + 1..])?))
    })
}

/// One entry of a flat keyed file.
///
/// ```
/// use containment_process::cgroupfs::field;
/// assert_eq!(field(b"populated 1\nfrozen 0\n", "populated"), Some(1));
/// assert_eq!(field(b"populated 1\nfrozen 0\n", "freeze"), None);
/// ```
pub fn field(text: &[u8], key: &str) -> Option<u64> {
    flat_keyed(text).find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// The value of a file that holds a single number; `None` for `max` and for anything else.
///
/// ```
/// use containment_process::cgroupfs::number;
/// assert_eq!(number(b"4096\n"), Some(4096));
/// assert_eq!(number(b"max\n"), None);
/// ```
pub fn number(text: &[u8]) -> Option<u64> {
    decimal(text.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pids_outside_of_the_namespace_are_counted() {
        let listing = Listing::parse(b"12\n0\n7\n0\n\njunk\n-4\n99999999999\n");
        assert_eq!(listing.pids, [12, 7].map(|raw| Pid::new(raw).unwrap()));
        assert_eq!(listing.outside, 2);
        assert!(!listing.is_empty() && Listing::parse(b"").is_empty());
    }

    #[test]
    fn a_flat_keyed_file_is_read() {
        let text = b"usage_usec 18446744073709551615\nuser_usec 5\nodd\nbad x\n";
        assert_eq!(field(text, "usage_usec"), Some(u64::MAX));
        assert_eq!(field(text, "user_usec"), Some(5));
        assert_eq!(flat_keyed(text).count(), 2);
    }

    proptest! {
        #[test]
        fn no_text_panics(text: Vec<u8>, plausible in "[a-z0-9 \n-]{0,60}") {
            for text in [&text[..], plausible.as_bytes()] {
                Listing::parse(text);
                number(text);
                flat_keyed(text).for_each(drop);
            }
        }

        #[test]
        fn a_listing_round_trips(raw in prop::collection::vec(1..i32::MAX, 0..40)) {
            let text = raw.iter().map(i32::to_string).collect::<Vec<_>>().join("\n");
            let read: Vec<_> = Listing::parse(text.as_bytes()).pids;
            prop_assert_eq!(read.into_iter().map(Pid::as_raw).collect::<Vec<_>>(), raw);
        }
    }
}
