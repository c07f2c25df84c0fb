//! The processes that a report names, in JSON.

use containment::{Hold, Link, Member};
use serde::Serialize;

use super::report::seconds;

/// A process, and where it comes from. Null is what could not be seen.
#[derive(Debug, Serialize)]
pub(crate) struct MemberEntry<'a> {
    pid: i32,
    comm: &'a str,
    args: Option<&'a [String]>,
    started: Option<f64>,
    /// By name, outermost first; `unknown` for who was dead before they were seen.
    chain: Option<Vec<String>>,
}

/// A process that could not be ended, and why.
#[derive(Debug, Serialize)]
pub(crate) struct SurvivorEntry<'a> {
    #[serde(flatten)]
    member: MemberEntry<'a>,
    state: String,
    held_by: Option<HoldEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct HoldEntry<'a> {
    wchan: Option<&'a str>,
    freezer: Option<&'a str>,
    mount: Option<&'a str>,
    stack: &'a [String],
}

impl<'a> MemberEntry<'a> {
    pub(crate) fn new(member: &'a Member) -> Self {
        let origin = member.origin.as_deref();
        let chain = origin.map(|origin| &*origin.chain).filter(|chain| !chain.is_empty());
        Self {
            pid: member.pid.as_raw(),
            comm: &member.comm,
            args: origin.and_then(|origin| origin.args.as_deref()),
            started: origin.and_then(|origin| origin.started).map(seconds),
            chain: chain.map(|chain| chain.iter().map(Link::to_string).collect()),
        }
    }
}

impl<'a> SurvivorEntry<'a> {
    pub(crate) fn new(member: &'a Member) -> Self {
        let hold = member.origin.as_ref().and_then(|origin| origin.held_by.as_ref());
        Self {
            member: MemberEntry::new(member),
            state: member.state.to_string(),
            held_by: hold.map(HoldEntry::new),
        }
    }
}

impl<'a> HoldEntry<'a> {
    fn new(hold: &'a Hold) -> Self {
        Self {
            wchan: hold.wchan.as_deref(),
            freezer: hold.freezer.as_deref(),
            mount: hold.mount.as_deref(),
            stack: &hold.stack,
        }
    }
}
