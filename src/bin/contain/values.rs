//! Values of options: read once, here, into types that cannot be wrong.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::time::Duration;

use containment::{Bytes, CpuSet, Cpus, Device, HugePage, InvalidLimit, IoMax, Limits, Most, Rate};
use fundu::DurationParser;
use tracing_subscriber::filter::Targets;

use crate::errors::reason;

/// `500ms`, `1.5s`, `2m`, or plain seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let mut parser = DurationParser::new();
    parser.disable_infinity(true);
    let parsed = parser.parse(text).map_err(|_| DURATION.to_owned())?;
    parsed.try_into().map_err(|_| DURATION.to_owned())
}

const DURATION: &str = "expected a time such as 500ms, 1.5s, 2m, 1h or plain seconds";

/// The same, of something that ends a group: to be over before it began is nobody's limit.
pub(crate) fn bound(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("expected more than no time; leave the option out for no limit".to_owned())
        }
        time => Ok(time),
    }
}

/// Bytes, or K, M, G, T of 1024; `max` for no limit.
pub(crate) fn size(text: &str) -> Result<Most<Bytes>, String> {
    most(text, |text| bytes(text).map(Bytes).ok_or_else(|| SIZE.to_owned()))
}

const SIZE: &str = "expected bytes, a size such as 512M or 2G, or max";

/// The same of memory, of which nobody can do with none.
pub(crate) fn memory(text: &str) -> Result<Most<Bytes>, String> {
    let size = size(text)?;
    let checked = Limits::new().memory_max(size).check();
    checked.map(|()| size).map_err(|invalid| invalid.to_string())
}

fn bytes(text: &str) -> Option<u64> {
    parse_size::Config::new().with_binary().parse_size(text).ok()
}

/// A number of digits alone: `parse` takes a sign, too.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What to log. A directive with fields, which `tracing` knows, would never be met: no event here has spans.
pub(crate) fn filter(text: &str) -> Result<Targets, String> {
    if text.contains(['[', '{']) {
        return Err("expected a level, or target=level,…".to_owned());
    }
    text.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
}

/// `max`, or what `parse` makes of it.
fn most<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Most<T>, String> {
    if text == "max" { Ok(Most::Lifted) } else { parse(text).map(Most::At) }
}

/// A number of processes, or `max`.
pub(crate) fn count(text: &str) -> Result<Most<u64>, String> {
    let number = |text: &str| number(text).filter(|most| *most > 0);
    most(text, |text| number(text).ok_or_else(|| "expected a number from 1 on, or max".to_owned()))
}

/// CPUs as a decimal number, or `max`.
pub(crate) fn cpus(text: &str) -> Result<Most<Cpus>, String> {
    most(text, |text| text.parse().map_err(|invalid: InvalidLimit| format!("{invalid}, or max")))
}

/// A disk and its rates: `8:0:rbps=1M,wiops=100`, or with a path in place of the numbers.
pub(crate) fn io_max(text: &str) -> Result<(Device, IoMax), String> {
    let (disk, rates) = text.rsplit_once(':').ok_or(IO_MAX)?;
    let mut most = IoMax::new();
    for one in rates.split(',') {
        let (name, value) = one.split_once('=').ok_or(IO_MAX)?;
        let rate = Rate::ALL.into_iter().find(|rate| rate.name() == name).ok_or(IO_MAX)?;
        let is_count = matches!(rate, Rate::Reads | Rate::Writes);
        let number = |text: &str| if is_count { number(text) } else { bytes(text) };
        most = most.with(rate, self::most(value, |text| number(text).ok_or(IO_MAX.to_owned()))?);
    }
    let device = device(disk)?;
    Limits::new().io_max(device, most).check().map_err(|invalid| invalid.to_string())?;
    Ok((device, most))
}

const IO_MAX: &str =
    "expected a disk and its rates, such as 8:0:rbps=1M,wiops=100 or /dev/sda:wbps=max";

/// The numbers of a disk, or the path of its device file.
fn device(text: &str) -> Result<Device, String> {
    if let Ok(device) = text.parse() {
        return Ok(device);
    }
    let file = std::fs::metadata(text).map_err(|error| format!("{text}: {}", reason(&error)))?;
    if !file.file_type().is_block_device() {
        return Err(format!("{text} is no disk"));
    }
    let number = file.rdev();
    Ok(Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) })
}

/// The size of huge pages, and the most memory in them: `2M:64M`.
pub(crate) fn huge_pages(text: &str) -> Result<(HugePage, Most<Bytes>), String> {
    let expected = || "expected the size of a huge page and a limit, such as 2M:64M".to_owned();
    let (page, most) = text.split_once(':').ok_or_else(expected)?;
    let page = bytes(page).ok_or_else(expected)?;
    let page = HugePage::new(Bytes(page)).map_err(|invalid| invalid.to_string())?;
    Ok((page, size(most)?))
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
    fn memory_is_at_least_a_page() {
        assert_eq!(memory("4K"), Ok(Most::At(Bytes::kib(4))));
        assert_eq!(memory("max"), Ok(Most::Lifted));
        for text in ["0", "4095", "1Q"] {
            assert!(memory(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_disk_has_rates() {
        let disk = Device { major: 8, minor: 0 };
        let most = IoMax::new().with(Rate::ReadBytes, 1 << 20).with(Rate::Writes, Most::Lifted);
        assert_eq!(io_max("8:0:rbps=1M,wiops=max"), Ok((disk, most)));
        let wrong =
            ["", "nodev", "8:0", "8:0:", "8:0:bps=1", "8:0:rbps", "8:0:riops=1M", "8:0:riops=+1"];
        for text in wrong {
            assert!(io_max(text).is_err(), "{text:?}");
        }
        assert!(io_max("/dev/null:rbps=1").unwrap_err().contains("/dev/null is no disk"));
        assert!(io_max("/no/such:rbps=1").unwrap_err().contains("/no/such"));
    }

    #[test]
    fn huge_pages_have_a_size_and_a_limit() {
        let pages = HugePage::new(Bytes::mib(2)).unwrap();
        assert_eq!(huge_pages("2M:64M"), Ok((pages, Most::At(Bytes::mib(64)))));
        assert_eq!(huge_pages("2M:max"), Ok((pages, Most::Lifted)));
        for text in ["", "2M", "2M:", ":64M", "3M:64M", "2M:lots"] {
            assert!(huge_pages(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_to_log_has_no_fields() {
        assert!(filter("containment=debug,warn").is_ok() && filter("off").is_ok());
        for text in ["containment[span]=debug", "containment[{pid}]=debug", "x=loud"] {
            assert!(filter(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn counts_and_cpus_have_a_least() {
        assert_eq!(count("1"), Ok(Most::At(1)));
        assert_eq!(count("max"), Ok(Most::Lifted));
        for text in ["0", "-1", "+1", "", "1.5", "all"] {
            assert!(count(text).is_err(), "{text:?}");
        }
        assert_eq!(cpus("1.5"), Ok(Most::At(Cpus::new(1.5).unwrap())));
        assert_eq!(cpus("max"), Ok(Most::Lifted));
        for text in ["0", "-1", "nan", "inf", "", "0.0009"] {
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
