//! One way of containing processes that was chosen for this host, as its users see it.

use std::sync::Arc;

use containment_core::{Backend, Capabilities, CgroupOps, GroupId, GroupOps, Result, Waiter};

use crate::builder::Builder;
use crate::making::{Degradation, GroupBuilder};
use crate::selection::{Rejected, Selection};

/// A chosen driver: makes groups, and says why it was chosen.
///
/// ```
/// use backend_fake::Fake;
/// use containment::{Backend, Containment, OpenGroup};
///
/// // Or `Containment::auto()?`, which takes the best that the host has.
/// let host = Containment::with(Fake::new());
/// assert_eq!(host.backend(), Backend::Fake);
/// assert_eq!(host.selection().to_string(), "chosen: fake");
/// assert!(host.capabilities().nesting && host.degraded().is_empty());
///
/// let web = host.group("web").create()?;
/// assert_eq!(host.list()?, [web.id().clone()]);
/// let opened = OpenGroup::new(host.open(web.id())?, host.waiter());
/// web.keep();
/// opened.remove()?;
/// assert!(host.driver().list()?.is_empty());
/// # Ok::<(), containment::Error>(())
/// ```
#[derive(Debug)]
pub struct Containment {
    driver: Arc<dyn CgroupOps>,
    selection: Selection,
    degraded: Vec<Degradation>,
}

impl Containment {
    /// The strongest way that works here, proved by a scratch group.
    ///
    /// # Errors
    /// [`Unusable`](containment_core::ErrorKind::Unusable) where no backend works, naming the reason of each.
    pub fn auto() -> Result<Self> {
        Self::builder().build()
    }

    /// This driver and no other: one of your own, or the in-memory fake, which is never chosen by
    /// itself.
    pub fn with(driver: impl CgroupOps + 'static) -> Self {
        Self::chosen(Arc::new(driver), Vec::new())
    }

    /// Says what is required before anything is chosen.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn chosen(driver: Arc<dyn CgroupOps>, rejected: Vec<Rejected>) -> Self {
        let selection = Selection { chosen: driver.backend(), rejected };
        Self { driver, selection, degraded: Vec::new() }
    }

    /// Notes what it has to do without.
    pub(crate) fn doing_without(mut self, degraded: Vec<Degradation>) -> Self {
        self.degraded = degraded;
        self
    }

    /// What it does without, for all of its groups: `orphans`, where nobody ends them should this process be
    /// killed; `statuses`, where nobody keeps how programs end.
    pub fn degraded(&self) -> &[Degradation] {
        &self.degraded
    }

    /// Notes which backends were tried before this one.
    pub(crate) fn passed_over(&mut self, rejected: Vec<Rejected>) {
        self.selection.rejected = rejected;
    }

    /// Begins a group of this name; see [`GroupName`](crate::GroupName) for what names are valid.
    pub fn group(&self, name: impl AsRef<str>) -> GroupBuilder<'_> {
        GroupBuilder::new(self, name.as_ref())
    }

    /// Opens an existing group: of this identity, not just of this name.
    ///
    /// # Errors
    /// [`NotFound`](containment_core::ErrorKind::NotFound) when it is gone, or its name is another group's;
    /// [`Unsupported`](containment_core::ErrorKind::Unsupported) for process groups, which the kernel knows by no
    /// name: a [`Registry`](crate::registry::Registry) does.
    pub fn open(&self, id: &GroupId) -> Result<Box<dyn GroupOps>> {
        self.driver.open(id)
    }

    /// The groups directly below the driver's parent group.
    ///
    /// # Errors
    /// [`Gone`](containment_core::ErrorKind::Gone) when the parent group was removed.
    pub fn list(&self) -> Result<Vec<GroupId>> {
        self.driver.list()
    }

    /// What was chosen, and why nothing better was.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Which way it is.
    pub fn backend(&self) -> Backend {
        self.driver.backend()
    }

    /// What it guarantees.
    pub fn capabilities(&self) -> &Capabilities {
        self.driver.capabilities()
    }

    /// The clock that its groups live by.
    pub fn waiter(&self) -> Arc<dyn Waiter> {
        self.driver.waiter()
    }

    /// The driver itself.
    pub fn driver(&self) -> &dyn CgroupOps {
        &*self.driver
    }
}
