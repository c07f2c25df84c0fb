//! Which backends this host has, and the skips that say so.
//!
//! `CONTAIN_MUST_RUN=cgroup-v2,process-group,…` turns the skip of what it names into a failure.

use std::sync::OnceLock;

use serde_json::Value;

use super::run;

/// Makes a test of each scenario on each backend that can be used so far.
#[allow(unused_macros, reason = "used by some of the test binaries")]
macro_rules! on_each_backend {
    ($($scenario:ident),+ $(,)?) => {
        mod cgroup_v2 {
            $(#[test]
            fn $scenario() {
                crate::support::backends::run_on("cgroup-v2", super::$scenario);
            })+
        }
        mod cgroup_v1 {
            $(#[test]
            fn $scenario() {
                crate::support::backends::run_on("cgroup-v1", super::$scenario);
            })+
        }
        mod hybrid {
            $(#[test]
            fn $scenario() {
                crate::support::backends::run_on("hybrid", super::$scenario);
            })+
        }
        mod process_group {
            $(#[test]
            fn $scenario() {
                crate::support::backends::run_on("process-group", super::$scenario);
            })+
        }
    };
}
#[allow(unused_imports, reason = "used by some of the test binaries")]
pub(crate) use on_each_backend;

/// Runs `scenario` on `backend`, or skips it with the reason that `contain doctor` gives.
pub(crate) fn run_on(backend: &str, scenario: fn(&str)) {
    match unusable(backend) {
        None => scenario(backend),
        Some(reason) => skip(backend, &reason),
    }
}

/// Why `backend` cannot be used on this host, unless it can.
pub(crate) fn unusable(backend: &str) -> Option<String> {
    let entry = entry(doctor(), backend);
    (entry["usable"] != true).then(|| entry["reason"].as_str().unwrap_or("no reason").to_owned())
}

/// What `contain doctor --json` says, asked once.
pub(crate) fn doctor() -> &'static Value {
    static DOCTOR: OnceLock<Value> = OnceLock::new();
    DOCTOR.get_or_init(|| run(&["doctor", "--json"]).json())
}

/// What a doctor's document says of `backend`.
pub(crate) fn entry<'a>(doctor: &'a Value, backend: &str) -> &'a Value {
    let backends = doctor["backends"].as_array().expect("backends is a list");
    backends.iter().find(|entry| entry["name"] == backend).expect("every backend is listed")
}

/// Says past the capturing of output that this test did not run, and why; fails where it must.
pub(crate) fn skip(what: &str, reason: &str) {
    super::must_run::skip(what, &reason);
}

/// Whether the programs are here; skips `what` where one is not.
pub(crate) fn have(what: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    match programs.iter().find(|name| !is_here(name)) {
        None => true,
        Some(missing) => {
            skip(what, &format!("{missing} is not installed"));
            false
        }
    }
}
