//! One call that contains the children of this process as well as it can be done here, and says which
//! guarantees that leaves out.

use std::sync::Arc;

use backend_pgrp::OwnChildren;
use containment_core::{
    Error, ErrorKind, Group, Operation, Policy, Result, SystemWaiter, TeardownReport,
};
use containment_process::ancestry::Ancestry;

use crate::builder::Builder;
use crate::contain_children::{ContainChildren, fresh_name, hold_signals};
use crate::making::Degradation;
use crate::require::limit_unmet;

/// Contains the children of this process as well as it can be done here. Never fails: look at
/// [`degraded`](SimpleContainChildren::degraded) for what it does without.
///
/// ```standalone_crate
/// use containment::{Policy, contain_children};
/// let step = contain_children();
/// step.degraded().iter().for_each(|lost| eprintln!("doing without {lost}"));
/// std::process::Command::new("true").status()?;
/// let report = step.leave(&Policy::kill())?;
/// assert!(report.is_none_or(|report| report.is_clean()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn contain_children() -> SimpleContainChildren {
    Builder::default().contain_children_at_best()
}

/// The children of this process, held as well as it can be done here. Dropping it ends them at once.
///
/// ```standalone_crate
/// use containment::{Containment, HowHeld, Limits, Policy};
///
/// let limits = Limits::new().pids_max(500);
/// let step = Containment::builder().limits(&limits).contain_children_at_best();
/// match step.how() {
///     HowHeld::Group => assert!(step.degraded().is_empty()),
///     // By descent, or not at all.
///     held => assert!(held < HowHeld::Group && !step.degraded().is_empty()),
/// }
/// std::process::Command::new("true").status()?;
/// if let Some(report) = step.leave(&Policy::kill())? {
///     assert!(report.is_clean());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping this ends the children at once"]
pub struct SimpleContainChildren {
    held: Held,
    degraded: Vec<Degradation>,
}

/// How the children are held, and by which guard.
#[derive(Debug)]
enum Held {
    Group(ContainChildren),
    Swept(Group),
    Not,
}

/// How the children of this process are held. Later is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HowHeld {
    /// Not at all: they live on.
    Not,
    /// By descent: this process adopts the orphans among its descendants, and at the end every
    /// descendant is ended. Done only where there is no descendant at the beginning.
    Swept,
    /// In a group that the kernel keeps.
    Group,
}

impl Builder {
    /// As [`contain_children`](fn@contain_children), with this builder's backend and limits where they
    /// can be had.
    pub fn contain_children_at_best(&self) -> SimpleContainChildren {
        let no_group = match self.contain_children() {
            Ok(children) => return SimpleContainChildren::whole(children),
            Err(error) => error,
        };
        match OwnChildren::adopt(fresh_name()) {
            Ok(own) => {
                let group = Group::new(Box::new(own), Arc::new(SystemWaiter::new()));
                let group = group.witnessed_by(Arc::new(Ancestry::from_now_on()));
                let mut degraded = without_a_group(no_group);
                let limits = self.limits.asked();
                let unmet = |limit| lost(&format!("limits.{limit}"), limit_unmet(limit));
                degraded.extend(limits.iter().map(unmet));
                SimpleContainChildren { held: Held::Swept(group), degraded }
            }
            Err(no_sweep) => {
                let degraded = vec![lost("containment", no_group), lost("sweep", no_sweep)];
                SimpleContainChildren { held: Held::Not, degraded }
            }
        }
    }
}

impl SimpleContainChildren {
    fn whole(children: ContainChildren) -> Self {
        Self { held: Held::Group(children), degraded: Vec::new() }
    }

    /// How the children are held.
    pub fn how(&self) -> HowHeld {
        match self.held {
            Held::Group(_) => HowHeld::Group,
            Held::Swept(_) => HowHeld::Swept,
            Held::Not => HowHeld::Not,
        }
    }

    /// The guarantees that were lost, each with the reason.
    pub fn degraded(&self) -> &[Degradation] {
        match &self.held {
            Held::Group(children) => children.degraded(),
            Held::Swept(_) | Held::Not => &self.degraded,
        }
    }

    /// Ends the children as `policy` says; `None` where they were not held.
    ///
    /// # Errors
    /// As [`ContainChildren::leave`].
    pub fn leave(mut self, policy: &Policy) -> Result<Option<TeardownReport>> {
        match std::mem::replace(&mut self.held, Held::Not) {
            Held::Group(children) => children.leave(policy).map(Some),
            Held::Swept(group) => {
                let _held = hold_signals();
                group.terminate(policy).map(Some)
            }
            Held::Not => Ok(None),
        }
    }
}

impl Drop for SimpleContainChildren {
    fn drop(&mut self) {
        // The guard of a group holds signals back by itself.
        if let Held::Swept(group) = std::mem::replace(&mut self.held, Held::Not) {
            let _held = hold_signals();
            drop(group);
        }
    }
}

/// What descent does without, compared to a group of the kernel.
fn without_a_group(why: Error) -> Vec<Degradation> {
    let told = |cause| Error::new(ErrorKind::Unsupported, Operation::Kill).because(cause);
    vec![
        lost("escape=impossible", why),
        lost("kill=frozen", told("descendants are signalled again and again until none is left")),
        lost("reaping", told("orphans that came to this process stay zombies until it ends")),
    ]
}

fn lost(what: &str, why: Error) -> Degradation {
    Degradation { what: what.to_owned(), why }
}
