//! Where a process comes from, and who can tell: what a report says of those whom it names.

use std::fmt;
use std::time::Duration;

use crate::{Member, Pid};

/// Where a member comes from. What could not be seen is `None` or [`Link::Unknown`]; nothing is guessed.
///
/// ```
/// use std::time::Duration;
/// use containment_core::{Hold, Link, Member, Origin, Pid, ProcessState, Standing};
///
/// let link = |pid, comm: &str| Link::Process { pid: Pid::new(pid).unwrap(), comm: comm.into() };
/// let origin = Origin {
///     args: Some(vec!["java".to_owned(), "-jar".to_owned(), "daemon.jar".to_owned()]),
///     started: Some(Duration::from_millis(12_300)),
///     chain: vec![link(4200, "make"), Link::Unknown, link(4242, "java")],
///     held_by: Some(Hold { wchan: Some("nfs_wait".to_owned()), ..Hold::default() }),
/// };
/// let java = Member {
///     pid: Pid::new(4242).unwrap(),
///     parent: 1,
///     started: 99,
///     comm: "java".to_owned(),
///     state: ProcessState('D'),
///     standing: Standing::Inside,
///     cpu: None,
///     memory: None,
///     origin: Some(Box::new(origin)),
/// };
/// assert_eq!(
///     java.to_string(),
///     "java (pid 4242, 12.3 s after the start): make → unknown → java; waits in nfs_wait"
/// );
/// assert_eq!(Hold::default().to_string(), "not known");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its arguments, the first few thousand bytes of them; bytes that are not UTF-8 are replaced.
    pub args: Option<Vec<String>>,
    /// How long after the group was made it started, to a clock tick.
    pub started: Option<Duration>,
    /// Who started it, outermost first; it comes last itself.
    pub chain: Vec<Link>,
    /// What keeps it from dying. Looked for in survivors only.
    pub held_by: Option<Hold>,
}

/// One process of a chain of parents and children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// A process by the name that it had when it started the next one.
    Process {
        /// Its pid. It may have ended, and the pid be another's by now.
        pid: Pid,
        /// Its command name, at most 15 bytes of it.
        comm: String,
    },
    /// Somebody who had ended before they were seen, and whoever started them.
    Unknown,
}

/// What keeps a process from dying.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// The kernel function that it waits in.
    pub wchan: Option<String>,
    /// The group that froze it, as a path in the freezer's hierarchy.
    pub freezer: Option<String>,
    /// The kernel functions that led there, innermost first.
    pub stack: Vec<String>,
    /// The file system whose file it waits for: its type and where it is mounted.
    pub mount: Option<String>,
}

/// Somebody who can tell where processes come from. It is asked while they live, and only when there is
/// somebody to ask about.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Member, Origin, Pid, Policy, Program};
/// use containment_core::Witness;
///
/// /// Knows of everybody's arguments, and of nothing else.
/// #[derive(Debug)]
/// struct Arguments;
///
/// impl Witness for Arguments {
///     fn spawned(&self, _program: Pid) {}
///     fn trace(&self, found: &mut [Member], _all: &[Member]) {
///         for member in found {
///             let args = Some(vec![member.comm.clone()]);
///             member.origin = Some(Box::new(Origin { args, ..Origin::default() }));
///         }
///     }
///     fn explain(&self, _survivors: &mut [Member]) {}
/// }
///
/// let fake = Fake::new();
/// let daemon = Script::new().named("daemon");
/// fake.program("make", Script::new().forks(Duration::ZERO, daemon).exits(Duration::ZERO, 0));
/// let made = fake.create(&"job".parse()?, ControllerSet::EMPTY)?;
/// let job = Group::new(made, fake.waiter()).witnessed_by(Arc::new(Arguments));
/// job.spawn(&Program::new("make"))?.wait()?;
/// let report = job.terminate(&Policy::graceful(Duration::from_secs(1)))?;
/// let origin = report.left_behind[0].origin.as_ref().unwrap();
/// assert_eq!(origin.args.as_deref(), Some(&["daemon".to_owned()][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Witness: fmt::Debug + Send + Sync {
    /// Takes note of a program that was spawned into the group: no chain goes further back.
    fn spawned(&self, program: Pid);
    /// Tells the origin of each of `found`, who were listed together with `all`.
    fn trace(&self, found: &mut [Member], all: &[Member]);
    /// Tells besides what keeps these from dying.
    fn explain(&self, survivors: &mut [Member]);
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { comm, .. } => f.write_str(comm),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.freezer.as_ref().map(|group| format!("frozen by {group}")),
            self.wchan.as_ref().map(|function| format!("waits in {function}")),
            self.mount.as_ref().map(|mount| format!("for a file on {mount}")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "not known" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// `java (pid 4242, 12.3 s after the start): make → sh → gradle → java`, as far as it is known.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}", self.comm, self.pid)?;
        let Some(origin) = &self.origin else { return f.write_str(")") };
        if let Some(started) = origin.started {
            write!(f, ", {:.1} s after the start", started.as_secs_f64())?;
        }
        f.write_str(")")?;
        let links: Vec<_> = origin.chain.iter().map(ToString::to_string).collect();
        if !links.is_empty() {
            write!(f, ": {}", links.join(" → "))?;
        }
        origin.held_by.as_ref().map_or(Ok(()), |hold| write!(f, "; {hold}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProcessState, Standing};

    fn java(origin: Option<Origin>) -> Member {
        Member {
            pid: Pid::new(4242).unwrap(),
            parent: 1,
            started: 9,
            comm: "java".to_owned(),
            state: ProcessState('D'),
            standing: Standing::Inside,
            cpu: None,
            memory: None,
            origin: origin.map(Box::new),
        }
    }

    fn link(comm: &str) -> Link {
        Link::Process { pid: Pid::current(), comm: comm.to_owned() }
    }

    #[test]
    fn an_engineer_reads_off_who_left_it() {
        let chain = ["make", "sh", "gradle", "java"].map(link).to_vec();
        let started = Some(Duration::from_millis(12_340));
        let origin = Origin { started, chain, ..Origin::default() };
        assert_eq!(
            java(Some(origin)).to_string(),
            "java (pid 4242, 12.3 s after the start): make → sh → gradle → java"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out_or_called_so() {
        assert_eq!(java(None).to_string(), "java (pid 4242)");
        let chain = vec![Link::Unknown, link("java")];
        let hold = Hold { wchan: Some("nfs_wait".to_owned()), ..Hold::default() };
        let origin = Origin { chain, held_by: Some(hold), ..Origin::default() };
        let text = "java (pid 4242): unknown → java; waits in nfs_wait";
        assert_eq!(java(Some(origin)).to_string(), text);
        assert_eq!(Hold::default().to_string(), "not known");
    }
}
