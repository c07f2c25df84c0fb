//! Files of I/O: figures and limits per device.

use std::collections::BTreeMap;

use containment_core::{Device, IoMax, Rate};

use super::{Parsed, each_line, is_name, most_of, words};
use crate::malformed::Malformed;
use crate::proc::text::number as decimal;

/// Bytes over all devices. A group that did no I/O has no line, and 0 of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoTotals {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// `io.stat`. Linux before 5.15 may put several devices on a line, those without figures.
///
/// ```
/// use containment_process::cgroupfs::parse::{IoTotals, io_stat};
/// let text = b"8:0 rbytes=4096 wbytes=100 rios=1 wios=1 dbytes=0 dios=0\n7:1 7:0 rbytes=4 wbytes=0\n";
/// assert_eq!(io_stat(text), Ok(IoTotals { read: 4100, written: 100 }));
/// ```
pub fn io_stat(text: &[u8]) -> Parsed<IoTotals> {
    let mut totals = IoTotals::default();
    each_line(text, |line| {
        let mut words = words(line);
        device(words.next()?)?;
        for word in words.filter(|word| device(word).is_none()) {
            let (key, value) = key_and_value(word)?;
            match key {
                b"rbytes" => totals.read = totals.read.checked_add(decimal(value)?)?,
                b"wbytes" => totals.written = totals.written.checked_add(decimal(value)?)?,
                _ => {}
            }
        }
        Some(())
    })?;
    Ok(totals)
}

/// `blkio.throttle.io_service_bytes` and the like of version 1: `8:0 Read 4096`, and the total.
///
/// ```
/// use containment_process::cgroupfs::parse::{IoTotals, blkio_bytes};
/// let text = b"8:0 Read 4096\n8:0 Write 100\n8:0 Total 4196\nTotal 4196\n";
/// assert_eq!(blkio_bytes(text), Ok(IoTotals { read: 4096, written: 100 }));
/// ```
pub fn blkio_bytes(text: &[u8]) -> Parsed<IoTotals> {
    let mut totals = IoTotals::default();
    each_line(text, |line| {
        let mut words = words(line);
        match (words.next()?, words.next()?, words.next(), words.next()) {
            (b"Total", total, None, None) => decimal::<u64>(total).map(drop),
            (of, direction, Some(bytes), None) => {
                device(of)?;
                let bytes = decimal(bytes)?;
                match direction {
                    b"Read" => totals.read = totals.read.checked_add(bytes)?,
                    b"Write" => totals.written = totals.written.checked_add(bytes)?,
                    other if is_name(other) => {}
                    _ => return None,
                }
                Some(())
            }
            _ => None,
        }
    })?;
    Ok(totals)
}

/// `io.max`: the limits of each device that has any.
pub fn io_max(text: &[u8]) -> Parsed<BTreeMap<Device, IoMax>> {
    let mut devices = BTreeMap::new();
    each_line(text, |line| {
        let mut words = words(line);
        let device = device(words.next()?)?;
        let mut limits = IoMax::new();
        for word in words {
            let (key, value) = key_and_value(word)?;
            let value = most_of(value)?;
            if let Some(rate) = Rate::ALL.into_iter().find(|rate| rate.name().as_bytes() == key) {
                limits = limits.with(rate, value);
            }
        }
        devices.insert(device, limits);
        Some(())
    })?;
    Ok(devices)
}

/// `blkio.throttle.read_bps_device` and the like of version 1: a rate for each device that has one,
/// in bytes or operations per second.
///
/// ```
/// use containment_process::cgroupfs::parse::rates;
/// let limited = rates(b"8:0 1048576\n259:0 2097152\n")?;
/// assert_eq!(limited[&"8:0".parse().unwrap()], 1_048_576);
/// # Ok::<(), containment_process::Malformed>(())
/// ```
pub fn rates(text: &[u8]) -> Parsed<BTreeMap<Device, u64>> {
    let mut devices = BTreeMap::new();
    each_line(text, |line| {
        let [first, rate] = words(line).collect::<Vec<_>>()[..] else { return None };
        devices.insert(device(first)?, decimal(rate)?);
        Some(())
    })?;
    Ok(devices)
}

/// The group's own weight in `io.weight`, `io.bfq.weight`, `blkio.weight` or `blkio.bfq.weight`: a number,
/// which may be called `default`. Lines of single devices may follow.
///
/// ```
/// use containment_process::cgroupfs::parse::weight;
/// assert_eq!(weight(b"default 100\n8:0 50\n"), Ok(100));
/// assert_eq!(weight(b"500\n"), Ok(500));
/// ```
pub fn weight(text: &[u8]) -> Parsed<u64> {
    let mut own = None;
    each_line(text, |line| {
        let words: Vec<_> = words(line).collect();
        match (&words[..], own) {
            ([weight] | [b"default", weight], None) => own = Some(decimal(weight)?),
            ([of, weight], Some(_)) => {
                device(of)?;
                if *weight != b"default" {
                    decimal::<u64>(weight)?;
                }
            }
            _ => return None,
        }
        Some(())
    })?;
    own.ok_or(Malformed { line: 1 })
}

fn device(word: &[u8]) -> Option<Device> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn key_and_value(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = word.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&word[..equals], &word[equals + 1..]);
    (is_name(key) && !value.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use containment_core::Most;

    #[test]
    fn io_stat_takes_what_kernels_write() {
        let quirks = b"8:0 \n253:0 252:0 rbytes=1 wbytes=2 rios=1 wios=1 cost.vrate=100.00\n";
        assert_eq!(io_stat(quirks), Ok(IoTotals { read: 1, written: 2 }));
        assert_eq!(io_stat(b""), Ok(IoTotals::default()));
    }

    #[test]
    fn what_is_no_figure_is_rejected_with_its_line() {
        let cases: [(&[u8], usize); 6] = [
            (b"8:0 rbytes=1\n8:1 rbytes=x\n", 2),
            (b"rbytes=1\n", 1),
            (b"8:0 rbytes\n", 1),
            (b"8:0 rbytes=\n", 1),
            (b"8:0 rbytes=1", 1),
            (b"8:0 rbytes=18446744073709551615\n8:1 rbytes=1\n", 2),
        ];
        for (text, line) in cases {
            assert_eq!(io_stat(text), Err(Malformed { line }), "{}", text.escape_ascii());
        }
        for wrong in [&b"8:0 Read\n"[..], b"Total\n", b"sda Read 1\n", b"8:0 Read 1 2\n", b"\n"] {
            assert!(blkio_bytes(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn limits_are_read_back() {
        let limits = io_max(b"8:0 rbps=1048576 wbps=max riops=max wiops=10\n").unwrap();
        let most = limits[&Device { major: 8, minor: 0 }];
        assert_eq!(most.rate(Rate::ReadBytes), Some(Most::At(1 << 20)));
        assert_eq!(most.rate(Rate::Reads), Some(Most::Lifted));
        assert_eq!(most.rate(Rate::Writes), Some(Most::At(10)));
        assert!(io_max(b"8:0 rbps=lots\n").is_err() && io_max(b"8:0 rbps\n").is_err());
        let rates = rates(b"8:0 5\n8:16 6\n").unwrap();
        assert_eq!(rates[&Device { major: 8, minor: 16 }], 6);
    }

    #[test]
    fn a_weight_may_be_followed_by_those_of_devices() {
        assert_eq!(weight(b"default 100\n8:0 default\n8:16 7\n"), Ok(100));
        for wrong in [&b""[..], b"8:0 7\n", b"default\n", b"100\nx 1\n", b"1\n2\n"] {
            assert!(weight(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
