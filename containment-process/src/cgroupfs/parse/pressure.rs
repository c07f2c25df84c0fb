//! Pressure files (kernel: Documentation/accounting/psi.rst).

use std::time::Duration;

use containment_core::Stalled;

use super::{Parsed, each_line, is_name, words};
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
    each_line(text, |line| {
        let mut words = words(line);
        let kind = words.next().filter(|kind| is_name(kind))?;
        let mut total = None;
        for word in words {
            let equals = word.iter().position(|byte| *byte == b'=')?;
            if &word[..equals] == b"total" {
                total = Some(Duration::from_micros(decimal(&word[equals + 1..])?));
            }
        }
        match kind {
            b"some" => some = Some(total?),
            b"full" => full = Some(total?),
            _ => {}
        }
        Some(())
    })?;
    Ok(some.map(|some| Stalled { some, full }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::malformed::Malformed;

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
        assert_eq!(pressure(b"some total=1"), Err(Malformed { line: 1 }));
    }
}
