//! Sequences that two worlds differed over once, each by the rule that one of them did not keep. Every pair
//! plays them before the random ones.

use containment_core::Signal;

use crate::acts::{Act, GroupAct, SIGNALS};

/// A rule, and the sequence that shows it.
pub(crate) type Pinned = (&'static str, Vec<Act>);

/// Every one.
pub(crate) fn all() -> [Pinned; 5] {
    [
        (
            "a fatal signal that waits already ends no frozen task",
            with_a_program(&[
                signal(Signal::STOP),
                GroupAct::Freeze,
                signal(Signal::TERM),
                signal(Signal::CONT),
                signal(Signal::TERM),
            ]),
        ),
        ("a frozen group around it saves no group from its end", below_a_frozen_group(false)),
        (
            "what stands still below a frozen group is not thawed to be asked",
            below_a_frozen_group(true),
        ),
        (
            "while a program runs, wherever it was moved, nobody was left behind",
            with_its_program_elsewhere(),
        ),
        (
            "a namesake of a level that was made for a group outlives that group",
            beside_a_namesake_of_its_level(),
        ),
    ]
}

/// These acts on a group with a program in it.
fn with_a_program(acts: &[GroupAct]) -> Vec<Act> {
    let acts = acts.iter().map(|act| Act::OnGroup(0, *act));
    [Act::Create(0), Act::OnGroup(0, GroupAct::Spawn)].into_iter().chain(acts).collect()
}

/// A group in another that is frozen comes to its end.
fn below_a_frozen_group(asked: bool) -> Vec<Act> {
    vec![
        Act::Create(0),
        Act::OnGroup(0, GroupAct::Nest(0)),
        Act::OnGroup(1, GroupAct::Spawn),
        Act::OnGroup(0, GroupAct::Freeze),
        Act::OnGroup(1, GroupAct::Terminate(asked)),
    ]
}

/// A group comes to its end while its program runs in another.
fn with_its_program_elsewhere() -> Vec<Act> {
    vec![
        Act::Create(0),
        Act::OnGroup(0, GroupAct::Spawn),
        Act::Fork(0),
        Act::Create(1),
        Act::OnGroup(1, GroupAct::Attach(0)),
        Act::OnGroup(0, GroupAct::Terminate(false)),
    ]
}

/// A group is removed whose level was removed before, and made again as a group by somebody else.
fn beside_a_namesake_of_its_level() -> Vec<Act> {
    vec![
        Act::Create(0),
        Act::OnGroup(0, GroupAct::Spawn),
        Act::OnGroup(0, GroupAct::Nest(2)),
        Act::OnGroup(0, GroupAct::Remove),
        Act::OnGroup(0, GroupAct::Nest(0)),
        Act::OnGroup(1, GroupAct::Remove),
    ]
}

fn signal(signal: Signal) -> GroupAct {
    let choice = SIGNALS.iter().position(|one| *one == signal);
    GroupAct::Signal(choice.and_then(|choice| choice.try_into().ok()).expect("it is in the table"))
}
