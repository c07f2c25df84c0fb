//! The options of `contain run`, by concern.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use containment::{Bounds, GroupName, Requirement, Signal};

use super::run_line::{Concern, Given};
use crate::isolation::IsolationOptions;
use crate::limits::LimitOptions;
use crate::values;

#[derive(Debug, Default, Args)]
#[command(override_usage = "contain run [OPTIONS] [--] PROGRAM [ARG]...")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) program: ProgramLine,
    #[command(flatten)]
    pub(crate) group: GroupOptions,
    #[command(flatten)]
    pub(crate) ending: EndingOptions,
    #[command(flatten)]
    pub(crate) setting: SettingOptions,
    #[command(flatten)]
    pub(crate) figures: FigureOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) isolation: IsolationOptions,
}

impl Concern for Run {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        let concerns: [&mut dyn Concern; 6] = [
            &mut self.group,
            &mut self.ending,
            &mut self.setting,
            &mut self.figures,
            &mut self.limits,
            &mut self.isolation,
        ];
        concerns.into_iter().find_map(|concern| concern.set(option))
    }
}

// No documentation of these: it would become the subcommand's.

#[derive(Debug, Default, Args)]
pub(crate) struct ProgramLine {
    /// PROGRAM and its arguments
    #[arg(id = "program", required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) words: Vec<OsString>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct GroupOptions {
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
}

impl Concern for GroupOptions {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "name" => self.name = Some(option.parsed()?),
            "require" => self.require.extend(option.list(|text| Requirement::from_str(text).ok())?),
            "best-effort" => self.best_effort = option.flag()?,
            "keep" => self.keep = option.flag()?,
            "orphans" => self.orphans = option.choice()?,
            "engine" => self.engine = option.choice()?,
            _ => return None,
        }
        Some(())
    }
}

/// What becomes of a group when `contain` is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Orphans {
    #[default]
    Kill,
    Keep,
}

/// Whether a run takes part in the step of a cluster engine that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum EngineChoice {
    #[default]
    Auto,
    None,
}

#[derive(Debug, Args)]
pub(crate) struct EndingOptions {
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
}

/// What becomes of the rest of a group when the OOM killer took a member.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnOom {
    Kill,
    Continue,
}

impl EndingOptions {
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

impl Default for EndingOptions {
    fn default() -> Self {
        Self {
            timeout: None,
            cpu_time: None,
            on_oom: OnOom::Kill,
            grace: Duration::from_secs(10),
            kill_signal: None,
        }
    }
}

impl Concern for EndingOptions {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "timeout" => self.timeout = Some(option.read(values::bound)?),
            "cpu-time" => self.cpu_time = Some(option.read(values::bound)?),
            "on-oom" => self.on_oom = option.choice()?,
            "grace" => self.grace = option.read(values::duration)?,
            "kill-signal" => self.kill_signal = Some(option.parsed()?),
            _ => return None,
        }
        Some(())
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct SettingOptions {
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
}

impl Concern for SettingOptions {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "chdir" => self.chdir = Some(option.path()?),
            "env" => self.env.push(values::variable(option.value()?).ok()?),
            "env-clear" => self.env_clear = option.flag()?,
            "stdin" => self.stdin = Some(option.path()?),
            "stdout" => self.stdout = Some(option.path()?),
            "stderr" => self.stderr = Some(option.path()?),
            _ => return None,
        }
        Some(())
    }
}

fn variable_parser() -> impl clap::builder::TypedValueParser<Value = (OsString, OsString)> {
    OsStringValueParser::new().try_map(|text| {
        values::variable(AsRef::<OsStr>::as_ref(&text)).map_err(std::io::Error::other)
    })
}

#[derive(Debug, Default, Args)]
pub(crate) struct FigureOptions {
    /// Write a JSON report to this file; - is stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write a short table of what was used to stderr
    #[arg(long)]
    pub(crate) stats: bool,
}

impl Concern for FigureOptions {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "report" => self.report = Some(option.path()?),
            "stats" => self.stats = option.flag()?,
            _ => return None,
        }
        Some(())
    }
}

impl FigureOptions {
    /// Whether somebody will read what the run used.
    pub(crate) fn are_wanted(&self) -> bool {
        self.report.is_some() || self.stats
    }
}
