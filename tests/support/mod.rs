//! What the tests of the command line share: the built binary, a run with a deadline, the report.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "every test binary compiles this and uses a part of it"
)]

pub(crate) mod backends;
pub(crate) mod hybrid;
pub(crate) mod isolation;
pub(crate) mod job;
pub(crate) mod must_run;
pub(crate) mod shapes;
pub(crate) mod terminal;
mod time;
pub(crate) mod traces;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
pub(crate) use time::*;

/// The path of the built `contain`.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_contain"))
}

/// The settings of whoever runs the tests, which tests run without.
pub(crate) const SETTINGS: [&str; 5] =
    ["CONTAIN_BACKEND", "CONTAIN_PARENT", "CONTAIN_LOG", "CONTAIN_GROUP", "CONTAIN_STATE_DIR"];

/// `contain`, without the settings of whoever runs the tests, ended at a deadline.
pub(crate) fn contain() -> Command {
    let mut command = Command::new(binary());
    for name in SETTINGS {
        command.env_remove(name);
    }
    command.timeout(deadline());
    command
}

/// `contain ARGUMENTS…`, run to its end.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    Ran::of(contain().args(arguments))
}

/// What a run left to look at.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit status.
    pub(crate) status: i32,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("contain can be run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        let status = output.status.code();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        let status = status
            .unwrap_or_else(|| panic!("ended by a signal or the deadline: {:?}", output.status));
        Self { status, stdout, stderr }
    }

    /// Stdout as a JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}, and {:?}", self.stdout, self.stderr))
    }

    /// The one line on stderr, which must say who speaks.
    pub(crate) fn error_line(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').expect("stderr ends with a newline");
        assert!(!line.contains('\n'), "more than one line: {line}");
        line.strip_prefix("contain: ").unwrap_or_else(|| panic!("not ours: {line}"))
    }
}

/// The report in `path`.
pub(crate) fn report(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("there is a report");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}
