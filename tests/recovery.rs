//! What becomes of groups whose owner died without ending them: `contain ls` and `contain gc`.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use containment::registry::{Registry, Tenure};
use containment::{Backend, Containment, GroupName, Signal};
use serde_json::{Value, json};
use support::backends::{on_each_backend, run_on};
use support::eventually;
use support::job::{Ended, Job};

on_each_backend!(
    k22_with_its_guardian_killed_too_gc_ends_the_group,
    k22_a_living_owners_group_is_never_touched,
    what_is_kept_stays_until_it_is_removed,
    a_run_leaves_nothing_on_record,
    a_state_directory_that_cannot_be_used_costs_recovery_only,
    k22_a_state_directory_that_takes_no_file_costs_no_guardian,
    a_killed_contain_loses_no_status_of_what_is_kept,
);

/// A program with a daemon, and a member that ignores SIGTERM.
const PROGRAM: &str = "setsid sleep 1000.MARK & (trap '' TERM; exec sleep 1001.MARK) & \
    echo up >DIR/up; exec sleep 1002.MARK";

/// Another subcommand, with the state directory of the job.
fn contain(job: &Job, words: &[&str]) -> Ended {
    let mut command: Command = job.bare_command();
    job.launch(command.args(words)).finish_unchecked()
}

fn document(job: &Job, words: &[&str]) -> Value {
    let ended = contain(job, words).expect(0);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// What is in the state directory.
fn on_record(job: &Job) -> Vec<PathBuf> {
    let entries = fs::read_dir(job.path("state")).expect("it was made");
    entries.map(|entry| entry.expect("it can be read").path()).collect()
}

fn started(job: &Job, options: &[&str]) -> i32 {
    let running = job.start_sh(options, PROGRAM);
    job.await_line("up");
    eventually("each has become what it is to be", || sleepers(job) == 3);
    let pid = running.pid();
    std::mem::forget(running);
    pid
}

fn sleepers(job: &Job) -> usize {
    job.processes().iter().filter(|process| process.comm == "sleep").count()
}

fn k22_with_its_guardian_killed_too_gc_ends_the_group(backend: &str) {
    let job = Job::on(backend);
    started(&job, &[]);
    job.kill_contain();
    assert_eq!(sleepers(&job), 3, "nobody was left to end them");
    let listed = document(&job, &["ls", "--json"]);
    assert_eq!(listed[0]["name"], job.name());
    assert_eq!((&listed[0]["owner"], &listed[0]["processes"]), (&json!("dead"), &json!(3)));
    let dry = document(&job, &["gc", "--dry-run", "--json"]);
    assert_eq!(dry, json!({ "removed": [job.name()], "kept": [], "errors": [] }));
    assert_eq!(sleepers(&job), 3, "it only said what it would do");
    let collected = document(&job, &["gc", "--json"]);
    assert_eq!(collected, json!({ "removed": [job.name()], "kept": [], "errors": [] }));
    eventually("nothing lives", || job.processes().is_empty());
    job.check_nothing_left();
    assert_eq!(on_record(&job), [] as [PathBuf; 0]);
}

fn k22_a_living_owners_group_is_never_touched(backend: &str) {
    let job = Job::on(backend);
    let running = job.start_sh(&["--grace", "0"], PROGRAM);
    eventually("each has become what it is to be", || sleepers(&job) == 3);
    let listed = document(&job, &["ls", "--json"]);
    assert_eq!(listed[0]["owner"], "alive");
    assert_eq!(listed[0]["backend"], backend);
    let collected = document(&job, &["gc", "--json"]);
    assert_eq!(collected, json!({ "removed": [], "kept": [job.name()], "errors": [] }));
    assert_eq!(sleepers(&job), 3);
    running.signal(Signal::TERM);
    running.finish_unchecked().expect(143);
    eventually("nothing lives", || job.processes().is_empty());
    job.check_nothing_left();
}

fn what_is_kept_stays_until_it_is_removed(backend: &str) {
    let job = Job::on(backend);
    let script = "sleep 1000.MARK & exit 3";
    job.start_sh(&["--keep"], script).finish_unchecked().expect(3);
    let collected = document(&job, &["gc", "--json"]);
    assert_eq!(collected["kept"], json!([job.name()]));
    eventually("it lives on", || sleepers(&job) == 1);
    assert_eq!(document(&job, &["ls", "--json"])[0]["owner"], "none");
    let table = contain(&job, &["ls"]).expect(0).stdout;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines[1].starts_with(job.name()), "{table}");
}

fn a_run_leaves_nothing_on_record(backend: &str) {
    let job = Job::on(backend);
    job.sh(&[], "exit 4").expect(4);
    job.sh(&[], "setsid sleep 1000.MARK & exit 5").expect(5);
    assert_eq!(on_record(&job), [] as [PathBuf; 0]);
    assert_eq!(document(&job, &["ls", "--json"]), json!([]));
}

fn k22_a_state_directory_that_takes_no_file_costs_no_guardian(backend: &str) {
    let job = Job::on(backend);
    let running = job.start_sh(&["--state-dir", "/proc"], PROGRAM);
    job.await_line("up");
    support::job::signal(running.pid(), containment::Signal::KILL);
    eventually("nothing is left of it", || {
        job.processes().is_empty() && support::traces::groups_called(job.name()).is_empty()
    });
}

