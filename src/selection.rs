//! Which backend was taken, why the others were not, and which errors send the choice on to the next.

use std::fmt;
use std::sync::Arc;

use containment_core::{Backend, Capabilities, Error, ErrorKind, Operation, Result};

use crate::drivers::Driver;

/// What was chosen, and what was tried before it.
///
/// ```
/// use containment::{Backend, Error, ErrorKind, Operation, Rejected, Selection};
///
/// let reason = Error::new(ErrorKind::Unusable, Operation::Probe)
///     .because("it is not mounted")
///     .advise("mount it");
/// let rejected = Rejected { backend: Backend::CgroupV2, reason };
/// assert_eq!(rejected.remedy(), Some("mount it"));
/// let selection = Selection { chosen: Backend::ProcessGroup, rejected: vec![rejected] };
/// assert_eq!(
///     selection.to_string(),
///     "chosen: process-group\nnot cgroup-v2: failed to probe: it is not mounted (mount it)"
/// );
/// ```
#[derive(Debug)]
pub struct Selection {
    /// The backend that is used.
    pub chosen: Backend,
    /// The stronger ones that could not be, in the order of trying.
    pub rejected: Vec<Rejected>,
}

impl fmt::Display for Selection {
    /// One line for the choice, one for each backend that was passed over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chosen: {}", self.chosen)?;
        self.rejected.iter().try_for_each(|rejected| write!(f, "\nnot {rejected}"))
    }
}

/// A backend that was passed over.
#[derive(Debug)]
pub struct Rejected {
    /// Which.
    pub backend: Backend,
    /// Why.
    pub reason: Error,
}

impl Rejected {
    /// What would make it usable, where that is known.
    pub fn remedy(&self) -> Option<&str> {
        self.reason.remedy()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend, self.reason.located())?;
        self.remedy().map_or(Ok(()), |remedy| write!(f, " ({remedy})"))
    }
}

/// What was found out about one backend.
#[derive(Debug)]
pub struct Finding {
    /// Which.
    pub backend: Backend,
    /// What it guarantees here, or why it cannot be used.
    pub usable: Result<Capabilities>,
    /// What would make it stronger and cannot be used, each with the reason and a remedy.
    pub lacking: Vec<String>,
    /// Who would be asked for a place where groups guarantee that, where our own group is none.
    pub scope: Option<String>,
}

impl Finding {
    pub(crate) fn of(backend: Backend, proved: Result<Arc<dyn Driver>>) -> Self {
        let lacking = proved.as_ref().map(|driver| driver.lacking()).unwrap_or_default();
        let usable = proved.map(|driver| driver.capabilities().clone());
        Self { backend, usable, lacking, scope: None }
    }
}

/// Whether systemd may be asked for a scope of our own, with this process in it, where our own group is not
/// delegated to us: the typical login session.
///
/// The scope is asked of the system's manager as root, else of the user's own, and only where it gives
/// something that was asked for. It vanishes with the last process in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Systemd {
    /// Where it helps.
    #[default]
    Auto,
    /// Never: groups are made below our own group or not at all.
    Never,
}

/// Whether a failure says that the *backend* does not work here, so that the next one may be tried;
/// any other would fail on every backend, or is about the group asked for.
pub(crate) fn passes_on(error: &Error) -> bool {
    use ErrorKind as Kind;
    let placing =
        matches!(error.operation(), Operation::Create | Operation::Place | Operation::Attach);
    placing
        && matches!(
            error.kind(),
            Kind::PermissionDenied
                | Kind::Unusable
                | Kind::NotCgroupfs
                | Kind::InternalProcesses
                | Kind::DomainInvalid
                | Kind::Unsupported
        )
}

/// The error for a choice that nothing was left for: names every candidate with its reason.
pub(crate) fn none_left(mut rejected: Vec<Rejected>) -> Error {
    if rejected.len() == 1 {
        return rejected.remove(0).reason;
    }
    let unmet = rejected.iter().any(|r| r.reason.kind() == ErrorKind::RequirementUnmet);
    let kind = if unmet { ErrorKind::RequirementUnmet } else { ErrorKind::Unusable };
    let reasons: Vec<_> =
        rejected.iter().map(|r| format!("{}: {}", r.backend, r.reason.why())).collect();
    let error = Error::new(kind, Operation::Select).because(reasons.join("; "));
    match rejected.iter().find_map(Rejected::remedy) {
        Some(remedy) => error.advise(remedy.to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(backend: Backend, reason: Error) -> Rejected {
        Rejected { backend, reason: reason.with_backend(backend) }
    }

    #[test]
    fn a_selection_explains_itself() {
        let reason =
            Error::from_errno(Operation::Create, 13).advise("delegate a cgroup to yourself");
        let selection = Selection {
            chosen: Backend::ProcessGroup,
            rejected: vec![rejected(Backend::CgroupV2, reason)],
        };
        assert_eq!(
            selection.to_string(),
            "chosen: process-group\n\
             not cgroup-v2: failed to create group (cgroup-v2): Permission denied (EACCES) \
             (delegate a cgroup to yourself)"
        );
    }

    #[test]
    fn a_choice_without_an_outcome_names_every_reason_and_a_remedy() {
        let unusable = Error::new(ErrorKind::Unusable, Operation::Probe);
        let denied = Error::from_errno(Operation::Create, 1).advise("be root");
        let error = none_left(vec![
            rejected(Backend::Hybrid, unusable),
            rejected(Backend::CgroupV2, denied),
        ]);
        assert_eq!(error.kind(), ErrorKind::Unusable);
        assert_eq!(
            error.to_string(),
            "failed to select a backend: hybrid: the backend cannot be used here; \
             cgroup-v2: Operation not permitted (EPERM)"
        );
        assert_eq!(error.remedy(), Some("be root"));
    }

    #[test]
    fn only_a_backend_that_does_not_work_here_is_passed_over() {
        let passed = |kind, operation| passes_on(&Error::new(kind, operation));
        assert!(passed(ErrorKind::PermissionDenied, Operation::Create));
        assert!(passed(ErrorKind::InternalProcesses, Operation::Place));
        for kind in [ErrorKind::AlreadyExists, ErrorKind::InvalidInput, ErrorKind::ProgramNotFound]
        {
            assert!(!passed(kind, Operation::Create), "{kind:?}");
        }
        assert!(!passed(ErrorKind::PermissionDenied, Operation::Spawn));
        assert!(!passed(ErrorKind::PermissionDenied, Operation::SetLimits));
    }
}
