//! This host as a world: programs are lines of shell.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use containment_core::{CgroupOps, Pid, Program, Signal, Standing, Stream, Watch};
use containment_process::pidfd::{Look, PidFd};
use containment_process::proc::Stat;
use tempfile::TempDir;

use super::{Deed, Known, World};

/// A driver of this host, and a directory in which programs leave traces.
pub(crate) struct RealWorld {
    driver: Box<dyn CgroupOps>,
    traces: TempDir,
    outsiders: Mutex<Vec<Child>>,
}

impl RealWorld {
    pub(crate) fn new(driver: Box<dyn CgroupOps>) -> Self {
        let traces = TempDir::new().expect("a temporary directory can be made");
        Self { driver, traces, outsiders: Mutex::default() }
    }

    /// One byte for each unit of work.
    fn work_file(&self) -> PathBuf {
        self.traces.path().join("work")
    }
}

impl World for RealWorld {
    fn driver(&self) -> &dyn CgroupOps {
        &*self.driver
    }

    fn program(&self, deed: Deed) -> Program {
        let program = match line(deed) {
            Line::Shell(line) => {
                let shell = Program::new("/bin/sh").args(["-c", &line, "sh"]);
                shell.arg(self.traces.path())
            }
            Line::File(file) => Program::new(file),
        };
        program.stdin(Stream::Null).stdout(Stream::Null).stderr(Stream::Null)
    }

    fn outsider(&self) -> Known {
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn();
        let child = child.expect("sleep can be started");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::new).expect("a pid is positive");
        self.outsiders.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        known(pid).expect("it is not reaped")
    }

    fn daemon(&self) -> Option<Known> {
        let text = std::fs::read_to_string(self.traces.path().join("daemon")).ok()?;
        known(text.trim().parse().ok().and_then(Pid::new)?)
    }

    fn work(&self) -> u64 {
        std::fs::metadata(self.work_file()).map_or(0, |file| file.len())
    }

    fn lives(&self, process: Known) -> bool {
        stat(process).is_some_and(|stat| !stat.has_ended())
    }

    fn exists(&self, process: Known) -> bool {
        stat(process).is_some()
    }

    fn end(&self, process: Known) {
        let open = PidFd::open(process.pid).ok().flatten();
        let Some(open) = open.filter(|_| self.exists(process)) else { return };
        let killed = open.signal(Signal::KILL);
        let waiter = self.driver.waiter();
        let until = waiter.now() + crate::stage::patience();
        waiter.wait(until, &Watch::Sources(vec![open.source()]));
        let reaped = open.try_wait(Look::Reap);
        drop((killed, reaped));
    }
}

/// Outsiders end with the world, a failed case's too.
impl Drop for RealWorld {
    fn drop(&mut self) {
        for child in self.outsiders.get_mut().unwrap_or_else(PoisonError::into_inner) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn stat(process: Known) -> Option<Stat> {
    let stat = Stat::read(process.pid).ok().flatten();
    stat.filter(|stat| stat.started == process.started)
}

fn known(pid: Pid) -> Option<Known> {
    let stat = Stat::read(pid).ok().flatten()?;
    Some(Known::from(&stat.member(Standing::Inside)))
}

enum Line {
    Shell(String),
    File(&'static str),
}

/// What does this; `$1` is the directory for traces.
fn line(deed: Deed) -> Line {
    const SLEEP: &str = "exec sleep 1000";
    const WORK: &str = r#"printf . >> "$1/work""#;
    let children = |count: u32| "sleep 1000 & ".repeat(count as usize);
    Line::Shell(match deed {
        Deed::Exits(status) => format!("exit {status}"),
        Deed::Sleeps => SLEEP.to_owned(),
        Deed::Forks(count) => format!("{} {SLEEP}", children(count)),
        Deed::Leaves(count) => format!("{} exit 0", children(count)),
        Deed::Daemonises => {
            let daemon = r#"echo $$ > "$1/new"; mv "$1/new" "$1/daemon"; exec sleep 1000"#;
            format!(r#"setsid sh -c '{daemon}' sh "$1" & exit 0"#)
        }
        Deed::ForksTwice => "(sleep 1000 & exit 0) & exit 0".to_owned(),
        Deed::IgnoresTerm => format!("trap '' TERM; {WORK}; {SLEEP}"),
        Deed::Respawns => format!("life() {{ {WORK}; sleep 0.003; life \"$1\" & }}; life \"$1\""),
        Deed::StopsItself => format!("kill -STOP $$; {SLEEP}"),
        Deed::Works => format!("while :; do {WORK}; sleep 0.003; done"),
        Deed::WorksOnce(status) => format!("{WORK}; exit {status}"),
        Deed::GoesOn => format!("sleep 1000; {WORK}"),
        Deed::Spins => "while :; do :; done".to_owned(),
        // `tail` keeps what has no end of line.
        Deed::Allocates(bytes) => format!("dd if=/dev/zero of=/dev/null bs={bytes} count=1"),
        Deed::IsMissing => return Line::File("/proc/none"),
        Deed::IsNotExecutable => return Line::File("/proc/self/status"),
    })
}
