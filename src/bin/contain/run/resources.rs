//! What a run takes along from before its program exists: nothing that the program does may be missed,
//! and no signal that arrives in between may end us and leave it behind.

use std::io;
use std::sync::Arc;

use containment::registry::Registry;
use containment::{Ancestry, Group};
use containment_process::reap::become_sub_reaper;
use containment_process::signals::Inbox;

use super::post::Post;
use super::signals;
use super::spare::Spare;
use crate::cli::Run;
use crate::engine::Engine;

/// Made before the program.
#[derive(Debug)]
pub(super) struct Resources {
    /// Where signals to us arrive.
    pub(super) inbox: Inbox,
    /// Descriptors for the end of the group.
    pub(super) spare: Option<Spare>,
    /// Who can tell where the group's processes come from.
    pub(super) ancestry: Arc<Ancestry>,
    /// Whether somebody looks at what the kernel tells of that: to listen takes some 0.1 ms a CPU.
    pub(super) listens: bool,
    /// The cluster engine whose step we are in.
    pub(super) engine: Engine,
    /// Who ends the group should we be killed. Dropped last: that waits for the end of a guardian that was
    /// dismissed, which takes as long as to let go of the rest.
    pub(super) post: Post,
}

impl Resources {
    /// Makes this process the one that orphans come to, and signals wait for.
    pub(super) fn acquire(options: &Run, registry: Option<&Registry>) -> io::Result<Self> {
        let inbox = Inbox::open(signals::taken())?;
        let spare = Some(Spare::copies_of(&inbox.source())?);
        become_sub_reaper()?;
        let post = Post::new(options.group.orphans, registry.cloned());
        let engine = Engine::find(options.group.engine);
        let ancestry = Arc::new(Ancestry::from_now_on());
        let listens = options.figures.are_wanted();
        Ok(Self { inbox, spare, ancestry, listens, engine, post })
    }

    /// Posts the guardian over a group that was just made, which needs descriptors for its own work, and begins to
    /// listen: the guardian has woken a CPU that would have to be woken for that.
    pub(super) fn guard(&mut self, group: &Group) {
        self.spare = None;
        self.post.fill(group);
        self.spare = Spare::copies_of(&self.inbox.source())
            .inspect_err(|error| {
                tracing::debug!(%error, "no descriptors are put aside for the end of the group");
            })
            .ok();
        if self.listens
            && let Err(error) = self.ancestry.listen()
        {
            tracing::debug!(%error, "dead ancestors will not be known");
        }
    }
}
