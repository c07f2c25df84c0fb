//! The line of `contain run`, for a quick start: to define an option takes longer than to set what it stands for.
//!
//! What is wrong with a line, and help, is for the parser of everything ([`Cli`]), which defines the same options for
//! those who read of them. It is asked, too, wherever a line might be meant otherwise.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::slice::Iter;
use std::str::FromStr;

use clap::ValueEnum;

use super::{Cli, Command, Global, Run};

/// The variables that stand for options which a line does not name.
const VARIABLES: [(&str, &str); 4] = [
    ("backend", "CONTAIN_BACKEND"),
    ("parent", "CONTAIN_PARENT"),
    ("state-dir", "CONTAIN_STATE_DIR"),
    ("log", "CONTAIN_LOG"),
];

/// What may be given several times.
const REPEATED: [&str; 8] =
    ["require", "env", "io-max", "hugetlb", "limits-from", "rlimit", "bind", "bind-ro"];

/// Options of one concern.
pub(crate) trait Concern {
    /// Sets what the option stands for; `None` when it is none of these, or something is wrong with it.
    fn set(&mut self, option: &mut Given<'_>) -> Option<()>;
}

/// Reads the words that follow our own name; `None` where the parser of everything has to.
pub(super) fn read(words: &[OsString]) -> Option<Cli> {
    let (mut global, mut run) = (Global::default(), Box::<Run>::default());
    let mut option = Given { name: "", attached: None, following: words.iter() };
    let (mut seen, mut is_run) = (Vec::new(), false);
    loop {
        let word = option.following.next()?;
        match word.as_bytes() {
            b"run" if !is_run => is_run = true,
            b"--" if is_run => break,
            [b'-', b'-', given @ ..] => {
                option.begin(given)?;
                if seen.contains(&option.name) && !REPEATED.contains(&option.name) {
                    return None;
                }
                seen.push(option.name);
                let set = global.set(&mut option);
                set.or_else(|| if is_run { run.set(&mut option) } else { None })?;
            }
            [b'-', ..] | [] => return None,
            _ if is_run => {
                run.program.words.push(word.clone());
                break;
            }
            _ => return None,
        }
    }
    run.program.words.extend(option.following.cloned());
    // Of an option that was given the variable is only looked at: it has to be right all the same.
    let mut unused = Global::default();
    for (name, variable) in VARIABLES {
        if let Some(value) = std::env::var_os(variable) {
            let target = if seen.contains(&name) { &mut unused } else { &mut global };
            target.set(&mut Given { name, attached: Some(&value), following: [].iter() })?;
        }
    }
    if run.program.words.is_empty() {
        return None;
    }
    Some(Cli { global, command: Command::Run(run) })
}

/// An option as it was given.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    name: &'a str,
    attached: Option<&'a OsStr>,
    following: Iter<'a, OsString>,
}

impl<'a> Given<'a> {
    fn begin(&mut self, given: &'a [u8]) -> Option<()> {
        let mut parts = given.splitn(2, |byte| *byte == b'=');
        self.name = str::from_utf8(parts.next()?).ok()?;
        self.attached = parts.next().map(OsStr::from_bytes);
        Some(())
    }

    /// Without the dashes.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    /// That it has no value.
    pub(crate) fn flag(&self) -> Option<bool> {
        self.attached.is_none().then_some(true)
    }

