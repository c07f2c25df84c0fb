//! The table of cases. Each promise of the traits is one, and each capability is tied to behaviour
//! both ways: what is advertised works, what is not is refused.

mod attaching;
mod escaping;
mod freezing;
mod groups;
mod guards;
mod killing;
mod limiting;
mod measuring;
mod nesting;
mod programs;
mod removing;
mod signals;
mod watching;

use std::fmt;

use containment_core::{Capabilities, Empty, Escape, Freeze, Limit, Measure};

use crate::world::World;

/// One case.
pub(crate) struct Case {
    /// What it shows, as a sentence.
    pub(crate) name: &'static str,
    needs: &'static [Need],
    /// Plays it; a failure panics.
    pub(crate) run: fn(&dyn World),
}

/// What a case needs a backend to advertise, or not to.
#[derive(Debug, Clone, Copy)]
enum Need {
    Nesting(bool),
    Attach(bool),
    Freeze(Freeze),
    AnyFreeze,
    Escape(Escape),
    Empty(Empty),
    Limit(Limit),
    Measure(Measure),
}

/// Every case.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let parts = [
        groups::CASES,
        programs::CASES,
        signals::CASES,
        killing::CASES,
        watching::CASES,
        freezing::CASES,
        nesting::CASES,
        attaching::CASES,
        limiting::CASES,
        measuring::CASES,
        escaping::CASES,
        removing::CASES,
        guards::CASES,
    ];
    parts.into_iter().flatten()
}

impl Case {
    /// The first need that these capabilities do not meet.
    pub(crate) fn unmet(&self, capabilities: &Capabilities) -> Option<impl fmt::Display + use<>> {
        self.needs.iter().find(|need| !need.is_met(capabilities)).copied()
    }
}

impl Need {
    fn is_met(self, by: &Capabilities) -> bool {
        match self {
            Self::Nesting(advertised) => by.nesting == advertised,
            Self::Attach(advertised) => by.attach == advertised,
            Self::Freeze(freeze) => by.freeze == freeze,
            Self::AnyFreeze => by.freeze > Freeze::None,
            Self::Escape(escape) => by.escape == escape,
            Self::Empty(empty) => by.empty == empty,
            Self::Limit(limit) => by.limits.contains(limit),
            Self::Measure(measure) => by.usage.contains(measure),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nesting(advertised) => write!(f, "nesting: {advertised}"),
            Self::Attach(advertised) => write!(f, "attach: {advertised}"),
            Self::Freeze(freeze) => write!(f, "freeze: {freeze}"),
            Self::AnyFreeze => f.write_str("freeze"),
            Self::Escape(escape) => write!(f, "escape: {escape}"),
            Self::Empty(empty) => write!(f, "empty: {empty}"),
            Self::Limit(limit) => write!(f, "limits: {limit}"),
            Self::Measure(measure) => write!(f, "usage: {measure}"),
        }
    }
}

/// A case is named after its function.
macro_rules! case {
    ($run:ident) => {
        case!($run, needs [])
    };
    ($run:ident, needs [$($need:expr),*]) => {
        $crate::cases::Case { name: stringify!($run), needs: &[$($need),*], run: $run }
    };
}
use case;
