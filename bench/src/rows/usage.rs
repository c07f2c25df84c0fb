//! A look at what each of many groups used.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use backend_cgroupv1::CgroupV1;
use backend_cgroupv2::CgroupV2;
use containment::{Containment, Group, Hybrid, Limits, Set};
use rustix::fs::OFlags;
use rustix::io::{pread, read};

use super::{Found, Plan};
use crate::crowd::{self, Crowd};
use crate::floors::{self, open, open_directory};
use crate::measure::{Contest, Result, Way, timed};
use crate::results::Table;

pub(super) const PLAN: Plan = Plan {
    name: "usage",
    title: "The usage of 1,000 groups, sampled",
    method: "One reading of every figure of each group. By default its files are opened for it; `sampling` keeps them open. The \
             floors read the files that are there, whole, and understand nothing of them.",
    measure,
};

/// At most; as many as there are descriptors for.
const GROUPS: usize = 1_000;

/// The files that have the figures, where they are there.
const FILES: [&str; 20] = [
    "cpu.stat",
    "memory.current",
    "memory.peak",
    "memory.swap.current",
    "memory.stat",
    "memory.events",
    "pids.current",
    "pids.peak",
    "io.stat",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
    "cpuacct.usage",
    "cpuacct.usage_user",
    "cpuacct.usage_sys",
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.kmem.usage_in_bytes",
    "memory.oom_control",
    "blkio.throttle.io_service_bytes_recursive",
];

fn measure() -> Result<Found> {
    floors::raise_descriptor_limit()?;
    let v2 = || Ok::<_, containment::Error>(CgroupV2::probe(None)?.measuring(Set::all()));
    let v1 = || CgroupV1::probe(None)?.measuring(Set::all());
    let hybrid = || Ok::<_, containment::Error>(Hybrid::probe(None)?.measuring(Set::all()));
    let tables = vec![
        contest("v2", Containment::with(v2()?), Containment::with(v2()?.sampling()))?,
        contest(
            "v1, every figure",
            Containment::with(v1()?),
            Containment::with(v1()?.sampling()?),
        )?,
        contest(
            "hybrid, every figure",
            Containment::with(hybrid()?),
            Containment::with(hybrid()?.sampling()),
        )?,
    ];
    Ok(Found { tables, ..Found::default() })
}

fn contest(name: &str, opening: Containment, sampling: Containment) -> Result<Table> {
    let files = files(&opening)?;
    let count: usize = files.iter().map(|(_, files)| files.len()).sum();
    // The files are open twice, and so are directories, in each hierarchy.
    let most = floors::raise_descriptor_limit()?.saturating_sub(1_000) / (2 * count + 32);
    let size = GROUPS.min(most);
    let groups = |host: &Containment| -> Result<Vec<Group>> {
        (0..size).map(|_| Ok(host.group(crowd::name("usage")).create()?)).collect()
    };
    let (opened, kept) = (groups(&opening)?, groups(&sampling)?);
    // Each floor reads the groups that ours beside it reads: who reads second finds the kernel's own memory warm,
    // and they take turns.
    let directories = open_all(&opened, &files)?;
    let held = hold(&open_all(&kept, &files)?)?;
    let (opens, preads) = (
        format!("openat, read, close of {count} files"),
        format!("pread of {count} files that are open"),
    );
    let table = Contest::new(format!("usage of {size} groups, {name}"), 40)
        .way(Way::floor(&*opens, || Ok(timed(|| read_each(&directories))?.1)))
        .way(Way::ours(name, || Ok(timed(|| look(&opened))?.1)).at_most(1.1, &opens))
        .way(Way::floor(&*preads, || Ok(timed(|| pread_each(&held))?.1)))
        .way(
            Way::ours(format!("{name}, sampling"), || Ok(timed(|| look(&kept))?.1))
                .at_most(1.25, &preads),
        )
        .run()?;
    opened.into_iter().chain(kept).try_for_each(super::end)?;
    Ok(table)
}

fn look(groups: &[Group]) -> Result<()> {
    for group in groups {
        group.usage()?;
    }
    Ok(())
}

/// The directories above a group of this kind, and the files that the group has in each.
fn files(host: &Containment) -> Result<Vec<(PathBuf, Vec<&'static str>)>> {
    let crowd = Crowd::gather(host, &Limits::new(), 1)?;
    let mut found = Vec::new();
    for directory in crowd.directories()? {
        let files: Vec<_> =
            FILES.iter().copied().filter(|file| directory.join(file).is_file()).collect();
        if let Some(parent) = directory.parent()
            && !files.is_empty()
        {
            found.push((parent.to_path_buf(), files));
        }
    }
    super::end(crowd.group)?;
    Ok(found)
}

/// A group's directory, open, and the names of files in it.
type Figures = (OwnedFd, Vec<&'static str>);

fn open_all(groups: &[Group], files: &[(PathBuf, Vec<&'static str>)]) -> Result<Vec<Figures>> {
    let mut opened = Vec::new();
    for group in groups {
        for (parent, files) in files {
            let directory = open_directory(&parent.join(group.id().name.as_str()))?;
            opened.push((directory, files.clone()));
        }
    }
    Ok(opened)
}

/// More than any of these files has.
const BUFFER: usize = 8 * 1024;

fn read_each(figures: &[Figures]) -> Result<()> {
    let mut buffer = [0; BUFFER];
    for (directory, files) in figures {
        for file in files {
            read(open(directory, file, OFlags::RDONLY)?, &mut buffer)?;
        }
    }
    Ok(())
}

fn hold(figures: &[Figures]) -> Result<Vec<OwnedFd>> {
    let each = figures
        .iter()
        .flat_map(|(directory, files)| files.iter().map(move |file| (directory, file)));
    each.map(|(directory, file)| Ok(open(directory, file, OFlags::RDONLY)?)).collect()
}

fn pread_each(files: &[OwnedFd]) -> Result<()> {
    let mut buffer = [0; BUFFER];
    for file in files {
        pread(file, &mut buffer, 0)?;
    }
    Ok(())
}
