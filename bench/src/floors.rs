//! The ends of groups by bare system calls: what nobody can be faster than, with the same certainty.

use std::fs::read_dir;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::{Errno, pread, read, write};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitIdOptions, WaitOptions, getrlimit, kill_process,
    kill_process_group, pidfd_open, pidfd_send_signal, set_child_subreaper, setrlimit, waitid,
    waitpid,
};

use crate::measure::Result;

/// As many descriptors as we may have: a floor holds one for each of 5,000 members. Gives how many.
pub fn raise_descriptor_limit() -> Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)))
}

/// Version 2: one write, then waiting for one member after the other and for the announcement.
pub fn kill_v2(directories: &[PathBuf], leader: Pid) -> Result<()> {
    let group = directories.iter().find(|one| one.join("cgroup.kill").exists());
    let group = open_directory(group.ok_or("no cgroup.kill")?)?;
    write(open(&group, "cgroup.kill", OFlags::WRONLY)?, b"1")?;
    let events = open(&group, "cgroup.events", OFlags::RDONLY)?;
    let mut member = Some(pidfd_open(leader, PidfdFlags::empty())?);
    let mut buffer = [0; 64];
    loop {
        let length = pread(&events, &mut buffer, 0)?;
        if buffer[..length].starts_with(b"populated 0") {
            break;
        }
        let mut sources = vec![PollFd::new(&events, PollFlags::PRI)];
        sources.extend(member.iter().map(|member| PollFd::new(member, PollFlags::IN)));
        poll(&mut sources, None)?;
        let ended = sources.get(1).is_some_and(|source| source.revents().contains(PollFlags::IN));
        if ended {
            member = youngest(&group)?;
        }
    }
    waitpid(Some(leader), WaitOptions::empty())?;
    remove(directories)
}

/// Version 1 as it is usually done: nobody runs while the members are listed and signalled.
pub fn kill_v1_frozen(directories: &[PathBuf], leader: Pid) -> Result<()> {
    let freezer = directories.iter().find(|one| one.join("freezer.state").exists());
    let group = open_directory(freezer.ok_or("no freezer.state")?)?;
    write(open(&group, "freezer.state", OFlags::WRONLY)?, b"FROZEN")?;
    let state = open(&group, "freezer.state", OFlags::RDONLY)?;
    let mut buffer = [0; 16];
    loop {
        let length = pread(&state, &mut buffer, 0)?;
        if buffer[..length].starts_with(b"FROZEN") {
            break;
        }
        std::thread::yield_now();
    }
    for pid in members(&group)? {
        kill_process(pid, Signal::KILL)?;
    }
    write(open(&group, "freezer.state", OFlags::WRONLY)?, b"THAWED")?;
    while let Some(member) = youngest(&group)? {
        wait_for(member.as_fd())?;
    }
    waitpid(Some(leader), WaitOptions::empty())?;
    remove(directories)
}

