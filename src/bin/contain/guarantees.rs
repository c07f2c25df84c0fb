//! What a backend guarantees, as `doctor` and the report of a run tell it: one shape, in the words of
//! `--require`.

use containment::Capabilities;
use serde::Serialize;

/// The strengths, without the limits and the figures that there are.
#[derive(Debug, Serialize)]
pub(crate) struct Guarantees {
    pub(crate) kill: String,
    pub(crate) escape: String,
    pub(crate) empty: String,
    pub(crate) freeze: String,
    pub(crate) leave_by: String,
}

impl Guarantees {
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        Self {
            kill: capabilities.kill.to_string(),
            escape: capabilities.escape.to_string(),
            empty: capabilities.empty.to_string(),
            freeze: capabilities.freeze.to_string(),
            leave_by: capabilities.leave_by.to_string(),
        }
    }
}
