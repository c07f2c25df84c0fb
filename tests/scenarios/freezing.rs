//! Groups that are frozen: when they are killed, when their supervisor dies, when a program is to enter.

use std::process::Command;

use crate::stage::{contain, create, document, exec, sleepers, three};
use crate::support::backends::{have, skip};
use crate::support::job::Job;
use crate::support::{binary, eventually, traces};

pub(crate) fn k01_a_frozen_group_dies(backend: &str) {
    let job = Job::on(backend);
    let running = three(&job);
    contain(&job, &["freeze", job.name()]).expect(0);
    contain(&job, &["kill", job.name()]).expect(0);
    running.finish().expect(137);
}

pub(crate) fn k02_a_nested_frozen_group_dies(backend: &str) {
    let job = Job::on(backend);
    let inner = format!("{}/a/b", job.name());
    create(&job, backend, &inner);
    let program = exec(&job, &inner, "exec sleep 1000.MARK");
    eventually("it sleeps", || sleepers(&job) == 1);
    contain(&job, &["freeze", &inner]).expect(0);
    contain(&job, &["kill", job.name()]).expect(0);
    program.finish_unchecked().expect(137);
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

pub(crate) fn k06_what_was_frozen_when_its_supervisor_died_is_ended_by_gc(backend: &str) {
    let job = Job::on(backend);
    let running = three(&job);
    contain(&job, &["freeze", job.name()]).expect(0);
    job.kill_contain();
    assert_eq!(running.finish_unchecked().status, None, "it was killed");
    // A stopped process group that is orphaned the kernel hangs up; who is in another one stays.
    assert!(sleepers(&job) > 0, "nobody was left to end them");
    let collected = document(&job, &["gc", "--json"]);
    assert_eq!(collected["removed"][0], job.name(), "{collected}");
    eventually("nothing lives", || job.processes().is_empty());
    job.check_nothing_left();
}

pub(crate) fn k07_a_frozen_group_takes_no_program_and_nobody_hangs(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend, job.name());
    contain(&job, &["freeze", job.name()]).expect(0);
    let refused = exec(&job, job.name(), "echo ran >DIR/ran").finish_unchecked().expect(125);
    assert!(refused.error_line().contains("frozen"), "{}", refused.stderr);
    assert_eq!(job.text("ran"), "", "it must not run");
    contain(&job, &["thaw", job.name()]).expect(0);
    exec(&job, job.name(), "echo ran >DIR/ran").finish_unchecked().expect(0);
    assert_eq!(job.text("ran"), "ran\n");
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

/// Its number on every architecture.
const CLONE3: &str = "435 ";

/// `contain` is delayed between its look at the group and the clone of the program, and the group is frozen then.
/// Without a report, for a group with a memory controller of its own holds who starts a program in it: nobody freezes
/// one.
pub(crate) fn k07_who_is_frozen_before_the_exec_holds_nobody(backend: &str) {
    if !have("strace", &["strace"]) {
        return;
    }
    let delay = "inject=clone3:delay_enter=1000000";
    let tracer = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", delay];
    let job = Job::on(backend).behind(&tracer);
    let script = job.script("echo ran >DIR/ran");
    let words = ["run", "--backend", backend, "--name", job.name(), "--", "sh", "-c", &script];
    let running = job.launch(job.bare_command().args(words));
    let call = format!("/proc/{}/syscall", running.pid());
    eventually("it is about to clone", || {
        std::fs::read_to_string(&call).is_ok_and(|call| call.starts_with(CLONE3))
    });
    let groups = traces::groups_called(job.name());
    if groups.iter().any(|group| group.join("memory.max").exists()) {
        skip("frozen-before-exec", "each group has a memory controller of its own here");
        running.finish_unchecked().expect(0);
        return job.check_nothing_left();
    }
    let mut freeze = Command::new(binary());
    job.settle(&mut freeze);
    assert!(freeze.args(["freeze", job.name()]).status().unwrap().success());
    let refused = running.finish_unchecked().expect(125);
    assert!(refused.error_line().contains("frozen"), "{}", refused.stderr);
    assert_eq!(job.text("ran"), "", "it must not run");
    job.check_nothing_left();
}