    /// Its value, unless that may be another option.
    pub(crate) fn value(&mut self) -> Option<&'a OsStr> {
        let following = |word: &&OsString| !word.as_bytes().starts_with(b"-");
        let value = match self.attached {
            Some(value) => value,
            None => self.following.next().filter(following)?,
        };
        (!value.is_empty()).then_some(value)
    }

    pub(crate) fn path(&mut self) -> Option<PathBuf> {
        self.value().map(PathBuf::from)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        self.value()?.to_str()
    }

    pub(crate) fn parsed<T: FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    pub(crate) fn read<T>(&mut self, by: fn(&str) -> Result<T, String>) -> Option<T> {
        by(self.text()?).ok()
    }

    pub(crate) fn choice<T: ValueEnum>(&mut self) -> Option<T> {
        T::from_str(self.text()?, false).ok()
    }

    /// The values between commas.
    pub(crate) fn list<T>(&mut self, by: fn(&str) -> Option<T>) -> Option<Vec<T>> {
        self.text()?.split(',').map(by).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction, CommandFactory as _, Parser as _};

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn by_itself(line: &str) -> Option<String> {
        read(&words(line)).map(|cli| format!("{cli:?}"))
    }

    fn by_everything(line: &str) -> Option<String> {
        let whole = std::iter::once("contain".into()).chain(words(line));
        Cli::try_parse_from(whole).ok().map(|cli| format!("{cli:?}"))
    }

    #[test]
    fn a_line_is_what_it_is_to_the_parser_of_everything() {
        for line in [
            "run true",
            "run -- --odd -x",
            "run --backend hybrid --timeout 2s --stats sh -c exit",
            "--backend hybrid run --stats true",
            "--log=info --color never run -- run",
            "run --name a/b --require kill=frozen --memory 64M --env A=b --env C= -- env --name x",
            "run --log debug --color never --state-dir /tmp --grace 0s true run",
            "run --report=r.json --pids=5 --user=nobody --on-oom=continue -- true --memory 1",
            "run --chdir /tmp make --grace x --memory -- y",
            "run --require kill=frozen,limits.pids --limits-from group,slurm true",
            "run --report=-r --name=x --stdin==x true",
            "run --seal --orphans keep true",
            "run true -- --",
        ] {
            let whole = by_everything(line).unwrap();
            assert_eq!(by_itself(line).as_ref(), Some(&whole), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_or_asks_for_help_is_for_the_parser_of_everything() {
        for line in [
            "",
            "run",
            "run ",
            "run --",
            "run --help",
            "run -V x",
            "run --version x",
            "run --nope true",
            "run --grace x true",
            "run --grace 1s --grace 1s true",
            "run --stats --stats true",
            "run --stats=yes true",
            "run --memory",
            "run --name= true",
            "run --stdin --stdout true",
            "run --require kill=frozen, true",
            "run - true",
            "--stats run true",
            "--backend run true",
            "doctor",
            "-- run true",
        ] {
            assert_eq!(by_itself(line), None, "{line}");
        }
    }

    /// A value of each option that has one.
    fn sample(option: &Arg) -> Option<&'static str> {
        Some(match option.get_long()? {
            "backend" => "cgroup-v1",
            "parent" | "state-dir" | "chdir" | "stdin" | "stdout" | "stderr" | "report"
            | "root" => "/x",
            "systemd" => "never",
            "log" => "containment=trace,info",
            "color" => "always",
            "name" => "x",
            "require" => "nesting",
            "orphans" => "keep",
            "engine" => "none",
            "timeout" | "cpu-time" | "grace" => "1.5s",
            "on-oom" => "continue",
            "kill-signal" => "INT",
            "env" => "A=b",
            "memory" | "memory-high" | "swap" => "64M",
            "cpus" => "1.5",
            "cpu-weight" | "io-weight" => "200",
            "cpuset" | "mems" => "0-1",
            "pids" => "20",
            "io-max" => "8:0:rbps=1M",
            "hugetlb" => "2M:64M",
            "limits-from" => "group",
            "user" => "nobody",
            "rlimit" => "nofile=10:20",
            "bind" | "bind-ro" => "/a:/b",
            _ => return None,
        })
    }

    /// What is defined there is known here, and no other default hides what it sets.
    #[test]
    fn every_option_is_what_it_is_to_the_parser_of_everything_once_and_twice() {
        let mut everything = Cli::command();
        everything.build();
        let run = everything.find_subcommand("run").unwrap();
        let mut checked = 0;
        for option in everything.get_opts().chain(run.get_opts()) {
            let long = option.get_long().unwrap();
            let flag = match option.get_action() {
                ArgAction::Help | ArgAction::Version => continue,
                ArgAction::SetTrue => true,
                _ => false,
            };
            let given = match sample(option) {
                Some(value) => format!("--{long} {value}"),
                None if flag => format!("--{long}"),
                None => panic!("--{long} has no value here"),
            };
            let (once, twice) = (format!("run {given} true"), format!("run {given} {given} true"));
            assert_eq!(by_itself(&once), Some(by_everything(&once).unwrap()));
            assert_ne!(by_itself(&once), by_itself("run true"), "{given} sets nothing");
            assert_eq!(by_itself(&twice), by_everything(&twice));
            checked += 1;
        }
        assert!(checked >= 44, "{checked} options");
    }

    #[test]
    fn the_variables_are_those_of_the_parser_of_everything() {
        let command = Cli::command();
        let variables = command
            .get_opts()
            .filter_map(|option| Some((option.get_long()?, option.get_env()?.to_str()?)));
        assert_eq!(variables.collect::<Vec<_>>(), VARIABLES);
    }
}
