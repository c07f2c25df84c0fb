//! The line of `contain run`, by itself, for a quick start: to define an option takes longer than to parse it, so
//! that only those are defined whose concern the line names.
//!
//! What is wrong with a line, and help, is for the parser of everything ([`Cli`]): it takes ten times as long.

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt as _;

use clap::{ArgMatches, Args};

use super::run::{EndingOptions, FigureOptions, GroupOptions, ProgramLine, Run, SettingOptions};
use super::{Cli, Command, Global};
use crate::isolation::IsolationOptions;
use crate::limits::LimitOptions;

/// Options of one concern. Their default is what a line has that names none of them.
trait Concern: Args + Default {
    /// The long names of all of them.
    const NAMES: &[&str];
    /// The variables that stand for some of them.
    const VARIABLES: &[&str] = &[];
}

impl Concern for Global {
    const NAMES: &[&str] = &["backend", "parent", "systemd", "state-dir", "log", "color"];
    const VARIABLES: &[&str] =
        &["CONTAIN_BACKEND", "CONTAIN_PARENT", "CONTAIN_STATE_DIR", "CONTAIN_LOG"];
}

impl Concern for GroupOptions {
    const NAMES: &[&str] = &["name", "require", "best-effort", "keep", "orphans", "engine"];
}

impl Concern for EndingOptions {
    const NAMES: &[&str] = &["timeout", "cpu-time", "on-oom", "grace", "kill-signal"];
}

impl Concern for SettingOptions {
    const NAMES: &[&str] = &["chdir", "env", "env-clear", "stdin", "stdout", "stderr"];
}

impl Concern for FigureOptions {
    const NAMES: &[&str] = &["report", "stats"];
}

impl Concern for LimitOptions {
    const NAMES: &[&str] = &[
        "memory",
        "memory-high",
        "swap",
        "cpus",
        "cpu-weight",
        "cpuset",
        "mems",
        "pids",
        "io-weight",
        "io-max",
        "hugetlb",
        "limits-from",
    ];
}

impl Concern for IsolationOptions {
    const NAMES: &[&str] =
        &["user", "rlimit", "no-new-privileges", "root", "bind", "bind-ro", "seal"];
}

/// Parses `words`, the first of which is `run`.
pub(super) fn parse<Word: AsRef<OsStr>>(words: &[Word]) -> Result<Cli, clap::Error> {
    let line = Line { words };
    let command = ProgramLine::augment_args(clap::Command::new("run"));
    let command = line.define::<Global>(command);
    let command = line.define::<GroupOptions>(command);
    let command = line.define::<EndingOptions>(command);
    let command = line.define::<SettingOptions>(command);
    let command = line.define::<FigureOptions>(command);
    let command = line.define::<LimitOptions>(command);
    let command = line.define::<IsolationOptions>(command);
    // It stays in memory: to take its pieces apart takes as long as to parse.
    let mut command = ManuallyDrop::new(command);
    let mut matches =
        command.try_get_matches_from_mut(words.iter().map(|word| word.as_ref().to_owned()))?;
    let global = line.take(&mut matches)?;
    let run = Run {
        program: clap::FromArgMatches::from_arg_matches_mut(&mut matches)?,
        group: line.take(&mut matches)?,
        ending: line.take(&mut matches)?,
        setting: line.take(&mut matches)?,
        figures: line.take(&mut matches)?,
        limits: line.take(&mut matches)?,
        isolation: line.take(&mut matches)?,
    };
    Ok(Cli { global, command: Command::Run(Box::new(run)) })
}

struct Line<'a, Word> {
    words: &'a [Word],
}

impl<Word: AsRef<OsStr>> Line<'_, Word> {
    fn define<C: Concern>(&self, command: clap::Command) -> clap::Command {
        if self.names::<C>() { C::augment_args(command) } else { command }
    }

    fn take<C: Concern>(&self, matches: &mut ArgMatches) -> Result<C, clap::Error> {
        if self.names::<C>() { C::from_arg_matches_mut(matches) } else { Ok(C::default()) }
    }

    /// Whether an option of this concern may be meant. A value, or a word of the program's, that looks like one
    /// takes some time and does no harm.
    fn names<C: Concern>(&self) -> bool {
        let options = self.words.iter().map(|word| word.as_ref().as_bytes());
        let mut options =
            options.take_while(|word| *word != b"--").filter_map(|word| word.strip_prefix(b"--"));
        options.any(|word| {
            let name = word.split(|byte| *byte == b'=').next();
            C::NAMES.iter().any(|known| name == Some(known.as_bytes()))
        }) || C::VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn by_itself(line: &str) -> Result<Cli, clap::Error> {
        parse(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn a_line_by_itself_is_what_it_is_to_the_parser_of_everything() {
        for line in [
            "run true",
            "run -- --odd -x",
            "run --backend hybrid --timeout 2s --stats sh -c exit",
            "run --name a/b --require kill=frozen --memory 64M --env A=b --env C= -- env --name x",
            "run --log debug --color never --state-dir /tmp --grace 0s true run",
            "run --report=r.json --pids=5 --user=nobody --on-oom=continue -- true --memory 1",
            "run --chdir /tmp make --grace x --memory",
            "run --seal --orphans keep true",
        ] {
            let whole = std::iter::once("contain").chain(line.split(' '));
            let whole = Cli::try_parse_from(whole).unwrap();
            assert_eq!(format!("{:?}", by_itself(line).unwrap()), format!("{whole:?}"), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_or_asks_for_help_is_for_the_parser_of_everything() {
        for line in [
            "run",
            "run --help",
            "run -V x",
            "run --version x",
            "run --nope true",
            "run --grace x true",
            "run --memory",
        ] {
            assert!(by_itself(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_concern_has_the_names_and_the_defaults_of_its_options() {
        fn check<C: Concern + std::fmt::Debug>() {
            let mut command = C::augment_args(clap::Command::new("run"));
            let long: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
            assert_eq!(long, C::NAMES);
            assert_eq!(
                command.get_arguments().count(),
                C::NAMES.len(),
                "options without a long name"
            );
            let variables: Vec<_> =
                command.get_arguments().filter_map(clap::Arg::get_env).collect();
            assert_eq!(variables, C::VARIABLES);
            command = command.mut_args(|arg| arg.env(None::<&str>));
            let mut matches = command.get_matches_from(["run"]);
            let parsed = C::from_arg_matches_mut(&mut matches).unwrap();
            assert_eq!(format!("{parsed:?}"), format!("{:?}", C::default()));
        }
        check::<Global>();
        check::<GroupOptions>();
        check::<EndingOptions>();
        check::<SettingOptions>();
        check::<FigureOptions>();
        check::<LimitOptions>();
        check::<IsolationOptions>();
    }
}
