//! Signals by number and by name, and sets of them.

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal as Named;

use crate::number::number;

/// A signal that can be sent: 1 to 64.
///
/// ```
/// use containment_core::Signal;
/// for text in ["TERM", "sigterm", "15"] {
///     assert_eq!(text.parse(), Ok(Signal::TERM));
/// }
/// assert_eq!((Signal::TERM.as_raw(), Signal::TERM.to_string().as_str()), (15, "SIGTERM"));
/// assert_eq!(Signal::new(40).unwrap().to_string(), "signal 40", "one for real time");
/// assert!(Signal::new(0).is_none() && "65".parse::<Signal>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

impl Signal {
    /// `SIGHUP`
    pub const HUP: Self = Self(1);
    /// `SIGINT`
    pub const INT: Self = Self(2);
    /// `SIGQUIT`
    pub const QUIT: Self = Self(3);
    /// `SIGKILL`
    pub const KILL: Self = Self(9);
    /// `SIGUSR1`
    pub const USR1: Self = Self(10);
    /// `SIGUSR2`
    pub const USR2: Self = Self(12);
    /// `SIGTERM`
    pub const TERM: Self = Self(15);
    /// `SIGCHLD`
    pub const CHLD: Self = Self(17);
    /// `SIGCONT`
    pub const CONT: Self = Self(18);
    /// `SIGSTOP`
    pub const STOP: Self = Self(19);
    /// `SIGWINCH`
    pub const WINCH: Self = Self(28);

    /// The signal with this number, or `None` outside 1..=64.
    pub const fn new(number: i32) -> Option<Self> {
        match number {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked, and conversions are not const"
            )]
            1..=64 => Some(Self(number as u8)),
            _ => None,
        }
    }

    /// The plain number.
    pub fn as_raw(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Named::try_from(self.as_raw()) {
            Ok(named) => f.write_str(named.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Signal {
    type Err = InvalidSignal;

    /// Reads `TERM`, `SIGTERM`, `sigterm` or `15`.
    fn from_str(text: &str) -> Result<Self, InvalidSignal> {
        if let Some(number) = number(text) {
            return Self::new(number).ok_or(InvalidSignal);
        }
        let upper = text.to_ascii_uppercase();
        let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let named = Named::from_str(&name).map_err(|_| InvalidSignal)?;
        Self::new(named as i32).ok_or(InvalidSignal)
    }
}

/// A text that is no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such signal: expected a name such as TERM or a number from 1 to 64")]
pub struct InvalidSignal;

/// A set of signals, as the kernel's 64-bit mask.
///
/// ```
/// use containment_core::{Signal, SignalSet};
/// let set = SignalSet::default().with(Signal::HUP).with(Signal::TERM);
/// assert!(set.contains(Signal::TERM) && !set.contains(Signal::INT));
/// assert_eq!(set.bits(), 1 << 0 | 1 << 14);
/// assert_eq!(SignalSet::from_bits(set.bits()), [Signal::TERM, Signal::HUP].into_iter().collect());
/// assert!(SignalSet::ALL.contains(Signal::KILL));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalSet(u64);

impl SignalSet {
    /// Every signal.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with these kernel bits: bit `n - 1` for signal `n`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// This set and `signal`.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.0 - 1))
    }

    /// Whether `signal` is in the set.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.0 - 1)) != 0
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signals = (1..=64).filter_map(Signal::new);
        f.debug_set().entries(signals.filter(|s| self.contains(*s))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        for text in ["0", "65", "-9", "+9", "SIGNOPE", "", "SIG"] {
            assert_eq!(text.parse::<Signal>(), Err(InvalidSignal), "{text}");
        }
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
        assert_eq!("40".parse::<Signal>().unwrap().to_string(), "signal 40");
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: SignalSet = [Signal::TERM, Signal::new(64).unwrap()].into_iter().collect();
        assert!(set.contains(Signal::TERM) && set.contains(Signal::new(64).unwrap()));
        assert!(!set.contains(Signal::HUP));
        assert_eq!(set.bits(), 1 << 14 | 1 << 63);
    }
}
