//! A group with N members, from the kill until it is removed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use containment::Policy;
use rustix::process::{Pid, Signal, kill_process};

use super::{Found, Plan};
use crate::backends::Held;
use crate::crowd::{self, Crowd};
use crate::floors;
use crate::measure::{Contest, Result, Way, timed};
use crate::peers;
use crate::results::Table;

pub(super) const PLAN: Plan = Plan {
    name: "kill",
    title: "The end of a group with N members: kill, empty, removed",
    method: "N processes that sleep, forked by one that was spawned into a new group. Timed from the decision to kill \
             until nothing lives, the spawned process was reaped, and the group's directories are removed. Young \
             groups are killed as soon as their members are there, settled ones 30 ms later: the kernel announces at \
             most one change of a group in 10 ms. The process that measures is a sub-reaper, \
             and each run begins when nothing is left of the members of the last.",
    measure,
};

const SIZES: [usize; 5] = [1, 10, 100, 1000, 5000];

/// How old a settled group is.
const SETTLED: Duration = Duration::from_millis(30);

const V2: &str = "v2: cgroup.kill, wait, rmdir";
const HYBRID: &str = "hybrid: cgroup.kill, wait, rmdir twice";
const FREEZING: &str = "v1: freeze, signal, thaw, wait, rmdir";
const UNFROZEN: &str = "v1: list, signal by pidfd, wait, rmdir";
const REAPING: &str = "killpg, and reap everybody as sub-reaper";
const KEEPING: &str = "killpg, and wait for a keeper by hand";
const LOOKING: &str = "killpg, and look through /proc";

fn measure() -> Result<Found> {
    floors::raise_descriptor_limit()?;
    // An init process may take seconds to reap orphans, and each run begins when those of the last are gone.
    floors::adopt()?;
    let hosts = Hosts {
        v2: Held::v2()?,
        v1: Held::v1()?,
        hybrid: Held::hybrid()?,
        group: Held::process_group()?,
        kept: Held::kept()?,
    };
    let mut found = Found::default();
    for (age, rest) in [("young", Duration::ZERO), ("settled", SETTLED)] {
        for family in [Hosts::v2, Hosts::v1, Hosts::process_groups] {
            for size in SIZES {
                found.tables.push(family(&hosts, age, Scene { rest, size })?);
            }
        }
    }
    Ok(found)
}

struct Hosts {
    v2: Held,
    v1: Held,
    hybrid: Held,
    group: Held,
    kept: Held,
}

/// How many are killed, and after what rest.
#[derive(Clone, Copy)]
struct Scene {
    rest: Duration,
    size: usize,
}

impl Hosts {
    fn v2(&self, age: &str, scene: Scene) -> Result<Table> {
        let near = if scene.size == 1 { 1.25 } else { 1.15 };
        scene
            .contest("v2", age)
            .way(Way::floor(V2, || scene.by_hand(&self.v2, floors::kill_v2)))
            .way(scene.way(&self.v2).at_most(near, V2))
            .way(Way::floor(HYBRID, || scene.by_hand(&self.hybrid, floors::kill_v2)))
            .way(scene.way(&self.hybrid).at_most(near, HYBRID))
            .without(peers::CGROUPS_RS, peers::CANNOT_KILL)
            .run()
    }

    fn v1(&self, age: &str, scene: Scene) -> Result<Table> {
        scene
            .contest("v1", age)
            .way(Way::floor(FREEZING, || scene.by_hand(&self.v1, floors::kill_v1_frozen)))
            .way(Way::floor(UNFROZEN, || scene.by_hand(&self.v1, floors::kill_v1)))
            .way(scene.way(&self.v1).at_most(1.0, FREEZING).beside(UNFROZEN))
            .way(Way::peer(peers::LIBCGROUPS, peers::REMOVED, || scene.removed()).beside(UNFROZEN))
            .run()
    }

    fn process_groups(&self, age: &str, scene: Scene) -> Result<Table> {
        let near = if scene.size == 1 { 1.3 } else { 1.15 };
        scene
            .contest("process group", age)
            .way(Way::floor(LOOKING, || scene.by_hand(&self.group, kill_and_look)))
            .way(scene.way(&self.group).at_most(near, LOOKING))
            .way(Way::floor(REAPING, || scene.by_hand(&self.group, kill_and_reap)))
            .way(Way::floor(KEEPING, || scene.kept_by_hand()))
            .way(scene.way(&self.kept).at_most(near, REAPING).beside(KEEPING))
            .way(Way::peer(peers::PROCESS_WRAP, peers::WRAPPED, || scene.wrapped()).beside(REAPING))
            .run()
    }
}

