//! The command line: a contract that scripts rely on.

mod global;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};
use containment::{Bounds, GroupName, Requirement, Signal};

use crate::groups::options::GroupCommand;
use crate::isolation::IsolationOptions;
use crate::limits::LimitOptions;
use crate::values;
pub(crate) use global::Global;

/// Holds a set of processes together and ends it for certain.
#[derive(Debug, Parser)]
#[command(name = "contain", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The line of `contain run`, by itself: the definition of all subcommands takes three times as long as
/// that of one.
#[derive(Debug, Parser)]
#[command(name = "run")]
pub(crate) struct RunLine {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    run: Run,
}

impl From<RunLine> for Cli {
    fn from(line: RunLine) -> Self {
        Self { global: line.global, command: Command::Run(Box::new(line.run)) }
    }
}

/// What to do. The options of a subcommand are defined when it is the one that was chosen: most of the
/// time it takes to start goes there.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Runs PROGRAM in a new group, and returns when it has ended and nothing that it started is left
    ///
    /// The exit status is PROGRAM's own, or 128+N when signal N ended it or the group; 124 when a time
    /// limit did; 137 when memory ran out; 125 when contain itself failed; 126 when PROGRAM cannot be
    /// executed; 127 when it was not found.
    Run(Box<Run>),
    /// Says of every backend whether it can be used here, why not, and what it guarantees
    ///
    /// The exit status is 0 when one is usable, 1 otherwise.
    Doctor(Doctor),
    /// Lists the groups on record
    Ls(Ls),
    #[command(flatten)]
    Group(Box<GroupCommand>),
    /// Ends and removes the groups whose owner is dead
    ///
    /// Never one with a living owner, never one that was made to stay.
    Gc(Gc),
    /// Merges the JSON reports of many runs, of any number of machines
    ///
    /// A table by node and outcome, what was left behind, escaped or survived, and which runs were the
    /// slowest and the hungriest. The exit status is 1 when a run lost containment, or a report could not be
    /// read; the others are merged all the same.
    Report(Merge),
    /// Mounts the hierarchies of cgroup v1 that are missing, and says which; nothing else ever mounts
    ///
    /// Root only. The exit status is 0 when none is missing any more, 5 without the rights, 6 where the kernel
    /// has no such hierarchy, 1 otherwise.
    Init(Init),
    /// Prints the completions of a shell, to be put where that looks for them
    Completions(Completions),
    /// Prints a manual page, to be read by `man -l -`
    #[command(name = "man")]
    Manual(Manual),
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Args)]
#[command(override_usage = "contain run [OPTIONS] [--] PROGRAM [ARG]...")]
pub(crate) struct Run {
    /// PROGRAM and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,

    /// Name of the group [default: made up from PROGRAM]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<GroupName>,
    /// Refuse to run unless the backend gives at least this
    ///
    /// `kill=repeated|frozen|atomic`, `escape=voluntary|swept|impossible`, `empty=polled|notified`,
    /// `freeze=stop-signal|kernel`, `leave_by=none`, `nesting`, `attach`, `limits.NAME`, `usage.NAME`: `contain doctor`
    /// shows what there is.
    #[arg(long, value_name = "CAP[,CAP…]", value_delimiter = ',')]
    pub(crate) require: Vec<Requirement>,
    /// Do without limits that the backend cannot apply, and list them in the report
    #[arg(long)]
    pub(crate) best_effort: bool,
    /// Leave the group and what runs in it when PROGRAM ends
    #[arg(long)]
    pub(crate) keep: bool,
    /// When contain itself is killed: kill the group, too, or keep it
    #[arg(long, value_name = "kill|keep", default_value = "kill", hide_possible_values = true)]
    pub(crate) orphans: Orphans,
    /// In a step of Slurm: end with its slurmstepd, and with a grace within what Slurm waits; or none of that
    #[arg(long, value_name = "auto|none", default_value = "auto", hide_possible_values = true)]
    pub(crate) engine: EngineChoice,

    /// End the group after this time (500ms, 1.5s, 2m, 1h, plain seconds)
    #[arg(long, value_name = "DUR", value_parser = values::bound, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,
    /// End the group after this much CPU time of all its members
    #[arg(long, value_name = "DUR", value_parser = values::bound, allow_negative_numbers = true)]
    pub(crate) cpu_time: Option<Duration>,
    /// When the OOM killer took one member: kill the rest of the group, too, or let it continue
    #[arg(long, value_name = "kill|continue", default_value = "kill", hide_possible_values = true)]
    pub(crate) on_oom: OnOom,
    /// Time between the signal that asks the group to end and SIGKILL
    #[arg(long, value_name = "DUR", value_parser = values::duration, default_value = "10s", allow_negative_numbers = true)]
    pub(crate) grace: Duration,
    /// Signal that asks the group to end [default: TERM, or the one that contain got]
    #[arg(long, value_name = "SIG")]
    pub(crate) kill_signal: Option<Signal>,

    /// Run PROGRAM in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) chdir: Option<PathBuf>,
    /// Set a variable of PROGRAM's environment
    #[arg(long, value_name = "K=V", value_parser = variable_parser())]
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Start from an empty environment
    #[arg(long)]
    pub(crate) env_clear: bool,
    /// Read standard input from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<PathBuf>,
    /// Write standard output to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) stdout: Option<PathBuf>,
    /// Write standard error to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) stderr: Option<PathBuf>,