/// Version 1 without a freezer: who is a member in two listings is who was opened in between.
pub fn kill_v1(directories: &[PathBuf], leader: Pid) -> Result<()> {
    let group = open_directory(directories.first().ok_or("no directory")?)?;
    loop {
        let mut open = Vec::new();
        for pid in members(&group)? {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(process) => open.push((pid, process)),
                Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if open.is_empty() {
            break;
        }
        let again: std::collections::HashSet<_> = members(&group)?.into_iter().collect();
        for (_, process) in open.iter().filter(|(pid, _)| again.contains(pid)) {
            pidfd_send_signal(process, Signal::KILL)?;
        }
        // The last first: when it has ended, most of the others have.
        open.iter().rev().try_for_each(|(_, process)| wait_for(process.as_fd()))?;
    }
    waitpid(Some(leader), WaitOptions::empty())?;
    remove(directories)
}

/// A process group whose orphans come to us: it is over when nobody is left to wait for.
pub fn kill_and_reap(leader: Pid) -> Result<()> {
    kill_process_group(leader, Signal::KILL)?;
    loop {
        match rustix::process::waitpgid(leader, WaitOptions::empty()) {
            Ok(_) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A process group below a keeper that reaps everybody: its end tells that nobody is left.
pub fn kill_below(keeper: Pid, leader: Pid) -> Result<()> {
    kill_process_group(leader, Signal::KILL)?;
    waitpid(Some(keeper), WaitOptions::empty())?;
    Ok(())
}

/// Has the orphans among our descendants come to us.
pub fn adopt() -> Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// A process group whose orphans go elsewhere: the leader is held unreaped, so that the group's id stays
/// its own, and `/proc` tells who lives.
pub fn kill_and_look(leader: Pid) -> Result<()> {
    kill_process_group(leader, Signal::KILL)?;
    let process = pidfd_open(leader, PidfdFlags::empty())?;
    let held = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(rustix::process::WaitId::PidFd(process.as_fd()), held)?;
    while let Some(member) = living_of(leader)? {
        match pidfd_open(member, PidfdFlags::empty()) {
            Ok(member) => wait_for(member.as_fd())?,
            Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    waitpid(Some(leader), WaitOptions::empty())?;
    Ok(())
}

/// Somebody of a process group who lives, the last that is listed.
fn living_of(group: Pid) -> Result<Option<Pid>> {
    let group = group.as_raw_nonzero().get().to_string();
    let proc = open_directory(Path::new("/proc"))?;
    let mut found = None;
    let mut buffer = [0; 512];
    for entry in read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        let path = format!("{}/stat", pid.as_raw_nonzero());
        let length =
            match open(&proc, &path, OFlags::RDONLY).and_then(|file| read(file, &mut buffer)) {
                Ok(length) => length,
                Err(Errno::NOENT | Errno::SRCH) => continue,
                Err(errno) => return Err(errno.into()),
            };
        // pid (comm) state ppid pgrp …
        let text = String::from_utf8_lossy(&buffer[..length]);
        let mut fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, its) = (fields.next(), fields.nth(1));
        if its == Some(&group) && !matches!(state, Some("Z" | "X")) {
            found = Some(pid);
        }
    }
    Ok(found)
}

fn members(group: &OwnedFd) -> Result<Vec<Pid>> {
    let file = open(group, "cgroup.procs", OFlags::RDONLY)?;
    let mut text = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match read(&file, &mut buffer)? {
            0 => break,
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
    let text = String::from_utf8(text)?;
    Ok(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
}

/// The member that was forked last of those that live.
fn youngest(group: &OwnedFd) -> Result<Option<OwnedFd>> {
    for pid in members(group)?.into_iter().rev() {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => return Ok(Some(process)),
            Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

fn wait_for(process: BorrowedFd<'_>) -> Result<()> {
    while let Err(errno) = poll(&mut [PollFd::from_borrowed_fd(process, PollFlags::IN)], None) {
        if errno != Errno::INTR {
            return Err(errno.into());
        }
    }
    Ok(())
}

fn remove(directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        unlinkat(CWD, directory, AtFlags::REMOVEDIR)
            .map_err(|errno| io::Error::other(format!("rmdir {}: {errno}", directory.display())))?;
    }
    Ok(())
}

pub fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

pub fn open(directory: &OwnedFd, file: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(directory, file, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Groups of one process each, every step for all of them before the next one.
pub fn kill_all_v2(groups: &[(Vec<PathBuf>, Pid)]) -> Result<()> {
    let opened = groups
        .iter()
        .map(|(directories, _)| Ok(open_directory(directories.first().ok_or("no directory")?)?));
    let opened = opened.collect::<Result<Vec<_>>>()?;
    for group in &opened {
        write(open(group, "cgroup.kill", OFlags::WRONLY)?, b"1")?;
    }
    wait_and_remove(groups, &opened, |group| {
        let mut buffer = [0; 64];
        let length = read(open(group, "cgroup.events", OFlags::RDONLY)?, &mut buffer)?;
        Ok(buffer[..length].starts_with(b"populated 0"))
    })
}

/// The same on version 1, by pidfds and without freezing.
pub fn kill_all_v1(groups: &[(Vec<PathBuf>, Pid)]) -> Result<()> {
    let opened = groups
        .iter()
        .map(|(directories, _)| Ok(open_directory(directories.first().ok_or("no directory")?)?));
    let opened = opened.collect::<Result<Vec<_>>>()?;
    for group in &opened {
        for pid in members(group)? {
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            if members(group)?.contains(&pid) {
                pidfd_send_signal(&process, Signal::KILL)?;
            }
        }
    }
    wait_and_remove(groups, &opened, |group| Ok(members(group)?.is_empty()))
}

fn wait_and_remove(
    groups: &[(Vec<PathBuf>, Pid)],
    opened: &[OwnedFd],
    is_empty: fn(&OwnedFd) -> Result<bool>,
) -> Result<()> {
    for (_, leader) in groups {
        waitpid(Some(*leader), WaitOptions::empty())?;
    }
    for group in opened {
        if !is_empty(group)? {
            return Err("a group of one process is not empty when that has ended".into());
        }
    }
    groups.iter().try_for_each(|(directories, _)| remove(directories))
}
