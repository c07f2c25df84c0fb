//! That the suite can fail: worlds with a wrong rule differ, and are shrunk to what matters; what shows
//! once is not taken for a difference.

use std::cell::Cell;
use std::time::Duration;

use backend_fake::Fake;
use containment_core::Operation;
use libtest_mimic::{Failed, Trial};

use crate::acts::Act;
use crate::pairs::Rules;
use crate::play::Script;
use crate::search::{Found, Played, Search};
use crate::world::FakeWorld;

/// Every check.
pub(crate) fn all() -> impl Iterator<Item = Trial> {
    let checks: [(&str, fn()); 4] = [
        ("alike_worlds_do_not_differ", alike_worlds_do_not_differ),
        ("a_wrong_rule_of_the_kernel_is_found", a_wrong_rule_of_the_kernel_is_found),
        ("a_failing_operation_is_found", a_failing_operation_is_found),
        ("what_shows_once_is_no_difference", what_shows_once_is_no_difference),
    ];
    checks.into_iter().map(|(name, check)| {
        Trial::test(name, move || {
            check();
            Ok::<(), Failed>(())
        })
    })
}

fn alike_worlds_do_not_differ() {
    let found = search(Fake::v1, Fake::v1);
    assert_eq!(found.difference, None);
    assert!(found.steps > 500, "{found:?}");
}

/// On version 1 a frozen task outlives SIGKILL; here the twin is one where it does not.
fn a_wrong_rule_of_the_kernel_is_found() {
    let difference = search(Fake::v1, Fake::v2).difference.expect("they differ");
    let steps = difference.lines().filter(|line| line.contains(". ")).count();
    assert!(steps <= 4, "it was not shrunk:\n{difference}");
    assert!(difference.contains("freeze #0"), "{difference}");
}

fn a_failing_operation_is_found() {
    let faulty = || {
        let fake = Fake::v2();
        fake.fail(Operation::Thaw, libc_eio(), usize::MAX);
        fake
    };
    let difference = search(Fake::v2, faulty).difference.expect("they differ");
    let steps = difference.lines().filter(|line| line.contains(". ")).count();
    assert!(steps <= 4 && difference.contains("System in Thaw"), "{difference}");
}

fn what_shows_once_is_no_difference() {
    let plays = Cell::new(0);
    let found = quick().run(|acts, _| {
        plays.set(plays.get() + 1);
        let difference = (plays.get() == 5).then(|| "a passing one".to_owned());
        Played { steps: acts.len(), difference }
    });
    assert_eq!(found.difference, None);
    assert_eq!(found.passing, ["a passing one"]);
}

fn search(fake: fn() -> Fake, other: fn() -> Fake) -> Found {
    quick().run(|acts, _| play(acts, fake(), other()))
}

fn play(acts: &[Act], fake: Fake, other: Fake) -> Played {
    let rules = Rules { one_group: false, outsiders: true, frozen_signals_race: false };
    let script = Script::of(acts, &FakeWorld(fake), rules, "check");
    Played {
        steps: script.len(),
        difference: script.compare(&FakeWorld(other), "check", Duration::ZERO),
    }
}

/// The same sequences each time: how short one becomes depends on where its shrinking began.
fn quick() -> Search {
    Search { cases: 100, shrinks: 5000, seed: Some(7), regressions: None }
}

/// An input/output error.
fn libc_eio() -> i32 {
    rustix::io::Errno::IO.raw_os_error()
}
