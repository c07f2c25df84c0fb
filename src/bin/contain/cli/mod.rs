//! The command line: a contract that scripts rely on.

mod global;
mod run;
mod run_line;

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::groups::options::GroupCommand;
pub(crate) use global::Global;
pub(crate) use run::{EngineChoice, Orphans, Run};
pub(crate) use run_line::{Concern, Given};

/// Holds a set of processes together and ends it for certain.
#[derive(Debug, Parser)]
#[command(name = "contain", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Takes the words of our own line, the first of which is our name.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        if let Some(cli) = words.get(1..).and_then(run_line::read) {
            return Ok(cli);
        }
        // It stays in memory: to take its thousand pieces apart takes as long as to parse.
        let mut command = ManuallyDrop::new(Self::command());
        let mut matches = command.try_get_matches_from_mut(words)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
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
        assert_eq!(options.program.words, ["ls", "-l", "--timeout", "x", "--", "--help"]);
        assert_eq!(options.ending.timeout, None);
        let options = run(&["--", "--odd", "-x"]).unwrap();
        assert_eq!(options.program.words, ["--odd", "-x"]);
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
        let names: Vec<_> = options.group.require.iter().map(ToString::to_string).collect();
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
