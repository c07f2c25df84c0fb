//! A build without the feature `limits`: every limit is refused.

use containment_core::{Applied, Limits};

use crate::branches::Branches;
use crate::offer;

impl Branches {
    /// Refuses every limit.
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn set_limits(&self, limits: &Limits) -> Applied {
        let refuse = |limit| (limit, offer::unsupported(limit));
        Applied { applied: Vec::new(), refused: limits.asked().iter().map(refuse).collect() }
    }
}
