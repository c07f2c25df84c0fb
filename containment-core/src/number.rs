//! Decimal numbers, as people and the kernel write them.

use std::str::FromStr;

/// A decimal number with nothing around it: `parse` alone would take "+1".
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
