//! The choice of a backend: what the caller asks for, and the walk over the candidates.

use std::path::PathBuf;
use std::sync::Arc;

use backend_pgrp::Keeper;
use containment_core::{
    Backend, Capabilities, ControllerSet, Error, ErrorKind, Limits, Measure, Operation, Program,
    Result, Seal, Set, Witness,
};
use containment_process::proc::Base;

use crate::containment::Containment;
use crate::drivers::{Driver, Found, Host, Place, ThisHost};
use crate::registry::{Registry, Tenure};
use crate::require::{Requirement, limit_unmet};
use crate::scope::Wanted;
use crate::selection::{Rejected, Systemd, none_left};

/// What is asked of a [`Containment`] before one is chosen.
///
/// ```
/// use containment::{Backend, Bytes, Containment, ErrorKind, Keeper, Limits, Measure, Proof};
/// use containment::{Requirement, Set, Systemd};
///
/// let builder = Containment::builder()
///     .backend(Backend::ProcessGroup)
///     .keeper(Keeper::None)
///     .systemd(Systemd::Never)
///     .measuring(Set::EMPTY.with(Measure::Memory))
///     .sampling()
///     .limits(&Limits::new().memory_max(Bytes::gib(2)))
///     .best_effort()
///     .proof(Proof::OnUse);
/// assert_eq!(builder.build()?.backend(), Backend::ProcessGroup);
///
/// let sure: Requirement = "kill=atomic".parse()?;
/// let error = builder.require(sure).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::RequirementUnmet);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) host: Arc<dyn Host>,
    backend: Option<Backend>,
    pub(crate) place: Place,
    requirements: Vec<Requirement>,
    proof: Proof,
    pub(crate) limits: Limits,
    pub(crate) best_effort: bool,
    seal: Seal,
    pub(crate) registry: Option<(Registry, Tenure)>,
    pub(crate) helper: Option<PathBuf>,
    pub(crate) witness: Option<Arc<dyn Witness>>,
}

/// How a backend has to show that it works here before it is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proof {
    /// By a scratch group with a child in it.
    #[default]
    Scratch,
    /// By the caller's first own group: what does not work is found out then.
    OnUse,
}

impl Default for Builder {
    fn default() -> Self {
        Self::on(Arc::new(ThisHost))
    }
}

impl Builder {
    pub(crate) fn on(host: Arc<dyn Host>) -> Self {
        Self {
            host,
            backend: None,
            place: Place { systemd: Systemd::Auto, ..Place::on(Base::default()) },
            requirements: Vec::new(),
            proof: Proof::Scratch,
            limits: Limits::new(),
            best_effort: false,
            seal: Seal::Open,
            registry: None,
            helper: None,
            witness: None,
        }
    }

    /// Takes this backend or none; otherwise the strongest that works.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Keeps the groups that are made on record, so that they can be found by others, and ended should
    /// this process die without having ended them.
    ///
    /// Where the registry takes no entry, a group of [`Tenure::Owner`] is made all the same, with a warning;
    /// one that is to go on is not, since nobody could open it again.
    #[must_use]
    pub fn registry(mut self, registry: &Registry, tenure: Tenure) -> Self {
        self.registry = Some((registry.clone(), tenure));
        self
    }

    /// Names the program `contain`, of the same version as this library, which is then started once for
    /// this process, and what it is for follows from the [`registry`](Self::registry), which has to be given:
    /// - [`Tenure::Owner`]: should this process be killed, its groups are ended and removed within 100 ms;
    /// - [`Tenure::Lasting`]: they go on, and how each program ends is on record
    ///   ([`Registry::reopen`]), since the helper's keepers are the programs' parents.
    ///
    /// Process groups get a keeper each by it, whatever threads and children this process has: a member that
    /// calls `setsid` is found then. A program that a keeper starts inherits only the descriptors that it
    /// is given, and this process's umask and resource limits as they were when the helper was started.
    #[must_use]
    pub fn helper(mut self, program: impl Into<PathBuf>) -> Self {
        self.helper = Some(program.into());
        self
    }

    /// Makes groups below this cgroup, a path relative to the hierarchy's root, instead of below our
    /// own. Process groups have no such place.
    ///
    /// ```
    /// use containment::{Containment, ErrorKind, Systemd};
    /// let there = Containment::builder().parent("no/such/group").systemd(Systemd::Never);
    /// assert_eq!(there.build().unwrap_err().kind(), ErrorKind::RequirementUnmet);
    /// ```
    #[must_use]
    pub fn parent(mut self, cgroup: impl Into<PathBuf>) -> Self {
        self.place.base = self.place.base.at(cgroup);
        self
    }