type ByHand = fn(&[PathBuf], Pid) -> Result<()>;

fn kill_and_reap(_: &[PathBuf], leader: Pid) -> Result<()> {
    floors::kill_and_reap(leader)
}

fn kill_and_look(_: &[PathBuf], leader: Pid) -> Result<()> {
    floors::kill_and_look(leader)
}

impl Scene {
    fn contest<'a>(self, family: &str, age: &str) -> Contest<'a> {
        let rounds = match self.size {
            1 | 10 => 60,
            100 => 30,
            1000 => 12,
            _ => 6,
        };
        let title = format!("{family}, {age}, N = {}", self.size);
        Contest::new(title, rounds).at(&format!("{family}, {age}"), self.size as u64)
    }

    fn way(self, held: &Held) -> Way<'_> {
        Way::ours(held.name, move || self.ours(held)).giving(&held.guarantee)
    }

    fn crowd(self, held: &Held) -> Result<Crowd> {
        let crowd = Crowd::gather(&held.host, &held.limits, self.size)?;
        std::thread::sleep(self.rest);
        Ok(crowd)
    }

    fn ours(self, held: &Held) -> Result<Duration> {
        let Crowd { group, child, pids } = self.crowd(held)?;
        let (report, time) = timed(|| Ok(group.terminate(&Policy::kill())?))?;
        drop(child);
        if !report.is_clean() || !report.errors.is_empty() {
            return Err(format!("something was left: {report:?}").into());
        }
        crowd::settle(&pids)?;
        Ok(time)
    }

    /// The same group, ended by bare calls.
    fn by_hand(self, held: &Held, kill: ByHand) -> Result<Duration> {
        let crowd = Crowd::gather(&held.host, &held.limits, self.size)?;
        let (directories, leader) = (crowd.directories()?, crowd.leader());
        std::thread::sleep(self.rest);
        let ((), time) = timed(|| kill(&directories, leader))?;
        crowd.was_ended()?;
        Ok(time)
    }

    /// A crowd below a keeper, ended by bare calls.
    fn kept_by_hand(self) -> Result<Duration> {
        let (line, keeper) = self.gather(|mut command| Ok(command.arg("kept").spawn()?))?;
        let keeper = Pid::from_child(&keeper);
        let pids = line.gather(self.size)?;
        std::thread::sleep(self.rest);
        let ((), time) = timed(|| floors::kill_below(keeper, pids[0]))?;
        crowd::settle(&pids)?;
        Ok(time)
    }

    fn wrapped(self) -> Result<Duration> {
        let (line, mut child) = self.gather(peers::wrapped)?;
        let pids = line.gather(self.size)?;
        std::thread::sleep(self.rest);
        let ((), time) = timed(|| Ok(child.kill()?))?;
        crowd::settle(&pids)?;
        Ok(time)
    }

    fn removed(self) -> Result<Duration> {
        let manager = peers::manager()?;
        let (line, child) = self.gather(|mut command| Ok(command.spawn()?))?;
        peers::add_to_manager(&manager, &child)?;
        let pids = line.gather(self.size)?;
        std::thread::sleep(self.rest);
        let removed = timed(|| peers::remove_manager(&manager));
        // Whom it gave up on would be in the way of the others.
        for pid in &pids {
            let _ = kill_process(*pid, Signal::KILL);
        }
        crowd::settle(&pids)?;
        if removed.is_err() {
            peers::remove_manager(&manager)?;
        }
        Ok(removed?.1)
    }

    /// A crowd that somebody else starts.
    fn gather<C>(self, start: impl FnOnce(Command) -> Result<C>) -> Result<(crowd::Line, C)> {
        let (line, input, output) = crowd::Line::open()?;
        let mut command = Command::new(crowd::program()?);
        command.arg(self.size.to_string()).stdin(Stdio::from(input)).stdout(Stdio::from(output));
        Ok((line, start(command)?))
    }
}
