//! What scenarios share: a running job of three, subcommands on its record.

use serde_json::Value;

use crate::support::eventually;
use crate::support::job::{Ended, Job, Running};

/// A program with a member in another session, and one that ignores SIGTERM.
const THREE: &str = "setsid sleep 1000.MARK & (trap '' TERM; exec sleep 1001.MARK) & \
    echo up >DIR/up; exec sleep 1002.MARK";

/// A run of three processes, all of them up.
pub(crate) fn three(job: &Job) -> Running<'_> {
    let running = job.start_sh(&["--grace", "0"], THREE);
    job.await_line("up");
    eventually("each has become what it is to be", || sleepers(job) == 3);
    running
}

/// How many processes of the job sleep.
pub(crate) fn sleepers(job: &Job) -> usize {
    job.processes().iter().filter(|process| process.comm == "sleep").count()
}

/// `contain WORDS…`, on the job's record, run to its end.
pub(crate) fn contain(job: &Job, words: &[&str]) -> Ended {
    job.launch(job.bare_command().args(words)).finish_unchecked()
}

/// What `contain WORDS…` prints, as a JSON document.
pub(crate) fn document(job: &Job, words: &[&str]) -> Value {
    contain(job, words).expect(0).document()
}

/// Makes the empty group `name`.
pub(crate) fn create(job: &Job, backend: &str, name: &str) {
    contain(job, &["create", "--backend", backend, name]).expect(0);
}

/// `contain exec NAME -- sh -c SCRIPT`, under way.
pub(crate) fn exec<'a>(job: &'a Job, name: &str, script: &str) -> Running<'a> {
    let script = job.script(script);
    job.launch(job.bare_command().args(["exec", name, "--", "sh", "-c", &script]))
}
