//! The virtual clock: waiting lets time pass in the model, and takes none.

use containment_core::{Time, Waiter, Watch};

use crate::Shared;

/// The waiter of one fake world.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    pub(crate) world: Shared,
}

impl Waiter for VirtualClock {
    fn now(&self) -> Time {
        self.world.lock().now
    }

    /// # Panics
    /// Where nothing is left that could happen and no end was given, and where the same moment is
    /// waited in again and again: a real caller would hang, or spin.
    fn wait(&self, until: Time, on: &Watch) {
        let mut world = self.world.lock();
        loop {
            if let Watch::Virtual(event) = on
                && world.is_ready(*event)
            {
                world.count_spin();
                return;
            }
            let next = world.next_event().filter(|next| *next <= until);
            match next {
                Some(next) => world.pass_until(next),
                None => break,
            }
        }
        assert!(until < Time::NEVER, "waiting without end for what never happens: {on:?}");
        world.pass_until(until);
    }
}
