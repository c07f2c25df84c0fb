//! Deadlines, also on slow machines. For every suite of the workspace, each of which includes this file.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "every test binary compiles this and uses a part of it"
)]

use std::time::{Duration, Instant};

use containment_core::Policy;

/// `time`, times `CONTAIN_TIME_SCALE` where that is set: emulated machines are slow.
pub(crate) fn scaled(time: Duration) -> Duration {
    let scale = std::env::var("CONTAIN_TIME_SCALE").ok().and_then(|scale| scale.parse().ok());
    time.mul_f64(scale.unwrap_or(1.0))
}

/// How long anything may take: generous, and scaled for emulated machines.
pub(crate) fn deadline() -> Duration {
    scaled(Duration::from_secs(30))
}

/// Waits until `happened`, looking again after pauses; fails with `what` at the deadline.
#[track_caller]
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + deadline();
    while !happened() {
        assert!(Instant::now() < until, "it did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The same policy with the time that an emulated machine takes to freeze and to kill.
pub(crate) fn patient(policy: &Policy) -> Policy {
    let (freeze_timeout, kill_timeout) =
        (scaled(policy.freeze_timeout), scaled(policy.kill_timeout));
    Policy { freeze_timeout, kill_timeout, ..policy.clone() }
}
