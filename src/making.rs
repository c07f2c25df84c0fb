//! Making a group under its guard, with its limits in force.

use std::fmt;
use std::sync::Arc;

use containment_core::{
    Applied, Backend, CgroupOps, ControllerSet, Error, ErrorKind, Group, GroupName, InvalidName,
    Limit, Limits, Operation, Result,
};
use containment_process::ancestry::Ancestry;

use crate::containment::Containment;

/// A group that is about to be made.
///
/// ```
/// use containment::{Bytes, ErrorKind, Limits};
/// # let host = containment::Containment::with(backend_fake::Fake::v1());
/// let limits = Limits::new().memory_max(Bytes::gib(2));
/// let job = host.group("ci/build-42").limits(&limits).any_limit_later().create()?;
/// let error = host.group("ci/build-42").create().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
/// let error = host.group("../build-42").create().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// # Ok::<(), containment::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is made before `create`"]
pub struct GroupBuilder<'a> {
    host: &'a Containment,
    name: Result<GroupName, InvalidName>,
    limits: Limits,
    any_limit_later: bool,
    degraded: Option<&'a mut Vec<Degradation>>,
}

/// Something that was asked for and that a best effort did without.
///
/// ```
/// use containment::{Degradation, ErrorKind, Error, Operation};
/// let why = Error::new(ErrorKind::Unsupported, Operation::SetLimits).because("no such controller");
/// let without = Degradation { what: "limits.io-weight".to_owned(), why };
/// assert_eq!(without.to_string(), "limits.io-weight: no such controller");
/// ```
#[derive(Debug)]
pub struct Degradation {
    /// What, by the name that a requirement has: `limits.io-weight`.
    pub what: String,
    /// Why.
    pub why: Error,
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why.reason())
    }
}

impl<'a> GroupBuilder<'a> {
    pub(crate) fn new(host: &'a Containment, name: &str) -> Self {
        Self {
            host,
            name: name.parse(),
            limits: Limits::new(),
            any_limit_later: false,
            degraded: None,
        }
    }

    /// Sets the limits that are in force before the first program starts.
    pub fn limits(mut self, limits: &Limits) -> Self {
        self.limits = limits.clone();
        self
    }

    /// Makes the group so that each limit that the backend has can be set later, and each figure read. On
    /// cgroup v1 it joins every hierarchy for that, which it could not do afterwards.
    pub fn any_limit_later(mut self) -> Self {
        self.any_limit_later = true;
        self
    }

    /// Does without limits that cannot be applied, and lists them in `degraded`.
    ///
    /// ```
    /// use containment::{Backend, Containment, Limits};
    /// let host = Containment::builder().backend(Backend::ProcessGroup).build()?;
    /// let limits = Limits::new().pids_max(100);
    /// let mut degraded = Vec::new();
    /// let job = host.group("build").limits(&limits).best_effort(&mut degraded).create()?;
    /// assert_eq!(degraded[0].what, "limits.pids", "nothing limits a process group");
    /// # Ok::<(), containment::Error>(())
    /// ```
    pub fn best_effort(mut self, degraded: &'a mut Vec<Degradation>) -> Self {
        self.degraded = Some(degraded);
        self
    }

    /// Makes the group. What was half made is removed when it fails.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists): a namesake is never adopted.
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that is none.
    /// [`Unsupported`](ErrorKind::Unsupported) for a limit that cannot be applied, unless best effort
    /// was asked for.
    pub fn create(self) -> Result<Group> {
        let name = self.name.map_err(|invalid| {
            Error::new(ErrorKind::InvalidInput, Operation::Create).because(invalid.to_string())
        })?;
        let best_effort = self.degraded.is_some();
        let driver = self.host.driver();
        // On cgroup v2 a group is given its controllers when it needs them.
        let later = match driver.backend() {
            Backend::CgroupV1 | Backend::Hybrid if self.any_limit_later => {
                driver.capabilities().limits
            }
            _ => ControllerSet::EMPTY,
        };
        let group = make_with(driver, &name, later, &self.limits, best_effort)?;
        let lacking = set_limits(&group, &self.limits, best_effort)?;
        if let Some(degraded) = self.degraded {
            degraded.extend(lacking);
        }
        Ok(group)
    }
}

/// Makes a group without limits yet; its guard exists before the first of them is written.
pub(crate) fn make(
    driver: &dyn CgroupOps,
    name: &GroupName,
    limits: &Limits,
    best_effort: bool,
) -> Result<Group> {
    make_with(driver, name, ControllerSet::EMPTY, limits, best_effort)
}

