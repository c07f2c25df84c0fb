//! A supervisor that has much memory.

use std::hint::black_box;
use std::process::Command;

use containment::{Program, Seal, User};

use super::spawn::{self, FLOOR, bare_true, in_group, process_wrap};
use super::{Found, Plan};
use crate::backends::Held;
use crate::bare;
use crate::measure::{Contest, Result, Way, timed};
use crate::peers;

pub(super) const PLAN: Plan = Plan {
    name: "resident",
    title: "A supervisor with 4 GiB resident",
    method: "`/bin/true` from spawn to exit in a group that is there, by a process that has written to 4 GiB: a fork \
             copies its page tables.",
    measure,
};

fn measure() -> Result<Found> {
    let memory = vec![1_u8; 4 << 30];
    black_box(&memory);
    let held = [Held::v2()?, Held::v1()?, Held::hybrid()?, Held::process_group()?];
    let groups = held.iter().map(|held| held.group("resident")).collect::<Result<Vec<_>>>()?;
    let mut contest = Contest::new("spawn to exit of /bin/true with 4 GiB resident", 30)
        .way(Way::floor(FLOOR, || Ok(timed(bare_true)?.1)));
    for (held, group) in held.iter().zip(&groups) {
        let way = Way::ours(held.name, move || Ok(timed(|| in_group(group))?.1));
        contest = contest.way(way.giving(&held.guarantee).at_most(1.3, FLOOR));
    }
    let user = User { uid: 65534, gid: 65534, groups: Vec::new() };
    for (name, program) in [
        ("v2, another user (on a copy of the memory)", Program::new("/bin/true").user(user)),
        ("v2, sealed (on a copy of the memory)", Program::new("/bin/true").seal(Seal::BestEffort)),
    ] {
        let group = &groups[0];
        let work = move || Ok(timed(|| spawn::program_in(group, &program))?.1);
        contest = contest.way(Way::ours(name, work).beside(FLOOR));
    }
    let wrapped = Way::peer(peers::PROCESS_WRAP, peers::WRAPPED, || Ok(timed(process_wrap)?.1));
    let forked = Way::peer("std with a pre_exec hook", "none", || Ok(timed(forked)?.1));
    let table = contest.way(wrapped.beside(FLOOR)).way(forked.beside(FLOOR)).run()?;
    groups.into_iter().try_for_each(super::end)?;
    drop(memory);
    Ok(Found { tables: vec![table], ..Found::default() })
}

fn forked() -> Result<()> {
    bare::with_hook(&mut Command::new("/bin/true")).status()?;
    Ok(())
}
