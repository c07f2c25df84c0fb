//! What a caller can require of a backend: "at least" this strength.

use std::fmt;
use std::str::FromStr;

use containment_core::{
    Capabilities, Element, Empty, Error, ErrorKind, Escape, Freeze, Kill, LeaveBy, Limit, Measure,
    Operation,
};

/// A guarantee that the chosen backend has to give: this one or a stronger one.
///
/// ```
/// use containment::{Kill, Requirement};
/// let frozen: Requirement = "kill=frozen".parse()?;
/// assert_eq!(frozen, Requirement::Kill(Kill::Frozen { thaw_after: false }));
/// assert_eq!("limits.memory".parse::<Requirement>()?.to_string(), "limits.memory");
/// # Ok::<(), containment::InvalidRequirement>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// How a kill works.
    Kill(Kill),
    /// Whether members can leave by fork, setsid or exec.
    Escape(Escape),
    /// Who else could move a member out.
    LeaveBy(LeaveBy),
    /// How emptiness is learnt.
    Empty(Empty),
    /// How members are frozen.
    Freeze(Freeze),
    /// Groups inside a group.
    Nesting,
    /// Moving running processes in.
    Attach,
    /// A limit that can be applied.
    Limit(Limit),
    /// A figure that is measured.
    Usage(Measure),
}

impl Requirement {
    /// Whether a backend with these capabilities gives it.
    ///
    /// ```
    /// use backend_fake::Fake;
    /// use containment::{CgroupOps, Requirement};
    /// let fake = Fake::process_group();
    /// let met = |text: &str| Ok(text.parse::<Requirement>()?.is_met_by(fake.capabilities()));
    /// assert!(met("freeze")? && met("escape=swept")?);
    /// assert!(!met("freeze=kernel")? && !met("limits.memory")?);
    /// # Ok::<(), containment::InvalidRequirement>(())
    /// ```
    pub fn is_met_by(self, capabilities: &Capabilities) -> bool {
        match self {
            Self::Kill(least) => capabilities.kill >= least,
            Self::Escape(least) => capabilities.escape >= least,
            // Nobody needs to move out who can leave by itself.
            Self::LeaveBy(LeaveBy::None) => {
                capabilities.leave_by == LeaveBy::None && capabilities.escape == Escape::Impossible
            }
            Self::LeaveBy(least) => capabilities.leave_by >= least,
            Self::Empty(least) => capabilities.empty >= least,
            Self::Freeze(least) => capabilities.freeze >= least,
            Self::Nesting => capabilities.nesting,
            Self::Attach => capabilities.attach,
            Self::Limit(limit) => capabilities.limits.contains(limit),
            Self::Usage(measure) => capabilities.usage.contains(measure),
        }
    }

    /// The error for a backend that does not give it.
    pub(crate) fn unmet_by(self, capabilities: &Capabilities) -> Error {
        let given = match self {
            Self::Kill(_) => capabilities.kill.to_string(),
            Self::Escape(_) => capabilities.escape.to_string(),
            Self::LeaveBy(_) if capabilities.escape != Escape::Impossible => {
                format!("escape={}", capabilities.escape)
            }
            Self::LeaveBy(_) => capabilities.leave_by.to_string(),
            Self::Empty(_) => capabilities.empty.to_string(),
            Self::Freeze(_) => capabilities.freeze.to_string(),
            _ => "nothing of it".to_owned(),
        };
        Error::new(ErrorKind::RequirementUnmet, Operation::Select)
            .because(format!("{self} is required, it gives {given}"))
    }
}

/// The error for a backend that cannot apply a limit.
pub(crate) fn limit_unmet(limit: Limit) -> Error {
    Error::new(ErrorKind::Unsupported, Operation::Select)
        .because(format!("it cannot apply {}", Requirement::Limit(limit)))
        .advise("leave the limit out, or accept best effort (contain run --best-effort)")
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(least) => write!(f, "kill={least}"),
            Self::Escape(least) => write!(f, "escape={least}"),
            Self::LeaveBy(least) => write!(f, "leave_by={least}"),
            Self::Empty(least) => write!(f, "empty={least}"),
            Self::Freeze(least) => write!(f, "freeze={least}"),
            Self::Nesting => f.write_str("nesting"),
            Self::Attach => f.write_str("attach"),
            Self::Limit(limit) => write!(f, "limits.{limit}"),
            Self::Usage(measure) => write!(f, "usage.{measure}"),
        }
    }
}

impl FromStr for Requirement {
    type Err = InvalidRequirement;

