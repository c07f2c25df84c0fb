//! A builder with whoever aids its groups: the registry that has them on record, the helper that ends
//! them or keeps their programs.

use std::path::Path;
use std::sync::Arc;

use backend_pgrp::{Keeper, KeeperSpawner, Recorder};
use containment_core::{CgroupOps, Error, ErrorKind, Operation, Result};

use crate::builder::Builder;
use crate::drivers::Found;
use crate::keeping::{Helper, Keep, Role};
use crate::making::Degradation;
use crate::registry::{RegisteredDriver, Registry, Tenure};

/// What a builder asks for, with its aids found.
#[derive(Debug)]
pub(crate) struct Aided {
    pub(crate) builder: Builder,
    helper: Option<Arc<Helper>>,
}

impl Builder {
    /// Starts the helper, where one is named, and says what its absence costs.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a helper without a registry.
    pub(crate) fn aided(&self) -> Result<(Aided, Vec<Degradation>)> {
        let mut builder = self.afresh();
        let Some((registry, tenure)) = &self.registry else {
            let aided = Aided { builder, helper: None };
            return if self.helper.is_some() {
                Err(no_registry())
            } else {
                Ok((aided, Vec::new()))
            };
        };
        let lasting = *tenure == Tenure::Lasting;
        let (helper, degraded) = match self.start_helper(registry, lasting) {
            Ok(helper) => (Some(helper), Vec::new()),
            Err(why) => (None, vec![without_helper(lasting, why)]),
        };
        if let Some(helper) = &helper {
            builder.place.spawner = Some((Arc::clone(helper) as Arc<dyn KeeperSpawner>, lasting));
        }
        if lasting {
            builder.place.recorder = Some(Arc::new(registry.clone()) as Arc<dyn Recorder>);
        }
        Ok((Aided { builder, helper }, degraded))
    }

    fn start_helper(&self, registry: &Registry, lasting: bool) -> Result<Arc<Helper>> {
        let role = if lasting { Role::Keep } else { Role::Guard };
        match &self.helper {
            Some(program) => Helper::of(registry, role, program),
            None => Err(Error::new(ErrorKind::Unsupported, Operation::Select)
                .because("no helper is named")
                .advise("name the program contain: Containment::builder().helper(path)")),
        }
    }
}

impl Aided {
    /// Has the next driver look at the host anew: the last one may have moved this process, into a scope of systemd.
    pub(crate) fn look_anew(&mut self) {
        self.builder = self.builder.afresh();
    }

    /// The driver as it was found, or one whose groups are on record.
    pub(crate) fn on_record(&self, found: Found) -> Arc<dyn CgroupOps> {
        let Found { driver, base } = found;
        let Some((registry, tenure)) = &self.builder.registry else { return driver };
        let place = &self.builder.place;
        let lasting = *tenure == Tenure::Lasting;
        let keep = match &self.helper {
            Some(helper) => Some(Keep::Helper(Arc::clone(helper))),
            None if place.keeper == Keeper::Lasting => Some(Keep::Fork),
            None => None,
        };
        // What `contain run` keeps may go on unknown; all others ask for a group to open it again.
        let is_vital = lasting && !matches!(keep, Some(Keep::Fork));
        Arc::new(RegisteredDriver {
            is_vital,
            driver,
            registry: registry.clone(),
            tenure: *tenure,
            parent: place.base.parent().map(Path::to_path_buf),
            base,
            keep: keep.filter(|_| lasting),
            guard: self.helper.clone().filter(|_| !lasting),
        })
    }
}

fn without_helper(lasting: bool, why: Error) -> Degradation {
    Degradation { what: if lasting { "statuses" } else { "orphans" }.to_owned(), why }
}

fn no_registry() -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Select)
        .because("a helper finds the groups in the registry, and none is given")
        .advise("give one: Containment::builder().registry(…)")
}
