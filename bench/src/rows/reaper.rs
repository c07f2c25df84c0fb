//! Many groups torn down at once, and what they weigh while they are idle.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use containment::{Child, Group, Policy, Program, Reaper, Stream};
use rustix::process::Pid;

use super::{Found, Plan};
use crate::backends::Held;
use crate::bare;
use crate::crowd;
use crate::floors;
use crate::measure::{Contest, Result, Way, timed};
use crate::results::{Fact, Table};

pub(super) const PLAN: Plan = Plan {
    name: "reaper",
    title: "1,000 groups with a process each, torn down on one thread",
    method: "From the first kill until the last group is removed and its process reaped. The floors do each step for every \
             group before the next one: kill, wait, look, remove. Heap and descriptors: what 10,000 groups without a process \
             add to what there was before.",
    measure,
};

const GROUPS: usize = 1_000;
const IDLE: usize = 10_000;

fn measure() -> Result<Found> {
    floors::raise_descriptor_limit()?;
    let mut found = Found::default();
    let ways: [(Held, ByHand, &str); 2] = [
        (Held::v2()?, floors::kill_all_v2, "v2: cgroup.kill, wait, look, rmdir, batched"),
        (Held::v1()?, floors::kill_all_v1, "v1: signal by pidfd, wait, look, rmdir, batched"),
    ];
    for (held, by_hand, floor) in &ways {
        found.tables.push(contest(held, *by_hand, floor)?);
    }
    for (held, ..) in &ways {
        found.facts.extend(idle(held)?);
    }
    Ok(found)
}

type ByHand = fn(&[(Vec<PathBuf>, Pid)]) -> Result<()>;

fn contest(held: &Held, by_hand: ByHand, floor: &str) -> Result<Table> {
    Contest::new(format!("1,000 groups torn down, {}", held.name), 10)
        .way(Way::floor(floor, || bare_calls(held, by_hand)))
        .way(Way::ours(held.name, || reaped(held)).giving(&held.guarantee).at_most(1.3, floor))
        .way(
            Way::ours(format!("{}, one group after the other", held.name), || in_turn(held))
                .beside(floor),
        )
        .run()
}

/// Groups with a process that sleeps.
fn populated(held: &Held) -> Result<Vec<(Group, Child)>> {
    let program = Program::new("sleep").arg("1000").stdin(Stream::Null).stdout(Stream::Null);
    let made = (0..GROUPS).map(|_| {
        let group = held.group("reaper")?;
        let child = group.spawn(&program)?;
        Ok((group, child))
    });
    made.collect()
}

fn pid(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(child.pid().as_raw()).ok_or("no pid")?)
}

fn bare_calls(held: &Held, by_hand: ByHand) -> Result<Duration> {
    let groups = populated(held)?;
    let told = groups.iter().map(|(_, child)| Ok((crowd::directories(pid(child)?)?, pid(child)?)));
    let told = told.collect::<Result<Vec<_>>>()?;
    let ((), time) = timed(|| by_hand(&told))?;
    groups.into_iter().for_each(|(group, _)| group.keep());
    Ok(time)
}

fn reaped(held: &Held) -> Result<Duration> {
    let groups = populated(held)?;
    let (reports, time) = timed(|| {
        let reaper = Reaper::start()?;
        let under_way: Vec<_> =
            groups.into_iter().map(|(group, _)| reaper.submit(group, Policy::kill())).collect();
        Ok(under_way
            .into_iter()
            .map(|reaping| reaping.wait())
            .collect::<containment::Result<Vec<_>>>()?)
    })?;
    if reports.iter().all(|report| report.is_clean() && report.errors.is_empty()) {
        Ok(time)
    } else {
        Err("something was left".into())
    }
}

fn in_turn(held: &Held) -> Result<Duration> {
    let groups = populated(held)?;
    let ended = timed(|| groups.into_iter().try_for_each(|(group, _)| super::end(group)))?;
    Ok(ended.1)
}

/// What idle groups weigh.
fn idle(held: &Held) -> Result<[Fact; 2]> {
    let descriptors = || Ok::<_, std::io::Error>(fs::read_dir("/proc/self/fd")?.count());
    let (heap, open) = (bare::allocated(), descriptors()?);
    let is_v2 = held.backend == containment::Backend::CgroupV2;
    // On version 1 a group has a descriptor in each hierarchy.
    let count = if is_v2 { IDLE } else { IDLE / 2 };
    let mut groups = Vec::with_capacity(count);
    for _ in 0..count {
        groups.push(held.group("idle")?);
    }
    let (heap, open) = (bare::allocated() - heap, descriptors()? - open);
    let reaper = Reaper::start()?;
    let under_way: Vec<_> =
        groups.into_iter().map(|group| reaper.submit(group, Policy::kill())).collect();
    for reaping in under_way {
        if !reaping.wait()?.is_clean() {
            return Err("an idle group was left".into());
        }
    }
    let each = |what: &str, total: usize, unit: &str, target: f64| Fact {
        name: format!("{what} of an idle group among {count}, {}", held.name),
        value: total as f64 / count as f64,
        unit: unit.to_owned(),
        // One a hierarchy on version 1.
        target: is_v2.then_some(target),
    };
    Ok([each("heap", heap, "bytes", 2048.0), each("descriptors", open, "", 1.0)])
}
