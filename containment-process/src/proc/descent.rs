//! Who descends from some processes, walked down from each to its children.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use containment_core::Pid;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::stat::{LONGEST, Stat};
use super::text::read_records;
use super::threads::{self, pid, unless_away};
use super::tree::{is_hidden, open_proc};

/// So many processes are walked to. Of more, a pass over all of `/proc` takes half the calls for each.
const MOST: usize = 256;

/// A walk is repeated until it meets nobody new, but not more often: who forks without end is not waited for.
const WALKS: usize = 3;

/// These processes, as far as they live, and who descends from them, but not through `others`. `None` where they
/// are too many, or where the kernel lists no children (`CONFIG_PROC_CHILDREN`).
///
/// Who is re-parented while it is looked for, or has a sibling that is reaped meanwhile, may be missed (proc(5)),
/// so the children of all who have any are looked at twice at least.
pub(super) fn below(roots: &[Pid], others: &[Pid]) -> io::Result<Option<Vec<Stat>>> {
    if !lists_children() {
        return Ok(None);
    }
    let proc = open_proc()?;
    let mut buffer = [0; LONGEST];
    let mut pids = roots.to_vec();
    let mut met: Vec<Option<Met>> = Vec::new();
    for _ in 0..WALKS {
        let before = met.len();
        let mut next = 0;
        while let Some(pid) = pids.get(next).copied() {
            if next == met.len() {
                let stat = read(&proc, pid, &mut buffer)?;
                met.push(stat.map(|stat| Met { stat, may_have_children: !others.contains(&pid) }));
            }
            if let Some(parent) = met[next].as_mut().filter(|met| met.may_have_children) {
                let children = children(&proc, &parent.stat)?;
                parent.may_have_children = !children.is_empty();
                for child in children {
                    if !pids.contains(&child) {
                        pids.push(child);
                    }
                    if pids.len() > MOST {
                        return Ok(None);
                    }
                }
            }
            next += 1;
        }
        if met.len() == before {
            break;
        }
    }
    Ok(Some(met.into_iter().flatten().map(|met| met.stat).collect()))
}

/// A process that was met.
struct Met {
    stat: Stat,
    /// Where there was none at the last look, nobody lives below it who could be re-parented to it, and whom it starts
    /// after that is a birth that this look need not know.
    may_have_children: bool,
}

fn lists_children() -> bool {
    static LISTS: OnceLock<bool> = OnceLock::new();
    let path = "/proc/thread-self/children";
    *LISTS.get_or_init(|| rustix::fs::accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok())
}

/// One process, if it lives and is shown.
fn read(proc: &OwnedFd, pid: Pid, buffer: &mut [u8]) -> io::Result<Option<Stat>> {
    match Stat::read_at(proc, format!("{pid}/stat").as_bytes(), buffer) {
        Err(error) if is_hidden(&error) => Ok(None),
        read => read,
    }
}

/// The children of each of its threads.
fn children(proc: &OwnedFd, parent: &Stat) -> io::Result<Vec<Pid>> {
    let threads = match parent.threads {
        _ if parent.is_dead() => Vec::new(),
        1 => vec![parent.pid],
        _ => threads::of(proc, &parent.pid.to_string())?,
    };
    let mut children = Vec::new();
    for thread in threads {
        let path = format!("{}/task/{thread}/children", parent.pid);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let text = retry_on_intr(|| rustix::fs::openat(proc, &path, flags, Mode::empty()))
            .and_then(read_records)
            .map_err(io::Error::from);
        let text = unless_away(text)?.unwrap_or_default();
        children.extend(text.split(|byte| *byte == b' ').filter_map(pid));
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    fn pids<'a>(found: impl IntoIterator<Item = &'a Stat>) -> Vec<Pid> {
        found.into_iter().map(|stat| stat.pid).collect()
    }

    /// A shell that has said a line, and its pid.
    fn shell(script: &str) -> (std::process::Child, Pid) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        (child, pid)
    }

    /// A shell goes when its standard input ends.
    fn end(mut child: std::process::Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    /// Whether there is anything to test.
    fn walks() -> bool {
        let lists = lists_children();
        if !lists {
            let reason = "this kernel lists no children of a process";
            crate::must_run::skip("children-files", &reason);
        }
        lists
    }

    #[test]
    fn all_generations_are_met_but_not_those_of_others() {
        if !walks() {
            return;
        }
        let below_shell =
            "(sh -c 'read end <&3; :' & sh -c 'read end <&3; :' & echo up; wait) 3<&0; :";
        let (child, shell) = shell(below_shell);
        let found = below(&[shell], &[]).unwrap();
        let whole = super::super::Snapshot::take().unwrap();
        let mut expected = pids(whole.descendants_of(shell));
        let middle = expected.iter().copied().find(|pid| whole.descendants_of(*pid).len() == 2);
        let middle = middle.expect("a shell below it has two");
        let without = below(&[shell], &[middle]).unwrap();
        end(child);
        let mut met = pids(&found.expect("they are few"));
        assert_eq!(met.remove(0), shell);
        met.sort_unstable();
        expected.sort_unstable();
        assert_eq!(met, expected);
        assert_eq!(pids(&without.expect("they are few")), [shell, middle]);
    }

    #[test]
    fn the_children_of_every_thread_are_met() {
        if !walks() {
            return;
        }
        let start = || Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(start()).unwrap();
            // A thread that has ended leaves its children to another one.
            let _ = wait.recv();
        });
        let child = told.recv().unwrap();
        let its_pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        // Others test in this process, and may have more children for a while than are walked to.
        let until = Instant::now() + Duration::from_secs(60);
        let found = loop {
            match below(&[Pid::current()], &[]).unwrap() {
                Some(found) => break found,
                None => assert!(Instant::now() < until, "they are too many for too long"),
            }
        };
        end(child);
        drop(done);
        thread.join().unwrap();
        assert!(pids(&found).contains(&its_pid));
    }

    #[test]
    fn who_has_gone_is_not_met() {
        if !walks() {
            return;
        }
        let (child, pid) = shell("echo up; read end");
        end(child);
        assert_eq!(below(&[pid], &[]).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn a_crowd_is_left_to_a_pass_over_all() {
        if !walks() {
            return;
        }
        let script = format!(
            "i=0; while [ $i -lt {MOST} ]; do i=$((i + 1)); read end <&3 & done 3<&0; echo up; read end"
        );
        let (child, pid) = shell(&script);
        let found = below(&[pid], &[]).unwrap();
        end(child);
        assert_eq!(found, None);
    }
}
