//! Programs back to back, each in a group of its own.

use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, mkdirat, unlinkat};

use super::spawn::{FLOOR, bare_true, in_group, process_wrap};
use super::{Found, Plan};
use crate::backends::{HYBRID, Held, V1, V2};
use crate::crowd::{self, Crowd};
use crate::measure::{Contest, Result, Way, timed};
use crate::peers;

pub(super) const PLAN: Plan = Plan {
    name: "fresh",
    title: "Programs back to back, a group made and removed for each",
    method: "Making the group, `/bin/true` from spawn to exit in it, and the teardown that removes it. The floors \
             do `mkdir` and `rmdir` in each hierarchy that our group is in; their program is in none.",
    measure,
};

fn measure() -> Result<Found> {
    let held = [Held::v2()?, Held::v1()?, Held::hybrid()?];
    let (group, kept) = (Held::process_group()?, Held::kept()?);
    let mut contest = Contest::new("group made, /bin/true run, group removed", 300)
        .way(Way::floor(FLOOR, || Ok(timed(bare_true)?.1)));
    for held in &held {
        let (floor, parents) = (with_directories(held.name), parents(held)?);
        let work = move || Ok(timed(|| bare_in(&parents))?.1);
        contest = contest.way(Way::floor(floor.clone(), work));
        let ours = Way::ours(held.name, move || Ok(timed(|| ours(held))?.1));
        contest = contest.way(ours.giving(&held.guarantee).at_most(1.2, &floor));
    }
    for held in [&group, &kept] {
        let way = Way::ours(held.name, move || Ok(timed(|| ours(held))?.1));
        contest = contest.way(way.giving(&held.guarantee).beside(FLOOR));
    }
    let wrapped = Way::peer(peers::PROCESS_WRAP, peers::WRAPPED, || Ok(timed(process_wrap)?.1));
    let table = contest.way(wrapped.beside(FLOOR)).run()?;
    Ok(Found { tables: vec![table], ..Found::default() })
}

fn with_directories(name: &str) -> String {
    let directories = match name {
        V2 => "one directory",
        V1 => "one directory in each of its v1 hierarchies",
        HYBRID => "one v2 and one v1 directory",
        other => other,
    };
    format!("posix_spawn, wait, {directories}")
}

/// Where a group of this kind has its directories.
fn parents(held: &Held) -> Result<Vec<PathBuf>> {
    let crowd = Crowd::gather(&held.host, &held.limits, 1)?;
    let found = crowd.directories()?;
    super::end(crowd.group)?;
    Ok(found.iter().filter_map(|directory| Some(directory.parent()?.to_path_buf())).collect())
}

fn bare_in(parents: &[PathBuf]) -> Result<()> {
    let name = crowd::name("bare");
    let directories: Vec<_> = parents.iter().map(|parent| parent.join(&name)).collect();
    for directory in &directories {
        mkdirat(CWD, directory, Mode::from_raw_mode(0o755))?;
    }
    bare_true()?;
    for directory in &directories {
        unlinkat(CWD, directory, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

fn ours(held: &Held) -> Result<()> {
    let group = held.group("fresh")?;
    in_group(&group)?;
    super::end(group)
}