/// The same, with controllers for more limits than those that are to be set.
fn make_with(
    driver: &dyn CgroupOps,
    name: &GroupName,
    mut with: ControllerSet,
    limits: &Limits,
    best_effort: bool,
) -> Result<Group> {
    limits.check().map_err(|invalid| Error::from(invalid).with_group(name))?;
    for limit in limits.asked().iter() {
        if driver.capabilities().limits.contains(limit) {
            with = with.with(limit);
        } else if !best_effort {
            return Err(lacks(limit).with_backend(driver.backend()).with_group(name));
        }
    }
    let witness = Arc::new(Ancestry::from_now_on());
    Ok(Group::new(driver.create(name, with)?, driver.waiter()).witnessed_by(witness))
}

/// Sets the limits of a group that was just made; says which ones a best effort did without.
pub(crate) fn set_limits(
    group: &Group,
    limits: &Limits,
    best_effort: bool,
) -> Result<Vec<Degradation>> {
    if limits.asked().is_empty() {
        return Ok(Vec::new());
    }
    let mut refused = unapplied(group.ops().set_limits(limits)?, limits);
    if !best_effort && !refused.is_empty() {
        return Err(refused.swap_remove(0).1.with_group(&group.id().name));
    }
    let degradation = |(limit, why)| Degradation { what: format!("limits.{limit}"), why };
    Ok(refused.into_iter().map(degradation).collect())
}

/// What was refused, and what the driver forgot to answer for.
fn unapplied(answer: Applied, limits: &Limits) -> Vec<(Limit, Error)> {
    let mut refused = answer.refused;
    for limit in limits.asked().iter() {
        let answered = answer.applied.contains(&limit) || refused.iter().any(|(l, _)| *l == limit);
        if !answered {
            refused.push((limit, lacks(limit)));
        }
    }
    refused
}

fn lacks(limit: Limit) -> Error {
    Error::new(ErrorKind::Unsupported, Operation::SetLimits)
        .because(format!("this backend cannot apply limits.{limit}"))
        .advise("leave the limit out, or accept best effort (contain run --best-effort)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::tests::{empty_group, mock_driver, strong, weak};
    use containment_core::{Bytes, MockGroupOps};

    fn host(group: impl Fn() -> MockGroupOps + Send + 'static) -> Containment {
        let mut driver = mock_driver(Backend::Fake, strong());
        driver.expect_create().returning(move |_, _| Ok(Box::new(group())));
        Containment::with(driver)
    }

    fn refusing_group() -> MockGroupOps {
        let mut group = empty_group();
        group.expect_set_limits().returning(|_| {
            let error = Error::from_errno(Operation::SetLimits, 22);
            Ok(Applied { applied: vec![], refused: vec![(Limit::Pids, error)] })
        });
        group
    }

    #[test]
    fn a_name_that_climbs_makes_nothing() {
        let host = Containment::with(mock_driver(Backend::Fake, strong()));
        let error = host.group("../x").create().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("\"..\""), "{error}");
    }

    #[test]
    fn a_limit_that_the_backend_lacks_makes_no_group() {
        let host = Containment::with(mock_driver(Backend::Fake, weak()));
        let limits = Limits::new().memory_max(Bytes::mib(1));
        let error = host.group("x").limits(&limits).create().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_group_whose_limits_are_refused_is_removed_again() {
        let host = host(|| {
            let mut group = refusing_group();
            group.expect_remove().times(1).returning(|| Ok(()));
            group
        });
        let error = host.group("x").limits(&Limits::new().pids_max(5)).create().unwrap_err();
        assert_eq!(error.errno(), Some(22));
    }

    #[test]
    fn a_best_effort_lists_what_it_did_without() {
        let host = host(|| {
            let mut group = refusing_group();
            group.expect_remove().returning(|| Ok(()));
            group
        });
        let limits = Limits::new().pids_max(5).memory_max(Bytes::mib(1));
        let mut degraded = Vec::new();
        let group = host.group("x").limits(&limits).best_effort(&mut degraded).create();
        assert!(group.is_ok());
        let names: Vec<_> = degraded.iter().map(|d| d.what.as_str()).collect();
        assert_eq!(names, ["limits.pids", "limits.memory"], "one refused, one forgotten");
    }

    #[test]
    fn a_limit_that_no_host_has_makes_no_group() {
        let host = Containment::with(mock_driver(Backend::Fake, strong()));
        let limits = Limits::new().memory_max(Bytes(0));
        let error = host.group("x").limits(&limits).create().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("at least 4096 bytes"), "{error}");
    }

    #[test]
    fn without_limits_none_is_written() {
        let host = host(|| {
            let mut group = empty_group();
            group.expect_set_limits().never();
            group.expect_remove().returning(|| Ok(()));
            group
        });
        assert!(host.group("x").create().is_ok());
    }
}
