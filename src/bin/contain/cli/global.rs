//! Options of every subcommand.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use containment::{Backend, Systemd};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::run_line::{Concern, Given};
use crate::values;

/// Options that may stand before or after the subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// How to contain; auto takes the strongest that works here
    #[arg(
        long,
        global = true,
        env = "CONTAIN_BACKEND",
        hide_env_values = true,
        default_value = "auto",
        value_name = "NAME"
    )]
    pub(crate) backend: BackendChoice,
    /// The cgroup below which groups are made, relative to the hierarchy's root [default: our own]
    #[arg(
        long,
        global = true,
        env = "CONTAIN_PARENT",
        hide_env_values = true,
        value_name = "PATH"
    )]
    pub(crate) parent: Option<PathBuf>,
    /// Ask systemd for a delegated scope where our own cgroup is not delegated: auto, or never
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_name = "auto|never",
        hide_possible_values = true
    )]
    pub(crate) systemd: SystemdChoice,
    /// Where groups are kept on record [default: the user's runtime directory]
    #[arg(
        long,
        global = true,
        env = "CONTAIN_STATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub(crate) state_dir: Option<PathBuf>,
    /// What to log to stderr: a level, or target=level,…
    #[arg(
        long,
        global = true,
        env = "CONTAIN_LOG",
        hide_env_values = true,
        default_value = "warn",
        value_name = "FILTER",
        value_parser = values::filter
    )]
    pub(crate) log: Targets,
    /// When to use colour on stderr
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            backend: BackendChoice::Auto,
            parent: None,
            systemd: SystemdChoice::Auto,
            state_dir: None,
            log: Targets::new().with_default(LevelFilter::WARN),
            color: Color::Auto,
        }
    }
}

impl Concern for Global {
    fn set(&mut self, option: &mut Given<'_>) -> Option<()> {
        match option.name() {
            "backend" => self.backend = option.choice()?,
            "parent" => self.parent = Some(option.path()?),
            "systemd" => self.systemd = option.choice()?,
            "state-dir" => self.state_dir = Some(option.path()?),
            "log" => self.log = option.read(values::filter)?,
            "color" => self.color = option.choice()?,
            _ => return None,
        }
        Some(())
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum BackendChoice {
    Auto,
    CgroupV2,
    CgroupV1,
    Hybrid,
    ProcessGroup,
}

impl BackendChoice {
    /// The backend that was asked for, unless any will do.
    pub(crate) fn explicit(self) -> Option<Backend> {
        match self {
            Self::Auto => None,
            Self::CgroupV2 => Some(Backend::CgroupV2),
            Self::CgroupV1 => Some(Backend::CgroupV1),
            Self::Hybrid => Some(Backend::Hybrid),
            Self::ProcessGroup => Some(Backend::ProcessGroup),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SystemdChoice {
    Auto,
    Never,
}

impl From<SystemdChoice> for Systemd {
    fn from(choice: SystemdChoice) -> Self {
        match choice {
            SystemdChoice::Auto => Self::Auto,
            SystemdChoice::Never => Self::Never,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Makes it hold for everything that is printed from now on.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}
