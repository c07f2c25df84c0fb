//! What is struck, and what has to hold after each strike.

use std::process::Child;
use std::time::Duration;

use crate::audit::{self, within};
use crate::errnos::is_memory;
use crate::plan::{self, Fault, Faults, Point};
use crate::stage::{Job, Stage, deadline};
use crate::strike::{Struck, strike, strike_running};

/// Something that `contain` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// A run whose program leaves three processes behind; its own process is struck.
    Run,
    /// A run of twenty processes whose own process is killed.
    Crash,
    /// The same, and its guardian or keeper is killed in the same moment.
    CrashBoth,
    /// A run; every one of its processes is struck that comes to the call, up to its execution of a program.
    Others,
    /// The guardian or the keeper of a run that was killed is struck while it ends the group.
    Guardian,
    /// `contain kill` of a running job.
    Kill,
    /// `contain gc` after a run was killed with its guardian.
    Gc,
}

/// How it went, where nothing was wrong.
#[derive(Debug)]
pub(crate) struct Played {
    /// Whether the call was reached.
    pub(crate) hit: bool,
    /// How long after the end of what was struck processes of the job lived.
    pub(crate) cleared: Duration,
    /// Whether `contain gc` had something to tidy up.
    pub(crate) gc: bool,
}

impl Act {
    pub(crate) const ALL: [Self; 7] = [
        Self::Run,
        Self::Crash,
        Self::CrashBoth,
        Self::Others,
        Self::Guardian,
        Self::Kill,
        Self::Gc,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Crash => "crash of a run of 20",
            Self::CrashBoth => "crash of a run of 20 with its guardian",
            Self::Others => "run, its other processes",
            Self::Guardian => "guardian of a killed run",
            Self::Kill => "kill",
            Self::Gc => "gc",
        }
    }

    /// Every point of this act, as one that is only traced comes by.
    pub(crate) fn plan(self, stage: &Stage) -> Result<Vec<Point>, String> {
        let job = Job::on(stage);
        let planned = self.traced(&job);
        job.clean_up(&[]);
        planned
    }

    fn traced(self, job: &Job<'_>) -> Result<Vec<Point>, String> {
        let of = |words: &[String], faults| {
            Ok(plan::of_trace(&strike(job, words, None, false)?.trace, faults))
        };
        match self {
            Self::Run => of(&job.ending(), Faults::KillAndErrnos),
            Self::Crash => of(&job.tree(), Faults::Kill),
            Self::CrashBoth => of(&job.tree(), Faults::KillBoth),
            Self::Others => {
                let run = strike(job, &job.ending(), None, true)?;
                Ok(plan::of_other_processes(&run.trace, run.pid, Faults::KillAndErrnos))
            }
            Self::Guardian => {
                let trace = bereave(job, None)?;
                Ok(plan::of_trace(&trace, Faults::KillAndErrnos))
            }
            Self::Kill => {
                let mut owner = job.start(&job.staying())?;
                let points = of(&kill_words(job), Faults::KillAndErrnos);
                owner.wait().map_err(|error| error.to_string())?;
                points
            }
            Self::Gc => {
                orphan(job)?;
                of(&gc_words(), Faults::KillAndErrnos)
            }
        }
    }

    /// Strikes once; what was wrong, in words.
    pub(crate) fn play(self, stage: &Stage, point: &Point) -> Result<Played, String> {
        let job = Job::on(stage);
        let played = match self {
            Self::Run => after_run(&job, &strike(&job, &job.ending(), Some(point), false)?, point),
            Self::Crash | Self::CrashBoth => {
                after_run(&job, &strike(&job, &job.tree(), Some(point), false)?, point)
            }
            Self::Others => {
                after_others(&job, &strike(&job, &job.ending(), Some(point), true)?, point)
            }
            Self::Guardian => {
                bereave(&job, Some(point)).and_then(|t| after_bereft(&job, &t, point))
            }
            Self::Kill => struck_kill(&job, point),
            Self::Gc => struck_gc(&job, point),
        };
        let played = played.and_then(|played| stage.check_sentinel().map(|()| played));
        job.clean_up(&[]);
        played
    }
}

fn kill_words(job: &Job<'_>) -> Vec<String> {
    vec!["kill".to_owned(), job.name.clone()]
}

