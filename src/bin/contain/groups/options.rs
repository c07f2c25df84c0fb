//! The command lines of what acts on a group by its name.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};
use containment::{GroupName, Pid, Signal};

use crate::limits::LimitOptions;
use crate::values;

/// What acts on a group by its name.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum GroupCommand {
    /// Makes an empty group that stays until it is removed
    Create(Create),
    /// Runs PROGRAM inside an existing group, and returns when it has ended
    ///
    /// What it leaves belongs to the group. Signals to contain go to PROGRAM only. The exit status is
    /// PROGRAM's own, or 128+N when signal N ended it; 125 when contain itself failed; 126 when PROGRAM
    /// cannot be executed; 127 when it was not found; 6 when the group's backend cannot take programs in.
    Exec(Exec),
    /// Moves running processes into a group
    Attach(Attach),
    /// Changes the limits of a group
    Set(Set),
    /// Lists the members of a group
    Ps(Ps),
    /// Shows what a group has used
    Stat(Stat),
    /// Freezes a group, and returns when it is frozen
    ///
    /// A group that does not freeze in time is thawed again, and the exit status is 1.
    Freeze(Freeze),
    /// Thaws a group, and returns when it is thawed
    Thaw(Thaw),
    /// Sends a signal to every member of a group
    Signal(Send),
    /// Ends every member of a group and its sub-groups, and returns when it is empty
    Kill(Kill),
    /// Removes an empty group and its empty sub-groups
    Rm(Rm),
    /// Waits until a group is empty
    ///
    /// The exit status is 124 when it is not empty in time.
    Wait(Wait),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the group; may be nested, as a/b/c
    pub(crate) name: GroupName,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

#[derive(Debug, Args)]
#[command(override_usage = "contain exec [OPTIONS] NAME [--] PROGRAM [ARG]...")]
pub(crate) struct Exec {
    /// Name of the group
    pub(crate) name: GroupName,
    /// PROGRAM and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Name of the group
    pub(crate) name: GroupName,
    /// The processes
    #[arg(required = true, value_name = "PID")]
    pub(crate) pids: Vec<Pid>,
}

#[derive(Debug, Args)]
#[command(override_usage = "contain set [OPTIONS] LIMITS NAME", mut_group("LimitOptions", |group| group.required(true)))]
pub(crate) struct Set {
    /// Name of the group
    pub(crate) name: GroupName,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Name of the group
    pub(crate) name: GroupName,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Name of the group
    pub(crate) name: GroupName,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Show it again and again, this long apart, until the group is gone
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_negative_numbers = true)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Freeze {
    /// Name of the group
    pub(crate) name: GroupName,
    /// How long it may take
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_negative_numbers = true, default_value = "10s")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Thaw {
    /// Name of the group
    pub(crate) name: GroupName,
}

#[derive(Debug, Args)]
#[command(name = "signal")]
pub(crate) struct Send {
    /// Name of the group
    pub(crate) name: GroupName,
    /// The signal, by name or number
    #[arg(value_name = "SIG")]
    pub(crate) signal: Signal,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Name of the group
    pub(crate) name: GroupName,
    /// Time between SIGTERM and SIGKILL; 0 is SIGKILL at once
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_negative_numbers = true, default_value = "0")]
    pub(crate) grace: Duration,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Name of the group
    pub(crate) name: GroupName,
    /// Kill what lives there first
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Name of the group
    pub(crate) name: GroupName,
    /// How long to wait at most [default: for ever]
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,
    /// Print how its programs ended, as one JSON document: those that outlive whoever started them
    #[arg(long)]
    pub(crate) json: bool,
}
