//! The id of this boot, by which identities of an earlier one are recognised as dead.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::text;

/// Reads the id of this boot.
pub fn boot_id() -> io::Result<BootId> {
    let text = text::read_file("/proc/sys/kernel/random/boot_id")?;
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, InvalidBootId))
}

/// A random number that the kernel drew when it booted. Its text form is that of a UUID.
///
/// ```
/// use containment_process::proc::{BootId, boot_id};
/// let boot = boot_id()?;
/// assert_eq!(boot.to_string().parse(), Ok(boot));
/// assert!("4711".parse::<BootId>().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(u128);

impl FromStr for BootId {
    type Err = InvalidBootId;

    fn from_str(text: &str) -> Result<Self, InvalidBootId> {
        let widths = text.split('-').map(str::len);
        let digits = text.replace('-', "");
        if !widths.eq([8, 4, 4, 4, 12]) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidBootId);
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| InvalidBootId)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
        write!(f, "{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
    }
}

/// A text that is no boot id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidBootId;

impl fmt::Display for InvalidBootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boot id has the form of a UUID")
    }
}

impl std::error::Error for InvalidBootId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_written_as_it_was_read() {
        let text = "0d5a8f0e-33c1-4b7e-9c55-01f2a3b4c5d6";
        assert_eq!(text.parse::<BootId>().unwrap().to_string(), text);
    }

    #[test]
    fn other_texts_are_refused() {
        let bad = ["", "0d5a8f0e", "+d5a8f0e-33c1-4b7e-9c55-01f2a3b4c5d6", "----", "é"];
        for text in bad {
            assert_eq!(text.parse::<BootId>(), Err(InvalidBootId), "{text:?}");
        }
    }

    #[test]
    fn the_id_of_this_boot_is_the_kernels() {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(boot_id().unwrap().to_string(), text.trim_end());
    }
}