fn gc_words() -> Vec<String> {
    vec!["gc".to_owned()]
}

/// A run that was struck: its status is honest, and nothing is left.
fn after_run(job: &Job<'_>, run: &Struck, point: &Point) -> Result<Played, String> {
    let hit = run.is_hit(point.fault);
    if let Some(signal) = run.signal {
        let aborted = [6, 11].contains(&signal) && is_memory(&point.call);
        if !aborted && (signal != 9 || matches!(point.fault, Fault::Errno(_))) {
            return Err(format!("it died of signal {signal}: {}", run.stderr));
        }
        let orphaned = point.fault == Fault::KillBoth;
        return after_death(job, run.pid, orphaned).map(|played| Played { hit, ..played });
    }
    let left = job.left(&[run.pid]);
    match (run.status, run.messages().len()) {
        (Some(7), _) if left.processes.is_empty() && left.groups.is_empty() => {}
        (Some(7), _) => return Err(format!("it ended with 7 and left {left:?}")),
        (Some(125), 1) => {}
        _ if run.never_began() => {}
        (status, _) => return Err(format!("it ended with {status:?} and said {:?}", run.stderr)),
    }
    // Where it lost containment the guardian goes on.
    let empty = || job.left(&[run.pid]).processes.is_empty();
    let cleared = within(deadline(), empty).ok_or("after 125 processes live on")?;
    let gc = !job.left(&[run.pid]).is_nothing();
    if gc && run.stderr.is_empty() {
        return Err(format!("it said nothing of what it left: {:?}", job.left(&[run.pid])));
    }
    tidy(job, run.pid)?;
    Ok(Played { hit, cleared, gc })
}

/// Somebody else of `contain` may have been struck, or the program before it was executed.
fn after_others(job: &Job<'_>, run: &Struck, point: &Point) -> Result<Played, String> {
    // Killed itself at the same call, its guardian killed at it, too.
    let both = run.signal.is_some();
    let empty = || job.left(&[run.pid]).processes.is_empty();
    let soon = if both { Duration::from_millis(300) } else { deadline() };
    let cleared = within(soon, empty);
    if cleared.is_none() && !both {
        return Err(format!("{:?} {} left {:?}", run.status, run.stderr, job.left(&[run.pid])));
    }
    let gc = !job.left(&[run.pid]).is_nothing();
    tidy(job, run.pid)?;
    let hit = run.trace.contains("(INJECTED)") || run.trace.contains("+++ killed by SIGKILL");
    Ok(Played { hit: hit || point.fault == Fault::Kill, cleared: cleared.unwrap_or_default(), gc })
}

/// The one that owned the group is dead: the guardian ends it; where that is dead, too, `contain gc` does.
fn after_death(job: &Job<'_>, pid: u32, orphaned: bool) -> Result<Played, String> {
    let empty = || job.left(&[pid]).processes.is_empty();
    let mut cleared = None;
    if !orphaned {
        let left = || format!("nobody ended {:?}", job.left(&[pid]));
        cleared = Some(within(deadline(), empty).ok_or_else(left)?);
    }
    let gc = !job.left(&[pid]).is_nothing();
    tidy(job, pid)?;
    Ok(Played { hit: true, cleared: cleared.unwrap_or_default(), gc })
}

/// Where something is left, `contain gc` ends and removes it.
fn tidy(job: &Job<'_>, pid: u32) -> Result<(), String> {
    if job.left(&[pid]).is_nothing() {
        return Ok(());
    }
    let before = job.left(&[pid]);
    let gc = job.contain(&["gc"]).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&gc.stderr).into_owned();
    if !gc.status.success() {
        return Err(format!("gc ended with {:?} and said {said:?}", gc.status.code()));
    }
    let left = job.left(&[pid]);
    if left.is_nothing() { Ok(()) } else { Err(format!("gc left {left:?} of {before:?}")) }
}

/// Kills a run while its guardian is traced; gives the trace.
fn bereave(job: &Job<'_>, point: Option<&Point>) -> Result<String, String> {
    let mut owner = job.start(&job.staying())?;
    let guardian = job.own().into_iter().find(|pid| *pid != owner.id()).ok_or("no guardian")?;
    let trace = strike_running(job, guardian, point, || audit::signal("KILL", owner.id()))?;
    owner.wait().map_err(|error| error.to_string())?;
    Ok(trace)
}