    /// Write a JSON report to this file; - is stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write a short table of what was used to stderr
    #[arg(long)]
    pub(crate) stats: bool,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) isolation: IsolationOptions,
}

impl Run {
    /// Whether somebody will read what the run used.
    pub(crate) fn wants_figures(&self) -> bool {
        self.report.is_some() || self.stats
    }

    /// What ends the run before PROGRAM does.
    pub(crate) fn bounds(&self) -> Bounds {
        let bounds = match self.on_oom {
            OnOom::Kill => Bounds::new(),
            OnOom::Continue => Bounds::new().survive_oom(),
        };
        let bounds = self.timeout.into_iter().fold(bounds, Bounds::wall);
        self.cpu_time.into_iter().fold(bounds, Bounds::cpu)
    }
}

/// What becomes of a group when `contain` is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Orphans {
    Kill,
    Keep,
}

/// Whether a run takes part in the step of a cluster engine that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    Auto,
    None,
}

/// What becomes of the rest of a group when the OOM killer took a member.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnOom {
    Kill,
    Continue,
}

fn variable_parser() -> impl clap::builder::TypedValueParser<Value = (OsString, OsString)> {
    OsStringValueParser::new().try_map(|text| {
        values::variable(AsRef::<OsStr>::as_ref(&text)).map_err(std::io::Error::other)
    })
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// Files that contain run --report wrote, each with one report or several; - is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON document, with every run in it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Say what would be mounted, and mount nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell: bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// The subcommand [default: contain as a whole]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use containment::{Backend, Bytes, Cpus, Device, IoMax, Limits, Most, Rate};

    fn run(arguments: &[&str]) -> Result<Box<Run>, clap::Error> {
        let line = ["contain", "run"].iter().chain(arguments);
        match Cli::try_parse_from(line)?.command {
            Command::Run(run) => Ok(run),
            _ => panic!("parsed as another subcommand"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_is_the_programs() {
        let options = run(&["--keep", "ls", "-l", "--timeout", "x", "--", "--help"]).unwrap();
        assert_eq!(options.program, ["ls", "-l", "--timeout", "x", "--", "--help"]);
        assert_eq!(options.timeout, None);
        let options = run(&["--", "--odd", "-x"]).unwrap();
        assert_eq!(options.program, ["--odd", "-x"]);
    }

    #[test]
    fn an_unknown_option_is_no_program() {
        assert!(run(&["--nope", "true"]).is_err());
        assert!(run(&["-x", "true"]).is_err());
        assert!(run(&[]).is_err());
    }

    #[test]
    fn requirements_are_a_list() {
        let options = run(&["--require", "kill=frozen,limits.pids", "true"]).unwrap();
        let names: Vec<_> = options.require.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["kill=frozen", "limits.pids"]);
    }

    #[test]
    fn global_options_stand_before_or_after_the_subcommand() {
        let before = ["contain", "--backend", "hybrid", "run", "true"];
        let after = ["contain", "run", "--backend", "hybrid", "true"];
        for line in [before, after] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.global.backend.explicit(), Some(Backend::Hybrid));
        }
    }

    /// What the parser of `contain run` alone takes, the whole parser takes for the same.
    #[test]
    fn the_line_of_run_by_itself_is_what_it_is_among_all() {
        let taken = [
            "run true",
            "run -- --odd -x",
            "run --backend hybrid --timeout 2s --stats sh -c exit",
            "run --name a/b --require kill=frozen --memory 64M --env A=b --env C= -- env --name x",
            "run --log debug --color never --state-dir /tmp --grace 0s true run",
        ];
        for line in taken {
            let words = || line.split(' ');
            let alone = Cli::from(RunLine::try_parse_from(words()).unwrap());
            let whole = Cli::try_parse_from(std::iter::once("contain").chain(words())).unwrap();
            assert_eq!(format!("{alone:?}"), format!("{whole:?}"), "{line}");
        }
        for line in [
            "run",
            "run --help",
            "run -V x",
            "run --version x",
            "run --nope true",
            "run --grace x true",
        ] {
            assert!(RunLine::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn options_become_limits() {
        let options =
            run(&["--memory", "64M", "--swap", "0", "--pids", "max", "--cpus", "1.5", "true"]);
        let limits = options.unwrap().limits.limits().unwrap();
        let asked = Limits::new()
            .memory_max(Bytes::mib(64))
            .swap_max(Bytes(0))
            .pids_max(Most::Lifted)
            .cpus(Cpus::new(1.5).unwrap());
        assert_eq!(limits, asked);
    }

    #[test]
    fn rates_of_one_disk_add_up() {
        let options = run(&["--io-max", "8:0:rbps=1M", "--io-max", "8:0:wbps=2M", "true"]);
        let limits = options.unwrap().limits.limits().unwrap();
        let most = IoMax::new().with(Rate::ReadBytes, 1 << 20).with(Rate::WriteBytes, 2 << 20);
        assert_eq!(limits.io_max, [(Device { major: 8, minor: 0 }, most)].into());
    }
}