fn a_state_directory_that_cannot_be_used_costs_recovery_only(backend: &str) {
    let job = Job::on(backend);
    let state = job.path("elsewhere");
    fs::write(&state, "no directory").unwrap();
    let state = state.to_str().unwrap();
    let ended = job.sh(&["--state-dir", state], "setsid sleep 1000.MARK & exit 6").expect(6);
    assert!(ended.stderr.contains("cannot be recovered"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(state) && ended.stderr.contains("--state-dir"),
        "{}",
        ended.stderr
    );
    let refused = contain(&job, &["ls", "--state-dir", state]).expect(1);
    assert!(refused.error_line().contains(state), "{}", refused.stderr);
}

/// With orphans that are kept, how PROGRAM ends is known after `contain` was killed, too.
fn a_killed_contain_loses_no_status_of_what_is_kept(backend: &str) {
    let job = Job::on(backend);
    let gate = job.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("a pipe can be made");
    let script = "echo up >DIR/up; read go <DIR/gate; exit 7";
    let running = job.start_sh(&["--orphans", "keep"], script);
    job.await_line("up");
    running.signal(Signal::KILL);
    let killed = running.finish_unchecked();
    assert_eq!(killed.status, None, "a signal ended it");
    let listed = document(&job, &["ls", "--json"]);
    let program = &listed[0]["programs"][0];
    assert_eq!((&listed[0]["owner"], &program["outcome"]), (&json!("none"), &json!(null)));
    let pid = program["pid"].clone();
    drop(fs::File::options().write(true).open(&gate).expect("PROGRAM waits at it"));
    let waited = document(&job, &["wait", job.name(), "--json"]);
    assert_eq!(waited, json!([{ "pid": pid, "outcome": { "exited": 7 } }]));
    contain(&job, &["rm", job.name()]).expect(0);
    eventually("its keeper has ended", || job.processes().is_empty());
    job.check_nothing_left();
    assert_eq!(on_record(&job), [] as [PathBuf; 0]);
}

/// K38: a process group is not killed from within, by any subcommand.
#[test]
fn k38_a_process_group_is_not_ended_by_its_own_member() {
    run_on("process-group", |backend| {
        let job = Job::on(backend);
        let own = support::binary();
        let script = format!("{} kill NAME; exit $?", own.display()).replace("NAME", job.name());
        let ended = job.start_sh(&[], &script).finish().expect(1);
        assert!(ended.error_line().contains("it holds the caller"), "{}", ended.stderr);
    });
}

/// An owner that died before it could tell what the kernel knows its group by leaves a name and a mark.
#[test]
fn a_nested_group_is_found_by_its_name_and_its_mark() {
    for backend in ["cgroup-v2", "cgroup-v1", "hybrid"] {
        run_on(backend, |name| {
            let all = [Backend::CgroupV2, Backend::CgroupV1, Backend::Hybrid];
            let backend = all.into_iter().find(|known| known.name() == name).expect("a backend");
            let job = Job::on(name);
            let registry = Registry::open(Some(&job.path("state"))).unwrap();
            let nested: GroupName = format!("{}/in", job.name()).parse().unwrap();
            let claim = registry.claim(&nested, backend, None, Tenure::Owner).unwrap();
            let host = Containment::builder().backend(backend).build().unwrap();
            let group = host.group(nested.as_str()).create().unwrap();
            assert!(group.ops().leave_mark(&claim.entry().mark).unwrap());
            group.keep();
            let mut files = on_record(&job).into_iter();
            let is_entry = |path: &PathBuf| path.to_string_lossy().contains("/group-");
            let entry = files.find(is_entry).expect("it is on record");
            let mut text: Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
            assert_eq!(text["identity"], json!(null));
            text["owner"] = json!({ "pid": 1, "started": 1 });
            fs::write(&entry, text.to_string()).unwrap();
            let collected = registry.collect(false).unwrap();
            assert_eq!((collected.removed, collected.errors.len()), (vec![nested], 0));
            registry.close().unwrap();
            assert!(support::traces::groups_called("in").is_empty(), "it is gone");
        });
    }
}

/// K50: an entry that names a group which does not carry its mark is nobody's claim to it.
#[test]
fn k50_a_forged_entry_ends_nothing() {
    run_on("cgroup-v2", |backend| {
        let job = Job::on(backend);
        let running = job.start_sh(&["--grace", "0"], PROGRAM);
        eventually("each has become what it is to be", || sleepers(&job) == 3);
        let entry = on_record(&job)
            .into_iter()
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("group-"))
            .expect("it is on record");
        let text = fs::read_to_string(&entry).unwrap();
        let mut forged: Value = serde_json::from_str(&text).unwrap();
        forged["owner"] = json!({ "pid": 1, "started": 1 });
        forged["mark"] = json!("1.1.0");
        fs::write(&entry, forged.to_string()).unwrap();
        let collected = document(&job, &["gc", "--json"]);
        assert_eq!(collected["kept"], json!([]), "{collected}");
        assert_eq!(sleepers(&job), 3, "a stranger's group is not touched");
        running.signal(Signal::TERM);
        running.finish_unchecked().expect(143);
        eventually("nothing lives", || job.processes().is_empty());
    });
}

/// A helper is no command of a person's.
#[test]
fn a_helper_that_is_started_by_hand_says_what_it_is_for() {
    for role in ["guard", "keep"] {
        let ran = support::run(&[role]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.error_line().contains("helper(path)"), "{ran:?}");
    }
}
