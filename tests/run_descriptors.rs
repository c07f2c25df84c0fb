//! K32 for `contain run` itself: with hardly any descriptors, or without `/dev/null`, it fails or works,
//! but leaves nothing, never spins, and waits for nothing that it cannot see.

mod support;

use std::time::Duration;

use containment::Signal;
use support::backends::on_each_backend;
use support::job::{Job, signal};
use support::shapes::{can_be_made, namespace};
use support::{eventually, scaled};

on_each_backend!(
    k32_however_few_descriptors_nothing_is_left,
    k22_without_dev_null_a_killed_contain_leaves_nothing,
    without_dev_null_one_guardian_stands,
    streams_that_are_closed_are_the_null_device,
    a_stderr_that_nobody_reads_ends_nothing,
);

fn limited_to(descriptors: u32) -> Vec<String> {
    let script = format!("ulimit -n {descriptors} && exec \"$@\"");
    ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

fn k32_however_few_descriptors_nothing_is_left(backend: &str) {
    for descriptors in 4..28 {
        let job = Job::on(backend).behind(&limited_to(descriptors));
        let ended = job.sh(&["--grace", "0"], "exit 3");
        assert!(matches!(ended.status, Some(3 | 125)), "{descriptors}: {ended:#?}");
        assert!(ended.took < scaled(Duration::from_secs(4)), "{descriptors}: {ended:#?}");
        let on_record = std::fs::read_dir(job.path("state"));
        let on_record: Vec<_> = on_record.into_iter().flatten().flatten().collect();
        assert!(on_record.is_empty(), "{descriptors}: {on_record:?}");
    }
}

fn k22_without_dev_null_a_killed_contain_leaves_nothing(backend: &str) {
    if !can_be_made("a host without /dev/null") {
        return;
    }
    let job = Job::on(backend).behind(&namespace("mount -t tmpfs none /dev"));
    let running = job.start_sh(&[], "echo up >DIR/up; exec sleep 1000.MARK");
    job.await_line("up");
    signal(running.pid(), Signal::KILL);
    eventually("nothing is left of it", || {
        job.processes().is_empty() && support::traces::groups_called(job.name()).is_empty()
    });
}

/// In a namespace of pids each new process takes the next number.
fn without_dev_null_one_guardian_stands(backend: &str) {
    if !can_be_made("a namespace of pids without /dev/null") {
        return;
    }
    let pids = ["unshare", "-p", "--fork", "--mount-proc"].map(str::to_owned);
    let words: Vec<_> = pids.into_iter().chain(namespace("mount -t tmpfs none /dev")).collect();
    let job = Job::on(backend).behind(&words);
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do for j in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; done; \
        sh -c 'echo $$'";
    let ended = job.start_sh(&[], script).finish_unchecked().expect(0);
    let last: u32 = ended.stdout.trim().parse().expect("a pid");
    assert!((100..120).contains(&last), "{last} processes were made: {ended:#?}");
}

/// Else the report, the registry or the group would be the program's standard input.
fn streams_that_are_closed_are_the_null_device(backend: &str) {
    let job = Job::on(backend).behind(&["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"]);
    let script =
        "all=$(for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done); echo \"$all\" >DIR/streams";
    job.sh(&[], script).expect(0);
    assert_eq!(job.text("streams"), "/dev/null\n".repeat(3));
}

/// What is said there, here what was used, must not be the end of who says it. The program has SIGPIPE as it was.
fn a_stderr_that_nobody_reads_ends_nothing(backend: &str) {
    let job = Job::on(backend);
    let script = job.script("grep SigIgn /proc/$$/status >DIR/ignored; exit 3");
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    let mut command = job.command(&["--stats"], &["sh", "-c", &script]);
    job.launch(command.stderr(writer)).finish().expect(3);
    let ignored = job.text("ignored");
    let set = u64::from_str_radix(ignored.trim_start_matches("SigIgn:").trim(), 16);
    assert!(set.is_ok_and(|set| set & 1 << 12 == 0), "{ignored}");
}
