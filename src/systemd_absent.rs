//! In place of the systemd client where it was not built in: no scope is ever there to be had.

use containment_core::{Capabilities, Measure, Result, Set};
use containment_process::proc::Base;

/// A scope that can be had: none.
#[derive(Debug)]
pub(crate) enum AvailableScope {}

impl AvailableScope {
    #[expect(clippy::unnecessary_wraps, reason = "the client that is built in can fail")]
    pub(crate) fn probe(_: Set<Measure>) -> Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        match *self {}
    }

    pub(crate) fn enter(self) -> Result<Base> {
        match self {}
    }
}

impl std::fmt::Display for AvailableScope {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}
