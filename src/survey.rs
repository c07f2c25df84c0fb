//! What this host has to offer: every backend tried, and told about.

use containment_core::{Backend, Set};

use crate::builder::Builder;
use crate::scope::with_scope;
use crate::selection::{Finding, Systemd};

impl Builder {
    /// Tries every backend, in the order of this host and with every limit that it has, and says of each
    /// what it guarantees here or why it cannot be used. Nothing is asked of systemd but whether it
    /// would give a scope.
    ///
    /// ```
    /// use containment::{Backend, Containment};
    ///
    /// let findings = Containment::builder().survey();
    /// for finding in &findings {
    ///     match &finding.usable {
    ///         Ok(here) => println!("{}: kill={} escape={}", finding.backend, here.kill, here.escape),
    ///         Err(error) => println!("{}: {}", finding.backend, error.why()),
    ///     }
    ///     finding.lacking.iter().for_each(|what| println!("  would be stronger with {what}"));
    /// }
    /// let last = findings.last().unwrap();
    /// assert_eq!(last.backend, Backend::ProcessGroup);
    /// ```
    pub fn survey(&self) -> Vec<Finding> {
        let here = self.afresh().systemd(Systemd::Never);
        let find = |backend| {
            let proved = here
                .fit(backend)
                .and_then(|found| here.prove(&*found.driver, Set::all()).map(|()| found.driver));
            let found = Finding::of(backend, proved);
            if backend == Backend::CgroupV2 && self.place.may_ask() {
                with_scope(found, self.host.scope(self.place.figures))
            } else {
                found
            }
        };
        self.host.order(&here.place.base).into_iter().map(find).collect()
    }
}
