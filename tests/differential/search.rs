//! The search for a sequence that differs: random ones, as many as asked for, and the shortest when one
//! is found.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::test_runner::{
    Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner,
};
use serde::{Deserialize, Serialize};

use crate::acts::{Act, sequences};

/// How one sequence went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Played {
    /// How many steps it was.
    pub(crate) steps: usize,
    /// How the two worlds differ, if they do.
    pub(crate) difference: Option<String>,
}

/// How a search went.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) seed: u64,
    pub(crate) sequences: usize,
    pub(crate) steps: usize,
    /// Differences that did not show again: a matter of time, not of the worlds.
    pub(crate) passing: Vec<String>,
    /// The shortest sequence that differs, if there is one, and how it does.
    pub(crate) difference: Option<String>,
}

/// How long a barrier waits for what is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// While nothing is wrong.
    Long,
    /// While a sequence that differs is made shorter.
    Short,
}

/// What is searched.
pub(crate) struct Search {
    /// How many sequences.
    pub(crate) cases: u32,
    /// How many attempts at making it shorter.
    pub(crate) shrinks: u32,
    /// Where the random sequences begin, unless anywhere.
    pub(crate) seed: Option<u64>,
    /// Where seeds are kept of what was found, to be tried first the next time.
    pub(crate) regressions: Option<PathBuf>,
}

/// How often a difference has to show.
const SHOWS: u32 = 3;

/// Whether a difference that showed once shows as often as it has to.
pub(crate) fn shows_again(play: impl Fn() -> Played) -> bool {
    (1..SHOWS).all(|_| play().difference.is_some())
}

impl Search {
    /// The number that `CONTAIN_SOAK` or `PROPTEST_CASES` asks for, or a quick one.
    pub(crate) fn asked_for(name: &str) -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let cases = number("CONTAIN_SOAK").or_else(|| number("PROPTEST_CASES")).unwrap_or(100);
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/regressions");
        let regressions = PathBuf::from(directory).join(name).with_extension("txt");
        Self { cases, shrinks: 400, seed: None, regressions: Some(regressions) }
    }

    /// Searches; `play` compares the two worlds over one sequence.
    pub(crate) fn run(&self, play: impl Fn(&[Act], Patience) -> Played) -> Found {
        let (config, seed) = self.config();
        let (sequences_played, steps, found) = (Cell::new(0), Cell::new(0), Cell::new(false));
        let passing = std::cell::RefCell::new(Vec::new());
        let outcome = TestRunner::new(config).run(&sequences(), |acts| {
            let patience = if found.get() { Patience::Short } else { Patience::Long };
            let first = play(&acts, patience);
            if !found.get() {
                sequences_played.set(sequences_played.get() + 1);
                steps.set(steps.get() + first.steps);
            }
            let Some(difference) = first.difference else { return Ok(()) };
            if shows_again(|| play(&acts, patience)) {
                found.set(true);
                return Err(TestCaseError::fail(difference));
            }
            passing.borrow_mut().push(difference);
            Ok(())
        });
        let difference = outcome.err().map(|error| match error {
            TestError::Fail(difference, _) => difference.message().to_owned(),
            TestError::Abort(reason) => reason.message().to_owned(),
        });
        Found {
            seed,
            sequences: sequences_played.get(),
            steps: steps.get(),
            passing: passing.into_inner(),
            difference,
        }
    }

    fn config(&self) -> (Config, u64) {
        let asked = Config::default();
        let seed = match (self.seed, asked.rng_seed) {
            (Some(seed), _) | (None, RngSeed::Fixed(seed)) => seed,
            (None, RngSeed::Random) => fresh_seed(),
        };
        let kept = self.regressions.as_ref().map(|path| {
            let path: &'static str = Box::leak(path.to_string_lossy().into_owned().into());
            Box::new(FileFailurePersistence::Direct(path)) as _
        });
        let config = Config {
            cases: self.cases,
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: kept,
            max_shrink_iters: asked.max_shrink_iters.min(self.shrinks),
            ..asked
        };
        (config, seed)
    }
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) << 32 ^ now.as_secs() << 8 ^ u64::from(std::process::id())
}
