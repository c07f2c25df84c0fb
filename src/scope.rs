//! Whether the unified hierarchy is worth a scope of systemd: where our own group cannot be used, or lacks
//! a limit or a figure that was asked for, and a scope would mend that.

use backend_cgroupv2::CgroupV2;
use containment_core::{
    Capabilities, CgroupOps as _, Error, ErrorKind, Limit, Measure, Operation, Result, Set,
};
use containment_process::proc::Base;

use crate::drivers::{Place, told};
use crate::require::Requirement;
use crate::selection::Finding;
use crate::systemd::AvailableScope;

/// What groups are to give.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) limits: Set<Limit>,
    pub(crate) figures: Set<Measure>,
}

impl Wanted {
    pub(crate) const NOTHING: Self = Self { limits: Set::EMPTY, figures: Set::EMPTY };

    /// What is required of groups.
    pub(crate) fn of(requirements: &[Requirement]) -> Self {
        requirements.iter().fold(Self::NOTHING, |wanted, requirement| match requirement {
            Requirement::Limit(limit) => wanted.and(Set::EMPTY.with(*limit), Set::EMPTY),
            Requirement::Usage(figure) => wanted.and(Set::EMPTY, Set::EMPTY.with(*figure)),
            _ => wanted,
        })
    }

    pub(crate) fn and(self, limits: Set<Limit>, figures: Set<Measure>) -> Self {
        Self {
            limits: limits.iter().fold(self.limits, Set::with),
            figures: figures.iter().fold(self.figures, Set::with),
        }
    }

    /// What of it `has` lacks.
    fn lacking_in(self, has: &Capabilities) -> Self {
        Self {
            limits: self.limits.iter().filter(|limit| !has.limits.contains(*limit)).collect(),
            figures: self.figures.iter().filter(|figure| !has.usage.contains(*figure)).collect(),
        }
    }

    fn is_empty(self) -> bool {
        self.limits.is_empty() && self.figures.is_empty()
    }

