//! Groups that are frozen: when they are killed, when their supervisor dies, when a program is to enter.

use crate::stage::{contain, create, document, exec, sleepers, three};
use crate::support::eventually;
use crate::support::job::Job;

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
