//! What is known of a group whose members were told to stop: it need not be looked for again at once.
//!
//! To list the members takes several calls for each, and a teardown that begins holds them still, lists them
//! and kills them: one look serves all three, as long as everybody is in the process groups that were struck.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containment_process::proc::Stat;

use super::KeptGroup;

/// For so long who was together stays together: what tells them to end comes right after the list.
const JUST_NOW: Duration = Duration::from_millis(10);

/// Whether everybody stands still, and who that is.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    /// Whether everybody was told to stop, and nobody to go on since.
    is_told: bool,
    /// Who was listed then, if nobody had left the process groups.
    together: Option<Together>,
    /// How often it ended.
    ends: u64,
}

#[derive(Debug)]
pub(super) struct Together {
    pub(super) members: Vec<Stat>,
    listed: Instant,
    /// Whether all had been told to stop before they were listed. Whoever was told has no child any more, whether he
    /// has stopped by now or not: fork(2) fails, and is tried again when he goes on.
    is_complete: bool,
}

/// A listing that began: what comes of it is void if the stillness ended meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing(u64);

impl Stillness {
    /// Begins a listing.
    pub(super) fn listing(&self) -> Listing {
        Listing(self.ends)
    }

    /// Everybody was told to stop: these before they were listed.
    pub(super) fn told(&mut self, listing: Listing, together: Option<Vec<Stat>>) {
        if listing.0 == self.ends {
            self.is_told = true;
            self.together = together.map(|members| Together::of(members, true));
        }
    }

    /// These were listed, and are together.
    pub(super) fn listed(&mut self, listing: Listing, members: Vec<Stat>, is_complete: bool) {
        if listing.0 == self.ends && self.is_told {
            self.together = Some(Together::of(members, is_complete));
        }
    }

    /// Who was listed just now, standing still in the process groups. Whom somebody else had go on, and leave
    /// meanwhile, the next strike meets.
    pub(super) fn take_together(&mut self) -> Option<Together> {
        self.together.take().filter(|together| together.listed.elapsed() < JUST_NOW)
    }

    /// Somebody was told to go on, or begins.
    pub(super) fn ends(&mut self) {
        *self = Self { ends: self.ends + 1, ..Self::default() };
    }
}

impl Together {
    fn of(members: Vec<Stat>, is_complete: bool) -> Self {
        Self { members, listed: Instant::now(), is_complete }
    }

    /// Those of them who live, if nobody else can be a member by now.
    fn living(self) -> Option<Vec<Stat>> {
        if !self.is_complete {
            return None;
        }
        let mut living = Vec::new();
        for member in self.members {
            let now = Stat::read(member.pid).ok()?;
            living.extend(now.filter(|now| now.started == member.started && !now.is_dead()));
        }
        Some(living)
    }
}

impl KeptGroup {
    pub(super) fn stillness(&self) -> MutexGuard<'_, Stillness> {
        self.stillness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members who were listed just now and told to stop before that, as they are now.
    pub(super) fn who_stands_still(&self) -> Option<Vec<Stat>> {
        let together = self.stillness().take_together()?;
        together.living()
    }
}