    /// Whether systemd may be asked for a scope, which this process is moved into, where our own group is
    /// not delegated; it may unless this says otherwise.
    #[must_use]
    pub fn systemd(mut self, systemd: Systemd) -> Self {
        self.place.systemd = systemd;
        self
    }

    /// Takes only a backend that gives at least this.
    #[must_use]
    pub fn require(mut self, requirement: Requirement) -> Self {
        if let Requirement::Usage(figure) = requirement {
            self = self.measuring(Set::EMPTY.with(figure));
        }
        self.requirements.push(requirement);
        self
    }

    /// Takes only a backend that can apply these limits, unless best effort will do.
    #[must_use]
    pub fn limits(mut self, limits: &Limits) -> Self {
        self.limits = limits.clone();
        self
    }

    /// Takes a backend that can apply some of the limits only, too.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.best_effort = true;
        self
    }

    /// Seals in what is launched, and takes only a backend and a kernel where that can be, unless best
    /// effort will do. With a seal `leave_by` is `none`, which can be required, too.
    ///
    /// ```
    /// use containment::{Backend, Containment, ErrorKind};
    /// let groups = Containment::builder().backend(Backend::ProcessGroup);
    /// let error = groups.seal().build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unsupported, "nothing closes a process group");
    /// ```
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.seal = Seal::Whole;
        self
    }

    /// What holds the processes of a process group together.
    #[must_use]
    pub fn keeper(mut self, keeper: Keeper) -> Self {
        self.place.keeper = keeper;
        self
    }

    /// Makes groups that show these figures, too, in their [`Usage`](crate::Usage), as far as the backend can
    /// measure them; without this call those that cost nothing. On cgroup v1 each may cost one more
    /// hierarchy that a group joins, and so a directory, and a write at each spawn.
    #[must_use]
    pub fn measuring(mut self, figures: Set<Measure>) -> Self {
        self.place.figures = figures.iter().fold(self.place.figures, Set::with);
        self
    }

    /// Makes groups that keep the files of their figures open once they were read, for who looks at them again and
    /// again: each further look is one `pread` a file. A group that is measured takes up to thirty descriptors more,
    /// as long as half of those that this process may have are left; beyond that, files are opened for each look.
    #[must_use]
    pub fn sampling(mut self) -> Self {
        self.place.sampling = true;
        self
    }

    /// How a backend has to show that it works here.
    #[must_use]
    pub fn proof(mut self, proof: Proof) -> Self {
        self.proof = proof;
        self
    }

    /// Takes the first candidate that works and gives what was asked for.
    ///
    /// # Errors
    /// With an explicit backend its own reason. Otherwise [`Unusable`](ErrorKind::Unusable) or
    /// [`RequirementUnmet`](ErrorKind::RequirementUnmet), naming every candidate's.
    pub fn build(&self) -> Result<Containment> {
        let (mut aided, degraded) = self.aided()?;
        let mut rejected = Vec::new();
        for backend in aided.builder.candidates() {
            match aided.builder.proved(backend) {
                Ok(found) => {
                    let driver = aided.on_record(found);
                    return Ok(Containment::chosen(driver, rejected).doing_without(degraded));
                }
                Err(reason) => {
                    rejected.push(Rejected { backend, reason });
                    aided.look_anew();
                }
            }
        }
        Err(none_left(rejected))
    }

    /// The same, of a host that is looked at anew.
    pub(crate) fn afresh(&self) -> Self {
        let mut fresh = self.clone();
        fresh.place.base = fresh.place.base.afresh();
        fresh
    }

    /// The backends to try, in order.
    pub(crate) fn candidates(&self) -> Vec<Backend> {
        self.backend.map_or_else(|| self.host.order(&self.place.base).to_vec(), |only| vec![only])
    }

    pub(crate) fn is_explicit(&self) -> bool {
        self.backend.is_some()
    }

    /// The driver of `backend`, if it can be found and gives what is asked for.
    pub(crate) fn fit(&self, backend: Backend) -> Result<Found> {
        self.check_parent(backend)?;
        let found = self.host.probe(backend, &self.place_for_all())?;
        // A driver may have to look for what it offers, so it is not asked in vain.
        let sealed = self.seal != Seal::Open;
        if sealed || !self.requirements.is_empty() || !self.limits.asked().is_empty() {
            let told = found.driver.capabilities();
            self.check(told).map_err(|error| error.with_backend(backend))?;
        }
        Ok(found)
    }

    /// The place, with what groups there have to give, and what they had better give.
    fn place_for_all(&self) -> Place {
        let required = Wanted::of(&self.requirements);
        let wanted = required.and(self.limits.asked(), self.place.figures);
        let limits = if self.best_effort { Set::EMPTY } else { self.limits.asked() };
        let required = required.and(limits, Set::EMPTY);
        Place { wanted, required, ..self.place.clone() }
    }

    fn proved(&self, backend: Backend) -> Result<Found> {
        let found = self.fit(backend)?;
        self.prove(&*found.driver, self.limits.asked())?;
        Ok(found)
    }

    pub(crate) fn prove(&self, driver: &dyn Driver, with: ControllerSet) -> Result<()> {
        if self.proof == Proof::Scratch { driver.prove(with) } else { Ok(()) }
    }

    /// A parent that was named is a requirement, too.
    fn check_parent(&self, backend: Backend) -> Result<()> {
        match self.parent_dropped(backend) {
            Some(error) if !self.best_effort => Err(error),
            _ => Ok(()),
        }
    }

    /// Why `backend` makes its groups elsewhere than below the parent that was named, if it does.
    pub(crate) fn parent_dropped(&self, backend: Backend) -> Option<Error> {
        let dropped = backend == Backend::ProcessGroup && self.place.base.parent().is_some();
        dropped.then(|| {
            Error::new(ErrorKind::RequirementUnmet, Operation::Select)
                .with_backend(backend)
                .because("process groups have no parent group")
                .advise("leave the parent out, or accept best effort (contain run --best-effort)")
        })
    }

    /// The program with the seal that was asked for.
    pub(crate) fn sealing(&self, program: Program) -> Program {
        match self.seal {
            Seal::Open => program,
            _ if self.best_effort => program.seal(Seal::BestEffort),
            _ => program.seal(Seal::Whole),
        }
    }

    /// What holds in a group with these capabilities for what is launched, and why a seal that was
    /// asked for is not whole, if it is not.
    pub(crate) fn guarantees(&self, capabilities: &Capabilities) -> (Capabilities, Result<()>) {
        if self.seal == Seal::Open {
            return (capabilities.clone(), Ok(()));
        }
        match capabilities.check_seal().and_then(|()| self.host.check_seal()) {
            Ok(()) => (capabilities.clone().sealed(), Ok(())),
            Err(error) => (capabilities.clone(), Err(error)),
        }
    }

    fn check(&self, capabilities: &Capabilities) -> Result<()> {
        let (guarantees, sealed) = self.guarantees(capabilities);
        if !self.best_effort {
            sealed?;
        }
        let unmet = self.requirements.iter().find(|r| !r.is_met_by(&guarantees));
        if let Some(requirement) = unmet {
            return Err(requirement.unmet_by(&guarantees));
        }
        let lacking = self.limits.asked().iter().find(|l| !capabilities.limits.contains(*l));
        match lacking {
            Some(limit) if !self.best_effort => Err(limit_unmet(limit)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ORDER;
    use crate::drivers::tests::{Scripted, Stage, strong, weak};
    use crate::scope::ScopeOffer;
    use containment_core::{Bytes, Limit, Measure, Set};

    fn denied() -> Error {
        Error::from_errno(Operation::Create, 13)
    }

    #[test]
    fn the_strongest_backend_whose_proof_succeeds_is_taken() {
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Unproved(strong()))
            .stage(Backend::ProcessGroup, Stage::Usable(weak()));
        let chosen = Builder::on(Arc::new(host)).build().unwrap();
        assert_eq!(chosen.backend(), Backend::ProcessGroup);
        let rejected: Vec<_> = chosen.selection().rejected.iter().map(|r| r.backend).collect();
        assert_eq!(rejected, [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1]);
        assert_eq!(chosen.selection().rejected[0].reason.kind(), denied().kind());
    }

    /// A host on which each candidate looks what is mounted, and moves this process without being of use.
    #[derive(Debug, Default)]
    struct Moving(std::sync::Mutex<Vec<Base>>);

    impl Host for Moving {
        fn order(&self, _: &Base) -> [Backend; 4] {
            ORDER
        }

        fn probe(&self, backend: Backend, place: &Place) -> Result<Found> {
            place.base.mounts().expect("/proc is mounted");
            self.0.lock().unwrap().push(place.base.clone());
            Err(denied().with_backend(backend))
        }

        fn scope(&self, _: Set<Measure>) -> Result<Option<ScopeOffer>> {
            Ok(None)
        }

        fn check_seal(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_a_candidate_that_was_rejected_the_host_is_looked_at_anew() {
        let host = Arc::new(Moving::default());
        let name = "job".parse().unwrap();
        assert!(Builder::on(host.clone()).build().is_err());
        assert!(Builder::on(host.clone()).launch(&name, |_| Program::new("true")).is_err());
        let bases = host.0.lock().unwrap();
        assert_eq!(bases.len(), 2 * ORDER.len());
        let mut looks: Vec<_> = bases.iter().map(|base| base.mounts().unwrap().as_ptr()).collect();
        looks.sort_unstable();
        looks.dedup();
        assert_eq!(looks.len(), bases.len(), "none was shared");
    }

    #[test]
    fn a_proof_on_use_makes_no_scratch_group() {
        let host = Scripted::new().stage(Backend::CgroupV2, Stage::Unproved(strong()));
        let chosen = Builder::on(Arc::new(host)).proof(Proof::OnUse).build().unwrap();
        assert_eq!(chosen.backend(), Backend::CgroupV2);
    }

    #[test]
    fn an_explicit_backend_is_the_only_candidate_and_its_reason_the_error() {
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Unproved(strong()))
            .stage(Backend::ProcessGroup, Stage::Usable(weak()));
        let error = Builder::on(Arc::new(host)).backend(Backend::CgroupV2).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_backend_that_is_too_weak_is_passed_over_or_refused() {
        let host = || Arc::new(Scripted::new().stage(Backend::ProcessGroup, Stage::Usable(weak())));
        let atomic = "kill=atomic".parse().unwrap();
        let error = Builder::on(host()).require(atomic).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequirementUnmet);
        assert!(
            error.to_string().contains("kill=atomic is required, it gives repeated"),
            "{error}"
        );
        let repeated = "kill=repeated".parse().unwrap();
        assert!(Builder::on(host()).require(repeated).build().is_ok());
    }

    #[test]
    fn a_limit_that_no_backend_applies_is_an_error_unless_best_effort_will_do() {
        let host = || Arc::new(Scripted::new().stage(Backend::ProcessGroup, Stage::Usable(weak())));
        let limits = Limits::new().memory_max(Bytes::mib(64));
        let error = Builder::on(host()).limits(&limits).build().unwrap_err();
        assert!(error.to_string().contains("cannot apply limits.memory"), "{error}");
        assert!(error.remedy().is_some());
        assert!(Builder::on(host()).limits(&limits).best_effort().build().is_ok());
    }

    #[test]
    fn auto_prefers_the_backend_that_applies_every_limit() {
        let mut limiting = weak();
        limiting.limits = limiting.limits.with(Limit::Memory);
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Usable(strong()))
            .stage(Backend::CgroupV1, Stage::Usable(limiting));
        let limits = Limits::new().memory_max(Bytes::mib(64));
        let chosen = Builder::on(Arc::new(host)).limits(&limits).build().unwrap();
        assert_eq!(chosen.backend(), Backend::CgroupV1);
    }

    #[test]
    fn a_parent_that_was_named_is_never_dropped_in_silence() {
        let host = || Arc::new(Scripted::new().stage(Backend::ProcessGroup, Stage::Usable(weak())));
        let error = Builder::on(host()).parent("/ci").build().unwrap_err();
        assert!(error.to_string().contains("process groups have no parent group"), "{error}");
        assert!(Builder::on(host()).parent("/ci").best_effort().build().is_ok());
    }

    #[test]
    fn the_fake_is_not_found_on_a_host() {
        let error = Builder::default().backend(Backend::Fake).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unusable);
        assert!(!ORDER.contains(&Backend::Fake));
    }

    #[test]
    fn a_survey_answers_for_every_backend() {
        let host = Scripted::new().stage(Backend::ProcessGroup, Stage::Usable(weak()));
        let findings = Builder::on(Arc::new(host)).survey();
        let usable: Vec<_> = findings.iter().map(|f| (f.backend, f.usable.is_ok())).collect();
        assert_eq!(usable, ORDER.map(|backend| (backend, backend == Backend::ProcessGroup)));
    }
}