/// A guardian that was struck has ended, and with it the group, unless it was killed.
fn after_bereft(job: &Job<'_>, trace: &str, point: &Point) -> Result<Played, String> {
    let hit = trace.contains("(INJECTED)") || trace.contains("+++ killed by SIGKILL");
    let killed = point.fault == Fault::Kill || trace.contains("+++ killed by");
    let played = after_death(job, 0, killed)?;
    Ok(Played { hit, ..played })
}

/// A kill that says that it is done is done; another one finishes what one that was struck began.
fn struck_kill(job: &Job<'_>, point: &Point) -> Result<Played, String> {
    let mut owner = job.start(&job.staying())?;
    let kill = strike(job, &kill_words(job), Some(point), false)?;
    let members = job.members();
    let verdict = honest(&kill, point, members.is_empty(), || format!("{members:?} live"));
    let cleared = finish_kill(job, &mut owner).and(verdict);
    cleared.and_then(|()| tidy(job, kill.pid)).map(|()| Played {
        hit: kill.is_hit(point.fault),
        cleared: Duration::ZERO,
        gc: false,
    })
}

/// Kills once more, where there still is a group; its run ends as one whose program was killed.
fn finish_kill(job: &Job<'_>, owner: &mut Child) -> Result<(), String> {
    let again = job.contain(&["kill", &job.name]).output().map_err(|error| error.to_string())?;
    let ended = within(deadline(), || owner.try_wait().is_ok_and(|status| status.is_some()));
    let status = owner.try_wait().ok().flatten().and_then(|status| status.code());
    match (again.status.code(), ended, status) {
        // 3: it is gone, 137: its program was killed.
        (Some(0 | 3), Some(_), Some(137)) => Ok(()),
        (code, _, status) => {
            let said = String::from_utf8_lossy(&again.stderr);
            Err(format!("the next kill gave {code:?} ({said}), and the run {status:?}"))
        }
    }
}

/// A gc that says that it is done is done; another one finishes what one that was struck began.
fn struck_gc(job: &Job<'_>, point: &Point) -> Result<Played, String> {
    orphan(job)?;
    let gc = strike(job, &gc_words(), Some(point), false)?;
    let left = job.left(&[gc.pid]);
    honest(&gc, point, left.is_nothing(), || format!("it left {left:?}"))?;
    let again = !left.is_nothing();
    tidy(job, gc.pid)?;
    Ok(Played { hit: gc.is_hit(point.fault), cleared: Duration::ZERO, gc: again })
}

/// Kills a run with its guardian, so that nobody ends its group.
fn orphan(job: &Job<'_>) -> Result<(), String> {
    let mut owner = job.start(&job.staying())?;
    // Stopped first, so that none acts on the death of another; and the last begun is killed first, for the
    // kernel lets a stopped process group go on when its last parent dies.
    let own = job.own();
    for pid in &own {
        audit::signal("STOP", *pid);
    }
    for pid in own.iter().rev() {
        audit::signal("KILL", *pid);
    }
    owner.wait().map_err(|error| error.to_string())?;
    within(deadline(), || job.own().is_empty()).ok_or("contain cannot be killed")?;
    if job.members().len() == 4 { Ok(()) } else { Err("the job did not survive".to_owned()) }
}

/// Whether a subcommand that was struck says what is true.
fn honest(
    struck: &Struck,
    point: &Point,
    done: bool,
    left: impl FnOnce() -> String,
) -> Result<(), String> {
    match (struck.status, struck.signal) {
        (Some(0), _) if done => Ok(()),
        (Some(0), _) => Err(format!("it said that it was done, and {}", left())),
        (Some(1..=6), _) if !struck.messages().is_empty() => Ok(()),
        _ if struck.never_began() => Ok(()),
        (_, Some(9)) if point.fault == Fault::Kill => Ok(()),
        (_, Some(6 | 11)) if is_memory(&point.call) => Ok(()),
        (status, signal) => {
            Err(format!("it ended with {status:?} {signal:?} and said {:?}", struck.stderr))
        }
    }
}
