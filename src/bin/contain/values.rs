//! Values of options: read once, here, into types that cannot be wrong.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use containment::{Bytes, CpuSet};
use fundu::DurationParser;

/// A most that can be lifted again by `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Most<T> {
    /// No limit.
    Lifted,
    /// This much.
    At(T),
}

impl<T> Most<T> {
    /// The limit of a new group, where no limit is what there is without one.
    pub(crate) fn limit(self) -> Option<T> {
        match self {
            Self::Lifted => None,
            Self::At(most) => Some(most),
        }
    }
}

/// `500ms`, `1.5s`, `2m`, or plain seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let mut parser = DurationParser::new();
    parser.disable_infinity(true);
    let parsed = parser.parse(text).map_err(|_| DURATION.to_owned())?;
    parsed.try_into().map_err(|_| DURATION.to_owned())
}

const DURATION: &str = "expected a time such as 500ms, 1.5s, 2m or plain seconds";

/// Bytes, or K, M, G, T of 1024; `max` for no limit.
pub(crate) fn size(text: &str) -> Result<Most<Bytes>, String> {
    if text == "max" {
        return Ok(Most::Lifted);
    }
    let bytes = parse_size::Config::new().with_binary().parse_size(text);
    bytes
        .map(|bytes| Most::At(Bytes(bytes)))
        .map_err(|_| "expected bytes, a size such as 512M or 2G, or max".to_owned())
}

/// A number of processes, or `max`.
pub(crate) fn count(text: &str) -> Result<Most<u64>, String> {
    match (text, text.parse()) {
        ("max", _) => Ok(Most::Lifted),
        (_, Ok(most)) if most > 0 => Ok(Most::At(most)),
        _ => Err("expected a number from 1 on, or max".to_owned()),
    }
}

/// CPUs as a decimal number. The kernel's smallest quota is 1 ms in a period of 100 ms.
pub(crate) fn cpus(text: &str) -> Result<Most<f64>, String> {
    match (text, text.parse::<f64>()) {
        ("max", _) => Ok(Most::Lifted),
        (_, Ok(cpus)) if (0.01..=100_000.0).contains(&cpus) => Ok(Most::At(cpus)),
        _ => Err("expected a number of CPUs such as 1.5, at least 0.01, or max".to_owned()),
    }
}

/// CPUs or memory nodes in the kernel's list format, at least one: `0-3,6`.
pub(crate) fn list(text: &str) -> Result<CpuSet, String> {
    let set = text.parse().ok().filter(|set: &CpuSet| !set.is_empty());
    set.ok_or_else(|| "expected a list such as 0-3,6".to_owned())
}

/// `NAME=VALUE`, of any bytes.
pub(crate) fn variable(text: &OsStr) -> Result<(OsString, OsString), String> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) if at > 0 => {
            let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Ok((part(&bytes[..at]), part(&bytes[at + 1..])))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_unit() {
        let cases = [("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("3", 3000), ("0", 0)];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "1x", "ms", "inf", "nan", "1 s s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let cases = [("0", 0), ("4096", 4096), ("1K", 1 << 10), ("2M", 2 << 20), ("3G", 3 << 30)];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(Most::At(Bytes(bytes))), "{text}");
        }
        assert_eq!(size("1T"), Ok(Most::At(Bytes(1 << 40))));
        assert_eq!(size("max"), Ok(Most::Lifted));
        for text in ["", "-1", "lots", "M", "1X", "99999999999T"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn counts_and_cpus_have_a_least() {
        assert_eq!(count("1"), Ok(Most::At(1)));
        assert_eq!(count("max").map(Most::limit), Ok(None));
        for text in ["0", "-1", "", "1.5", "all"] {
            assert!(count(text).is_err(), "{text:?}");
        }
        assert_eq!(cpus("1.5"), Ok(Most::At(1.5)));
        for text in ["0", "-1", "nan", "inf", "", "0.001"] {
            assert!(cpus(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lists_are_the_kernels() {
        for (text, set) in [("0", "0"), ("0-3,6", "0-3,6"), ("1,2,3", "1-3")] {
            assert_eq!(list(text).map(|set| set.to_string()).as_deref(), Ok(set));
        }
        for text in ["", ",", "3-1", "0-", "-1", "a", "0, 1", "+1", "0-3-5"] {
            assert!(list(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_variable_needs_a_name() {
        let read = |text: &str| variable(OsStr::new(text));
        assert_eq!(read("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(read("A="), Ok(("A".into(), "".into())));
        assert!(read("A").is_err() && read("=b").is_err() && read("").is_err());
    }
}