    /// Reads what `Display` writes; a plain `freeze` is any way of freezing.
    fn from_str(text: &str) -> Result<Self, InvalidRequirement> {
        let read = || {
            if let Some(limit) = text.strip_prefix("limits.") {
                return named(limit, Limit::ALL).map(Self::Limit);
            }
            if let Some(measure) = text.strip_prefix("usage.") {
                return named(measure, Measure::ALL).map(Self::Usage);
            }
            match text.split_once('=') {
                Some((what, least)) => strength(what, least),
                None => plain(text),
            }
        };
        read().ok_or_else(|| InvalidRequirement(text.to_owned()))
    }
}

fn plain(text: &str) -> Option<Requirement> {
    match text {
        "freeze" => Some(Requirement::Freeze(Freeze::StopSignal)),
        "nesting" => Some(Requirement::Nesting),
        "attach" => Some(Requirement::Attach),
        _ => None,
    }
}

fn strength(what: &str, least: &str) -> Option<Requirement> {
    match what {
        "kill" => {
            // Either way of thawing will do.
            let frozen = Kill::Frozen { thaw_after: false };
            among(least, [Kill::Repeated, frozen, Kill::Atomic]).map(Requirement::Kill)
        }
        "escape" => among(least, [Escape::Voluntary, Escape::Swept, Escape::Impossible])
            .map(Requirement::Escape),
        "leave_by" => {
            among(least, [LeaveBy::CgroupfsWrite, LeaveBy::None]).map(Requirement::LeaveBy)
        }
        "empty" => among(least, [Empty::Polled, Empty::Notified]).map(Requirement::Empty),
        "freeze" => among(least, [Freeze::None, Freeze::StopSignal, Freeze::Kernel])
            .map(Requirement::Freeze),
        _ => None,
    }
}

fn among<T: fmt::Display, const N: usize>(name: &str, strengths: [T; N]) -> Option<T> {
    strengths.into_iter().find(|strength| strength.to_string() == name)
}

fn named<T: Element>(name: &str, all: &[T]) -> Option<T> {
    all.iter().copied().find(|element| element.name() == name)
}

/// A text that names no capability.
///
/// ```
/// use containment::Requirement;
/// let error = "kill=gently".parse::<Requirement>().unwrap_err();
/// assert!(error.to_string().starts_with("no such capability: \"kill=gently\"; expected one such as"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRequirement(String);

impl fmt::Display for InvalidRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no such capability: {:?}; expected one such as kill=atomic, escape=swept, freeze, \
             limits.memory or usage.cpu, as `contain doctor` shows them",
            self.0
        )
    }
}

impl std::error::Error for InvalidRequirement {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::tests::weak;

    #[test]
    fn what_is_written_can_be_read() {
        let texts = [
            "kill=repeated",
            "kill=frozen",
            "kill=atomic",
            "escape=voluntary",
            "escape=swept",
            "escape=impossible",
            "leave_by=none",
            "leave_by=cgroupfs-write",
            "empty=polled",
            "empty=notified",
            "freeze=none",
            "freeze=stop-signal",
            "freeze=kernel",
            "nesting",
            "attach",
            "limits.memory-high",
            "limits.io-weight",
            "usage.cpu",
            "usage.memory-peak",
        ];
        for text in texts {
            let read: Requirement = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_capability_is_refused_by_name() {
        let texts = ["", "kill", "kill=", "kill=ATOMIC", "limits.", "limits.magic", "speed=high"];
        for text in texts {
            let error = text.parse::<Requirement>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_stronger_guarantee_meets_a_weaker_requirement() {
        let mut strong = weak();
        strong.kill = Kill::Frozen { thaw_after: true };
        let frozen: Requirement = "kill=frozen".parse().unwrap();
        assert!(frozen.is_met_by(&strong));
        assert!(!frozen.is_met_by(&weak()));
        strong.kill = Kill::Atomic;
        assert!(frozen.is_met_by(&strong));
    }

    #[test]
    fn any_way_of_freezing_meets_a_plain_freeze() {
        let freeze: Requirement = "freeze".parse().unwrap();
        let mut capabilities = weak();
        capabilities.freeze = Freeze::None;
        assert!(!freeze.is_met_by(&capabilities));
        capabilities.freeze = Freeze::StopSignal;
        assert!(freeze.is_met_by(&capabilities));
    }

    #[test]
    fn limits_and_figures_are_required_by_name() {
        let mut capabilities = weak();
        capabilities.limits = capabilities.limits.with(Limit::Memory);
        capabilities.usage = capabilities.usage.with(Measure::Cpu);
        for (text, met) in [
            ("limits.memory", true),
            ("limits.pids", false),
            ("usage.cpu", true),
            ("usage.io", false),
        ] {
            assert_eq!(
                text.parse::<Requirement>().unwrap().is_met_by(&capabilities),
                met,
                "{text}"
            );
        }
    }
}
