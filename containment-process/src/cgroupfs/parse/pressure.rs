//! Pressure files (kernel: Documentation/accounting/psi.rst).

use std::time::Duration;

use containment_core::Stalled;

use super::Parsed;
use crate::malformed::Malformed;
use crate::proc::text::number as decimal;

/// `cpu.pressure`, `memory.pressure`, `io.pressure`; `None` when the file tells nothing of some waiting.
///
/// ```
/// use containment_process::cgroupfs::parse::pressure;
/// let text = b"some avg10=0.12 avg60=0.00 avg300=0.00 total=1500\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
/// let stalled = pressure(text).unwrap().unwrap();
/// assert_eq!(stalled.some.as_micros(), 1500);
/// assert_eq!(stalled.full.unwrap().as_micros(), 7);
/// ```
pub fn pressure(text: &[u8]) -> Parsed<Option<Stalled>> {
    let (mut some, mut full) = (None, None);
    let (mut rest, mut line) = (text, 0);
    while !rest.is_empty() {
        line += 1;
        let (kind, total, after) = split_line(rest).ok_or(Malformed { line })?;
        let total = total.map(Duration::from_micros);
        match kind {
            b"some" => some = Some(total.ok_or(Malformed { line })?),
            b"full" => full = Some(total.ok_or(Malformed { line })?),
            _ => {}
        }
        rest = after;
    }
    Ok(some.map(|some| Stalled { some, full }))
}

/// What the first line tells of, its total, and what follows it: one search for the end of each part, since a monitor
/// reads three of these files for each group.
fn split_line(text: &[u8]) -> Option<(&[u8], Option<u64>, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_graphic())?;
    let (kind, mut rest) = text.split_at(end);
    if kind.is_empty() {
        return None;
    }
    let mut total = None;
    loop {
        rest = match rest.split_first()? {
            (b'\n', after) => return Some((kind, total, after)),
            (b' ', after) if matches!(after, [b' ' | b'\n', ..]) => after,
            (b' ', field) => {
                let (key, after) = split_before(field, |byte| matches!(byte, b'=' | b' ' | b'\n'))?;
                let (value, after) =
                    split_before(after.strip_prefix(b"=")?, |byte| matches!(byte, b' ' | b'\n'))?;
                if key == b"total" {
                    total = Some(decimal(value)?);
                }
                after
            }
            _ => return None,
        };
    }
}

fn split_before(text: &[u8], is_end: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    Some(text.split_at(text.iter().position(|byte| is_end(*byte))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_5_13_cpus_have_no_full() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        let expected = Stalled { some: Duration::from_micros(3), full: None };
        assert_eq!(pressure(text), Ok(Some(expected)));
        assert_eq!(pressure(b""), Ok(None));
    }

    #[test]
    fn a_line_without_its_total_is_rejected() {
        let some = "some avg10=0.00 total=3\n";
        for (second, line) in
            [("full avg10=0.00\n", 2), ("full total=x\n", 2), ("full x\n", 2), ("\n", 2)]
        {
            let text = format!("{some}{second}");
            assert_eq!(pressure(text.as_bytes()), Err(Malformed { line }), "{text:?}");
        }
        for text in ["some total=1", "some", "some\ttotal=1\n", " total=1\n", "some a total=1\n"] {
            assert_eq!(pressure(text.as_bytes()), Err(Malformed { line: 1 }), "{text:?}");
        }
    }

    #[test]
    fn blanks_and_fields_that_are_not_known_are_passed_over() {
        let text = b"some total=3  avg=\xff later==1 \nrest\nfull =  total=4\n";
        let expected =
            Stalled { some: Duration::from_micros(3), full: Some(Duration::from_micros(4)) };
        assert_eq!(pressure(text), Ok(Some(expected)));
    }
}
