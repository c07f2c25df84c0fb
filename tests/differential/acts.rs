//! The vocabulary of a sequence. An [`Act`] is what is made at random: it names groups and processes by
//! a choice among whatever there is. A [`Step`] is what becomes of it when the fake has played it: it
//! names them for certain, and reads as a line.

use std::fmt;

use containment_core::Signal;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use serde::{Deserialize, Serialize};

use crate::helper::{Birth, Order};

/// Picks one of those that are there, whatever their number.
type Choice = u8;

/// One random thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Create(Choice),
    StartOutside,
    Fork(Choice),
    Daemonise(Choice),
    Exit(Choice, u8),
    LeaveSession(Choice),
    IgnoreTerm(Choice),
    StopItself(Choice),
    SignalProgram(Choice, Choice),
    Wait(Choice),
    OnGroup(Choice, GroupAct),
}

/// One random thing to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GroupAct {
    Nest(Choice),
    Open,
    Spawn,
    SpawnNothing(bool),
    Attach(Choice),
    Signal(Choice),
    Freeze,
    Thaw,
    Kill,
    Reap,
    Remove,
    Terminate(bool),
}

/// The names that groups are made under at the top. Few, so that namesakes meet.
pub(crate) const NAMES: [&str; 4] = ["a", "b", "a/x", "c/x/y"];
/// The names that groups are made under inside others.
pub(crate) const INNER_NAMES: [&str; 3] = ["x", "y", "x/z"];
/// The signals that are sent: some end, some do not, some stop and continue.
pub(crate) const SIGNALS: [Signal; 7] = [
    Signal::TERM,
    Signal::STOP,
    Signal::CONT,
    Signal::USR1,
    Signal::HUP,
    Signal::WINCH,
    Signal::KILL,
];

/// A group with a program in it, and then anything.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => any::<Choice>().prop_map(Act::Create),
        19 => process_acts(),
        27 => (any::<Choice>(), group_acts()).prop_map(|(group, act)| Act::OnGroup(group, act)),
    ];
    vec(act, 1..22).prop_map(|acts| {
        let begin = [Act::Create(0), Act::OnGroup(0, GroupAct::Spawn)];
        begin.into_iter().chain(acts).collect()
    })
}

fn process_acts() -> impl Strategy<Value = Act> {
    let choice = any::<Choice>;
    prop_oneof![
        1 => Just(Act::StartOutside),
        5 => choice().prop_map(Act::Fork),
        2 => choice().prop_map(Act::Daemonise),
        3 => (choice(), 0..3_u8).prop_map(|(process, status)| Act::Exit(process, status)),
        2 => choice().prop_map(Act::LeaveSession),
        2 => choice().prop_map(Act::IgnoreTerm),
        2 => choice().prop_map(Act::StopItself),
        2 => (choice(), choice()).prop_map(|(child, signal)| Act::SignalProgram(child, signal)),
        2 => choice().prop_map(Act::Wait),
    ]
}

fn group_acts() -> impl Strategy<Value = GroupAct> {
    let choice = any::<Choice>;
    prop_oneof![
        3 => choice().prop_map(GroupAct::Nest),
        1 => Just(GroupAct::Open),
        6 => Just(GroupAct::Spawn),
        1 => any::<bool>().prop_map(GroupAct::SpawnNothing),
        2 => choice().prop_map(GroupAct::Attach),
        4 => choice().prop_map(GroupAct::Signal),
        3 => Just(GroupAct::Freeze),
        3 => Just(GroupAct::Thaw),
        2 => Just(GroupAct::Kill),
        1 => Just(GroupAct::Reap),
        2 => Just(GroupAct::Remove),
        2 => any::<bool>().prop_map(GroupAct::Terminate),
    ]
}

/// One thing to do for certain. Groups are known by their handle's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Create { name: &'static str },
    StartOutside { birth: Birth },
    Order { birth: Birth, order: Order },
    OnProgram { birth: Birth, what: OnProgram },
    OnGroup { group: usize, what: OnGroup },
}

/// What is done with a spawned program through its handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnProgram {
    Signal(Signal),
    /// Where it is `vague`, which signal has ended it is not asked.
    Wait {
        vague: bool,
    },
}

/// What is done with a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnGroup {
    Nest(&'static str),
    Open,
    Spawn(Birth),
    SpawnNothing { there: bool },
    Attach(Birth),
    Signal(Signal),
    Freeze,
    Thaw,
    Kill,
    Reap,
    Remove,
    Terminate(Option<Asking>),
}

/// A termination that asks first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asking {
    /// Who outlives the asking for certain, when the others are a matter of time; `None` when nothing
    /// is.
    pub(crate) outlive: Option<Vec<Birth>>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name } => write!(f, "create {name}"),
            Self::StartOutside { birth } => write!(f, "p{birth} is started outside"),
            Self::Order { birth, order } => write!(f, "p{birth} {order}"),
            Self::OnProgram { birth, what: OnProgram::Signal(signal) } => {
                write!(f, "{signal} to the program p{birth}")
            }
            Self::OnProgram { birth, what: OnProgram::Wait { .. } } => {
                write!(f, "wait for the program p{birth}")
            }
            Self::OnGroup { group, what } => write!(f, "{what} #{group}"),
        }
    }
}

/// Without the group, which follows.
impl fmt::Display for OnGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nest(name) => write!(f, "create {name} in"),
            Self::Open => f.write_str("open once more"),
            Self::Spawn(birth) => write!(f, "spawn p{birth} in"),
            Self::SpawnNothing { there: true } => f.write_str("spawn what is not executable in"),
            Self::SpawnNothing { there: false } => f.write_str("spawn what is not there in"),
            Self::Attach(birth) => write!(f, "attach p{birth} to"),
            Self::Signal(signal) => write!(f, "{signal} to"),
            Self::Freeze => f.write_str("freeze"),
            Self::Thaw => f.write_str("thaw"),
            Self::Kill => f.write_str("kill"),
            Self::Reap => f.write_str("reap in"),
            Self::Remove => f.write_str("remove"),
            Self::Terminate(None) => f.write_str("terminate"),
            Self::Terminate(Some(_)) => f.write_str("terminate gracefully"),
        }
    }
}
