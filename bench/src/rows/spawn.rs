//! A program now and then, in a group that is there.

use std::process::{Child, Command};
use std::time::Duration;

use containment::{Group, Program};
use rustix::process::{WaitOptions, waitpid};

use super::{Found, Plan};
use crate::backends::Held;
use crate::bare;
use crate::measure::{Contest, Result, Way, timed};
use crate::peers;

pub(super) const PLAN: Plan = Plan {
    name: "spawn",
    title: "A program now and then: spawn to exit, the group being there",
    method: "`/bin/true`, started and waited for, with 250 ms of rest before each: spawns back to back hide \
             that a migration between cgroups waits for a grace period of RCU.",
    measure,
};

/// The floor of every row that starts one program.
pub(super) const FLOOR: &str = "posix_spawn and wait";

fn measure() -> Result<Found> {
    let held = [
        (Held::v2()?, 1.2),
        (Held::v1()?, 1.2),
        (Held::hybrid()?, 1.3),
        (Held::hybrid_in_three()?, 1.3),
        (Held::process_group()?, 1.1),
        (Held::kept()?, 1.6),
    ];
    let groups = held.iter().map(|(held, _)| held.group("spawn")).collect::<Result<Vec<_>>>()?;
    let (cgroup, manager) = (peers::cgroup(), peers::manager());
    let mut contest = Contest::new("spawn to exit of /bin/true, 250 ms apart", 100)
        .resting(Duration::from_millis(250))
        .way(Way::floor(FLOOR, || Ok(timed(bare_true)?.1)));
    for ((held, target), group) in held.iter().zip(&groups) {
        let way = Way::ours(held.name, move || Ok(timed(|| in_group(group))?.1));
        contest = contest.way(way.giving(&held.guarantee).at_most(*target, FLOOR));
    }
    let wrapped = || Ok(timed(process_wrap)?.1);
    contest = contest.way(Way::peer(peers::PROCESS_WRAP, peers::WRAPPED, wrapped).beside(FLOOR));
    let moved = by_moving(peers::CGROUPS_RS, &cgroup, peers::add_to_cgroup);
    contest = contest.way_if(peers::CGROUPS_RS, moved);
    let moved = by_moving(peers::LIBCGROUPS, &manager, peers::add_to_manager);
    contest = contest.way_if(peers::LIBCGROUPS, moved);
    let table = contest.run()?;
    for group in groups {
        super::end(group)?;
    }
    if let Ok(cgroup) = cgroup {
        cgroup.delete()?;
    }
    if let Ok(manager) = manager {
        peers::remove_manager(&manager)?;
    }
    Ok(Found { tables: vec![table], ..Found::default() })
}

/// As bare as it gets.
pub(super) fn bare_true() -> Result<()> {
    let pid = bare::posix_spawn(c"/bin/true")?;
    waitpid(Some(pid), WaitOptions::empty())?;
    Ok(())
}

/// The same in a group of ours.
pub(super) fn in_group(group: &Group) -> Result<()> {
    program_in(group, &Program::new("/bin/true"))
}

pub(super) fn program_in(group: &Group, program: &Program) -> Result<()> {
    group.spawn(program)?.wait()?;
    group.ops().reap()?;
    Ok(())
}

pub(super) fn process_wrap() -> Result<()> {
    peers::wrapped(Command::new("/bin/true"))?.wait()?;
    Ok(())
}

/// A peer that starts the program and then moves it into its group; or why it has none here.
fn by_moving<'a, G>(
    name: &str,
    group: &'a Result<G>,
    add: fn(&G, &Child) -> Result<()>,
) -> Result<Way<'a>> {
    let group = group.as_ref().map_err(ToString::to_string)?;
    let work = move || Ok(timed(|| moved(|child| add(group, child)))?.1);
    Ok(Way::peer(name, peers::MOVED, work).beside(FLOOR))
}

/// Started, and then moved by somebody.
fn moved(by: impl Fn(&Child) -> Result<()>) -> Result<()> {
    let mut child = Command::new("/bin/true").spawn()?;
    let added = by(&child);
    child.wait()?;
    added
}
