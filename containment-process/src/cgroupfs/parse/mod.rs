//! The formats of the kernel's cgroup files (kernel: Documentation/admin-guide/cgroup-v2.rst, "Format";
//! cgroup-v1/*.rst), as Linux 4.19 to 7.x write them.
//!
//! A key that is not known is passed over, one that is missing is `None`, and whatever else is not as the
//! kernel writes it is [`Malformed`], with its line: never a silent 0. Each parser is fuzzed (`fuzz/`).

mod flat;
mod io;
mod listing;
mod pressure;

use containment_core::{CpuSet, Most, Quota};
use std::time::Duration;

use crate::malformed::Malformed;
use crate::proc::text::number as decimal;

pub use flat::{
    CpuAcctStat, CpuStat, Events, MemoryEvents, MemoryStat, OomControl, V1CpuStat, V1MemoryStat,
};
pub use io::{IoTotals, blkio_bytes, io_max, io_stat, rates, weight};
pub use listing::Listing;
pub use pressure::pressure;

/// What a parser answers.
pub type Parsed<T> = Result<T, Malformed>;

/// The value of a file that holds a single number.
///
/// ```
/// use containment_process::cgroupfs::parse::number;
/// assert_eq!(number(b"4096\n").unwrap(), 4096);
/// assert_eq!(number(b"max\n").unwrap_err().line, 1);
/// ```
pub fn number(text: &[u8]) -> Parsed<u64> {
    decimal(only_line(text)?).ok_or(FIRST)
}

/// The value of a file that holds a number or `max`.
///
/// ```
/// use containment_core::Most;
/// use containment_process::cgroupfs::parse::most;
/// assert_eq!(most(b"4096\n"), Ok(Most::At(4096)));
/// assert_eq!(most(b"max\n"), Ok(Most::Lifted));
/// ```
pub fn most(text: &[u8]) -> Parsed<Most<u64>> {
    most_of(only_line(text)?).ok_or(FIRST)
}

/// `cpu.max`: the quota, and the period.
///
/// ```
/// use containment_core::{Most, Quota};
/// use containment_process::cgroupfs::parse::cpu_max;
/// use std::time::Duration;
/// let (quota, period) = (Duration::from_millis(50), Duration::from_millis(100));
/// assert_eq!(cpu_max(b"50000 100000\n"), Ok(Most::At(Quota { quota, period })));
/// assert_eq!(cpu_max(b"max 100000\n"), Ok(Most::Lifted));
/// ```
pub fn cpu_max(text: &[u8]) -> Parsed<Most<Quota>> {
    let mut words = words(only_line(text)?);
    let quota = words.next().and_then(most_of).ok_or(FIRST)?;
    let period = words.next().and_then(decimal).ok_or(FIRST)?;
    if words.next().is_some() {
        return Err(FIRST);
    }
    Ok(quota.map(|quota| Quota {
        quota: Duration::from_micros(quota),
        period: Duration::from_micros(period),
    }))
}

/// A list of CPUs or memory nodes; an empty one is the empty set.
///
/// ```
/// use containment_process::cgroupfs::parse::list;
/// assert_eq!(list(b"0-3,6\n").unwrap().to_string(), "0-3,6");
/// assert!(list(b"\n").unwrap().is_empty());
/// ```
pub fn list(text: &[u8]) -> Parsed<CpuSet> {
    let text = std::str::from_utf8(only_line(text)?).map_err(|_| FIRST)?;
    text.parse().map_err(|_| FIRST)
}

const FIRST: Malformed = Malformed { line: 1 };

/// The text without its newline, if it is one line.
fn only_line(text: &[u8]) -> Parsed<&[u8]> {
    match text.strip_suffix(b"\n") {
        Some(line) if !line.contains(&b'\n') => Ok(line),
        Some(_) => Err(Malformed { line: 2 }),
        // Cut off: the kernel ends every line.
        None => Err(FIRST),
    }
}

/// Gives every line to `read`, which answers `None` for one that it does not understand.
fn each_line<'a>(text: &'a [u8], mut read: impl FnMut(&'a [u8]) -> Option<()>) -> Parsed<()> {
    let mut rest = text;
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Malformed { line })?;
        read(&rest[..end]).ok_or(Malformed { line })?;
        rest = &rest[end + 1..];
    }
    Ok(())
}

/// What is between blanks. Some kernels leave one at the end of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

fn most_of(word: &[u8]) -> Option<Most<u64>> {
    if word == b"max" { Some(Most::Lifted) } else { decimal(word).map(Most::At) }
}

/// A name: of visible ASCII characters alone.
fn is_name(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_values_are_one_whole_line() {
        for wrong in [&b""[..], b"1", b"\n", b"1\n2\n", b" 1\n", b"+1\n", b"-1\n", b"1 \n"] {
            assert!(number(wrong).is_err(), "{}", wrong.escape_ascii());
            assert!(most(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert_eq!(number(b"18446744073709551615\n"), Ok(u64::MAX));
        assert_eq!(number(b"18446744073709551616\n"), Err(FIRST));
    }

    #[test]
    fn a_quota_has_a_period() {
        for wrong in [&b"max\n"[..], b"max max\n", b"1 2 3\n", b"x 100000\n", b"max 100000"] {
            assert!(cpu_max(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn lists_are_the_kernels() {
        assert_eq!(list(b"0-1\n").unwrap(), CpuSet::from_iter([0, 1]));
        for wrong in [&b"0-1"[..], b"1-0\n", b"a\n", b"0\n1\n", b"\xff\n"] {
            assert!(list(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
