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
    Nest(Choice, Choice),
    Open(Choice),
    Spawn(Choice),
    SpawnNothing(Choice, bool),
    Fork(Choice),
    Daemonise(Choice),
    Exit(Choice, u8),
    LeaveSession(Choice),
    IgnoreTerm(Choice),
    StopItself(Choice),
    StartOutside,
    Attach(Choice, Choice),
    Signal(Choice, Choice),
    SignalProgram(Choice, Choice),
    Freeze(Choice),
    Thaw(Choice),
    Kill(Choice),
    Wait(Choice),
    Reap(Choice),
    Remove(Choice),
    Terminate(Choice, bool),
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

/// Something to do with a group and processes in it comes more often than the rest.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Act>> {
    let choice = any::<u8>;
    let act = prop_oneof![
        4 => choice().prop_map(Act::Create),
        3 => (choice(), choice()).prop_map(|(group, name)| Act::Nest(group, name)),
        1 => choice().prop_map(Act::Open),
        6 => choice().prop_map(Act::Spawn),
        1 => (choice(), any::<bool>()).prop_map(|(group, there)| Act::SpawnNothing(group, there)),
        5 => choice().prop_map(Act::Fork),
        2 => choice().prop_map(Act::Daemonise),
        3 => (choice(), 0..3_u8).prop_map(|(process, status)| Act::Exit(process, status)),
        2 => choice().prop_map(Act::LeaveSession),
        2 => choice().prop_map(Act::IgnoreTerm),
        2 => choice().prop_map(Act::StopItself),
        1 => Just(Act::StartOutside),
        2 => (choice(), choice()).prop_map(|(group, process)| Act::Attach(group, process)),
        4 => (choice(), choice()).prop_map(|(group, signal)| Act::Signal(group, signal)),
        2 => (choice(), choice()).prop_map(|(child, signal)| Act::SignalProgram(child, signal)),
        3 => choice().prop_map(Act::Freeze),
        3 => choice().prop_map(Act::Thaw),
        2 => choice().prop_map(Act::Kill),
        2 => choice().prop_map(Act::Wait),
        1 => choice().prop_map(Act::Reap),
        2 => choice().prop_map(Act::Remove),
        2 => (choice(), any::<bool>()).prop_map(|(group, asks)| Act::Terminate(group, asks)),
    ];
    vec(act, 4..20).prop_map(|acts| {
        let begin = [Act::Create(0), Act::Spawn(0)];
        begin.into_iter().chain(acts).collect()
    })
}

/// One thing to do for certain. Groups are known by their handle's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Create { name: &'static str },
    Nest { group: usize, name: &'static str },
    Open { group: usize },
    Spawn { group: usize, birth: Birth },
    SpawnNothing { group: usize, there: bool },
    Order { birth: Birth, order: Order },
    StartOutside { birth: Birth },
    Attach { group: usize, birth: Birth },
    Signal { group: usize, signal: Signal },
    SignalProgram { birth: Birth, signal: Signal },
    Freeze { group: usize },
    Thaw { group: usize },
    Kill { group: usize },
    Wait { birth: Birth },
    Reap { group: usize },
    Remove { group: usize },
    Terminate { group: usize, asking: Option<Asking> },
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
            Self::Nest { group, name } => write!(f, "create {name} in #{group}"),
            Self::Open { group } => write!(f, "open #{group} once more"),
            Self::Spawn { group, birth } => write!(f, "spawn p{birth} in #{group}"),
            Self::SpawnNothing { group, there } => {
                let what = if *there { "not executable" } else { "not there" };
                write!(f, "spawn in #{group} what is {what}")
            }
            Self::Order { birth, order } => match order {
                Order::Answer => write!(f, "p{birth} answers"),
                Order::Fork(child) => write!(f, "p{birth} forks p{child}"),
                Order::Daemonise(daemon) => write!(f, "p{birth} daemonises p{daemon}"),
                Order::Exit(status) => write!(f, "p{birth} exits with {status}"),
                Order::LeaveSession => write!(f, "p{birth} calls setsid"),
                Order::IgnoreTerm => write!(f, "p{birth} ignores SIGTERM"),
                Order::StopItself => write!(f, "p{birth} stops itself"),
            },
            Self::StartOutside { birth } => write!(f, "p{birth} is started outside"),
            Self::Attach { group, birth } => write!(f, "attach p{birth} to #{group}"),
            Self::Signal { group, signal } => write!(f, "{signal} to #{group}"),
            Self::SignalProgram { birth, signal } => write!(f, "{signal} to the program p{birth}"),
            Self::Freeze { group } => write!(f, "freeze #{group}"),
            Self::Thaw { group } => write!(f, "thaw #{group}"),
            Self::Kill { group } => write!(f, "kill #{group}"),
            Self::Wait { birth } => write!(f, "wait for the program p{birth}"),
            Self::Reap { group } => write!(f, "reap in #{group}"),
            Self::Remove { group } => write!(f, "remove #{group}"),
            Self::Terminate { group, asking: None } => write!(f, "terminate #{group}"),
            Self::Terminate { group, asking: Some(_) } => {
                write!(f, "terminate #{group} gracefully")
            }
        }
    }
}
