//! A schedule: which of the things that could happen next did, at every point where something could.
//!
//! Schedules are run one after the other, each from the beginning, until every one was. A point is left out
//! that leads to a state from which everything was tried already.

use std::collections::HashMap;

/// The choices of one run, and what was seen in all of them.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    /// The choices to make first, each with the number that there were.
    trail: Vec<(usize, usize)>,
    /// How many choices this run has made.
    made: usize,
    /// How many choices of this run were given.
    given: usize,
    /// How much may go wrong still in this run.
    budget: u32,
    /// The states that were met, each with the largest budget with which it was.
    states: HashMap<u64, u32>,
    /// How many schedules were run.
    pub(crate) runs: usize,
}

impl Schedules {
    /// Begins a run in which so much may happen; `false` when every schedule was run.
    pub(crate) fn begin(&mut self, budget: u32) -> bool {
        if self.runs > 0 && !self.advance() {
            return false;
        }
        (self.made, self.given, self.budget) = (0, self.trail.len(), budget);
        self.runs += 1;
        true
    }

    /// The next schedule: the last choice that can be made otherwise is.
    fn advance(&mut self) -> bool {
        while let Some((choice, among)) = self.trail.pop() {
            if choice + 1 < among {
                self.trail.push((choice + 1, among));
                return true;
            }
        }
        false
    }

    /// One of `among` things. The first is that nothing happens; the others use up the budget.
    pub(crate) fn choose(&mut self, among: usize) -> usize {
        if self.is_spent() || among < 2 {
            return 0;
        }
        if self.made == self.trail.len() {
            self.trail.push((0, among));
        }
        let choice = self.trail[self.made].0;
        self.made += 1;
        self.budget -= u32::from(choice > 0);
        choice
    }

    /// Whether nothing more may happen in this run.
    pub(crate) fn is_spent(&self) -> bool {
        self.budget == 0
    }

    /// Whether everything that follows from `state` was tried, or is about to be.
    pub(crate) fn is_known(&mut self, state: impl FnOnce() -> u64) -> bool {
        // What was given was met on the way here before.
        if self.made < self.given {
            return false;
        }
        let state = state();
        let known = self.states.get(&state).is_some_and(|budget| *budget >= self.budget);
        if !known {
            self.states.insert(state, self.budget);
        }
        known
    }

    /// How many different states were met.
    pub(crate) fn states(&self) -> usize {
        self.states.len()
    }

    /// The choices of this run, to be found again.
    pub(crate) fn trail(&self) -> Vec<usize> {
        self.trail.iter().map(|(choice, _)| *choice).collect()
    }
}