    /// By the names that requirements have.
    fn names(self) -> String {
        let limits = self.limits.iter().map(|limit| format!("limits.{limit}"));
        let names = limits.chain(self.figures.iter().map(|figure| format!("usage.{figure}")));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The driver of the unified hierarchy, below our own group or in a scope that was asked for, and the base that it
/// was found on.
pub(crate) fn v2(place: &Place) -> Result<(CgroupV2, Base)> {
    let find = |base: Base| {
        let driver = CgroupV2::probe(base.clone())?.measuring(place.figures);
        Ok((if place.sampling { driver.sampling() } else { driver }, base))
    };
    let own = find(place.base.clone());
    let has = own.as_ref().ok().map(|(driver, _)| driver.capabilities());
    if !place.may_ask() || has.is_some_and(|has| place.wanted.lacking_in(has).is_empty()) {
        return own;
    }
    let scope = AvailableScope::probe(place.figures).and_then(|scope| match scope {
        Some(scope) if is_worth_it(has, scope.capabilities(), place.wanted, place.required)? => {
            scope.enter().and_then(find).map(Some)
        }
        _ => Ok(None),
    });
    match (scope, own) {
        (Ok(Some(inside)), _) => Ok(inside),
        (Ok(None), own) => own,
        (Err(refusal), Err(own)) => Err(joined(own, &refusal)),
        (Err(refusal), Ok(own)) => {
            let lacking = place.required.lacking_in(own.0.capabilities());
            if lacking.is_empty() {
                tracing::debug!(%refusal, "doing without a scope");
                return Ok(own);
            }
            Err(joined(lacks("our own group", lacking), &refusal))
        }
    }
}

/// Whether a scope gives something that is missing; an error when it lacks what has to be there, too.
fn is_worth_it(
    has: Option<&Capabilities>,
    scope: &Capabilities,
    wanted: Wanted,
    required: Wanted,
) -> Result<bool> {
    let lacking = required.lacking_in(scope);
    if !lacking.is_empty() {
        return Err(lacks("a scope of systemd", lacking).advise(
            "have systemd delegate the controllers to user managers: Delegate=yes in user@.service",
        ));
    }
    let Some(has) = has else { return Ok(true) };
    let missing = wanted.lacking_in(has);
    let still = missing.lacking_in(scope);
    Ok(still.limits != missing.limits || still.figures != missing.figures)
}

fn lacks(what: &str, lacking: Wanted) -> Error {
    Error::new(ErrorKind::Unsupported, Operation::Probe)
        .because(format!("{what} cannot give {}", lacking.names()))
}

/// Why neither our own group nor a scope will do.
fn joined(own: Error, refusal: &Error) -> Error {
    if own.reason().to_string() == refusal.reason().to_string() {
        return own;
    }
    let error = Error::new(own.kind(), own.operation());
    let error = own.backend().into_iter().fold(error, Error::with_backend);
    let error = own.path().into_iter().fold(error, Error::with_path);
    let error = error.because(format!("{}; {}", own.reason(), refusal.reason()));
    let remedy = refusal.remedy().or(own.remedy()).map(str::to_owned);
    remedy.into_iter().fold(error, Error::advise)
}

/// What a scope would give, and who would be asked for it.
#[derive(Debug)]
pub(crate) struct ScopeOffer {
    pub(crate) capabilities: Capabilities,
    pub(crate) told: String,
}

impl From<AvailableScope> for ScopeOffer {
    fn from(scope: AvailableScope) -> Self {
        Self { capabilities: scope.capabilities().clone(), told: scope.to_string() }
    }
}

/// What was found out about our own group, with what a scope would change; none is made.
pub(crate) fn with_scope(found: Finding, scope: Result<Option<ScopeOffer>>) -> Finding {
    let (own, scope) = match (found.usable, scope) {
        (own, Ok(None)) => return Finding { usable: own, ..found },
        (own, Ok(Some(scope))) => (own, scope),
        (Err(own), Err(refusal)) => {
            return Finding { usable: Err(joined(own, &refusal)), ..found };
        }
        (Ok(own), Err(refusal)) => {
            let told = own.limits.is_empty().then(|| told(&refusal));
            let lacking = found.lacking.into_iter().chain(told).collect();
            return Finding { usable: Ok(own), lacking, ..found };
        }
    };
    let has = own.as_ref().map_or(Set::EMPTY, |own| own.limits);
    if own.is_ok() && scope.capabilities.limits.iter().all(|limit| has.contains(limit)) {
        return Finding { usable: own, ..found };
    }
    let limits = scope.capabilities.limits.iter().fold(has, Set::with);
    let usable = Ok(Capabilities { limits, ..scope.capabilities });
    Finding { usable, scope: Some(scope.told), ..found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::tests::{strong, weak};
    use containment_core::Backend;

    fn limited(limit: Limit) -> Wanted {
        Wanted { limits: Set::EMPTY.with(limit), ..Wanted::NOTHING }
    }

    #[test]
    fn a_scope_is_worth_it_where_it_gives_what_is_missing() {
        let pids = limited(Limit::Pids);
        assert!(is_worth_it(None, &strong(), Wanted::NOTHING, Wanted::NOTHING).unwrap());
        assert!(is_worth_it(Some(&weak()), &strong(), pids, pids).unwrap());
        assert!(!is_worth_it(Some(&strong()), &strong(), pids, pids).unwrap());
        let figure = Wanted { figures: Set::EMPTY.with(Measure::Memory), ..Wanted::NOTHING };
        assert!(!is_worth_it(Some(&weak()), &strong(), figure, Wanted::NOTHING).unwrap());
    }

    #[test]
    fn no_scope_is_asked_for_that_lacks_what_is_required() {
        let memory = limited(Limit::Memory);
        let error = is_worth_it(None, &strong(), memory, memory).unwrap_err();
        assert!(error.to_string().contains("limits.memory"), "{error}");
        assert!(is_worth_it(None, &strong(), memory, Wanted::NOTHING).unwrap(), "best effort");
    }

    fn found(usable: Result<Capabilities>) -> Finding {
        Finding { backend: Backend::CgroupV2, usable, lacking: Vec::new(), scope: None }
    }

    fn offer() -> ScopeOffer {
        ScopeOffer { capabilities: strong(), told: "asked".to_owned() }
    }

    fn denied() -> Error {
        Error::from_errno(Operation::Probe, 13).advise("own remedy")
    }

    #[test]
    fn what_a_scope_would_mend_is_foreseen() {
        let mended = with_scope(found(Err(denied())), Ok(Some(offer())));
        assert_eq!((mended.usable.unwrap(), mended.scope.as_deref()), (strong(), Some("asked")));
        let more = with_scope(found(Ok(weak())), Ok(Some(offer())));
        assert!(more.usable.unwrap().limits.contains(Limit::Pids));
        assert_eq!(
            with_scope(found(Ok(strong())), Ok(Some(offer()))).scope,
            None,
            "nothing to mend"
        );
        assert_eq!(with_scope(found(Ok(weak())), Ok(None)).scope, None);
    }

    #[test]
    fn why_no_scope_can_be_had_is_told_with_its_remedy() {
        let refusal = || Err(Error::new(ErrorKind::Unusable, Operation::Probe).because("no bus"));
        let error = with_scope(found(Err(denied())), refusal()).usable.unwrap_err();
        assert_eq!(error.reason().to_string(), "Permission denied (EACCES); no bus");
        assert_eq!(error.remedy(), Some("own remedy"));
        let limitless = Capabilities { limits: Set::EMPTY, ..weak() };
        assert_eq!(with_scope(found(Ok(limitless)), refusal()).lacking, ["no bus"]);
        assert!(with_scope(found(Ok(strong())), refusal()).lacking.is_empty());
    }
}
