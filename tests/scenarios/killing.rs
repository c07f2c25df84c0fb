//! Kills: of whom, and what holds when they return.

use std::fs;

use containment::Signal;

use crate::stage::{contain, create, document, exec, three};
use crate::support::job::Job;
use crate::support::{binary, eventually, traces};

/// A member of 200 MB, which the kernel takes a while to take back.
pub(crate) fn k09_a_large_member_is_waited_for_before_the_removal(backend: &str) {
    let job = Job::on(backend);
    // `dd` holds it all from the first byte on that it writes, which is as far as it gets.
    let script = "dd if=/dev/zero bs=200M count=1 2>/dev/null | \
        (head -c 1 >/dev/null; echo up >DIR/up; exec sleep 1000.MARK)";
    let running = job.start_sh(&["--grace", "0"], script);
    job.await_line("up");
    running.signal(Signal::TERM);
    let ended = running.finish().expect(143);
    assert_eq!(ended.report()["teardown"]["errors"].as_array().map(Vec::len), Some(0));
}

/// `sleep` reaps nobody, so that its child stays a zombie.
pub(crate) fn k10_and_k41_zombies_are_no_members(backend: &str) {
    let job = Job::on(backend);
    let running = job.start_sh(&["--grace", "0"], "sh -c 'exit 0' & exec sleep 1000.MARK");
    let session = running.pid();
    eventually("there is a zombie", || !traces::zombies(session, &[]).is_empty());
    let listed = document(&job, &["ps", job.name(), "--json"]);
    let states: Vec<_> = listed.as_array().expect("a list").iter().map(|m| &m["state"]).collect();
    assert!(states.len() == 1 && states[0] != "Z", "{listed}");
    contain(&job, &["kill", job.name()]).expect(0);
    running.finish().expect(137);
}

/// A file that a member writes to does not grow any more from the moment that the kill returns.
pub(crate) fn k21_nothing_runs_when_the_kill_returns(backend: &str) {
    let job = Job::on(backend);
    let script = "while :; do echo x >>DIR/out; done & while :; do echo y >>DIR/out; done";
    let running = job.start_sh(&["--grace", "0"], script);
    let size = || fs::metadata(job.path("out")).map_or(0, |file| file.len());
    eventually("it writes", || size() > 100);
    contain(&job, &["kill", job.name()]).expect(0);
    let returned = size();
    running.finish().expect(137);
    assert_eq!(size(), returned);
}

/// Each starts the next one, with a cleared environment, and ends.
pub(crate) fn k24_members_that_replace_themselves_are_ended(backend: &str) {
    let job = Job::on(backend);
    let again = "echo x >>DIR/generations\nenv -i PATH=/usr/bin:/bin sh DIR/again MARK &\n";
    fs::write(job.path("again"), job.script(again)).expect("the directory is ours");
    let running = job.start_sh(&["--grace", "0"], "sh DIR/again MARK & exec sleep 1000.MARK");
    eventually("there are generations", || job.text("generations").len() > 40);
    contain(&job, &["kill", job.name()]).expect(0);
    running.finish().expect(137);
}

pub(crate) fn k38_the_group_that_holds_the_caller_is_not_killed(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend, job.name());
    let script =
        format!("{} kill {} 2>DIR/said; echo $? >DIR/status", binary().display(), job.name());
    exec(&job, job.name(), &script).finish_unchecked().expect(0);
    assert_eq!(job.text("status"), "1\n", "{}", job.text("said"));
    assert!(job.text("said").contains("outside"), "{}", job.text("said"));
    contain(&job, &["rm", job.name()]).expect(0);
    // From outside it works.
    let running = three(&job);
    contain(&job, &["kill", job.name()]).expect(0);
    running.finish().expect(137);
}
