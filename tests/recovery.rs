//! What becomes of groups whose owner died without ending them: `contain ls` and `contain gc`.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use containment::registry::{Registry, Tenure};
use containment::{Backend, Containment, GroupName, Signal};
use serde_json::{Value, json};
use support::backends::{have, on_each_backend, run_on, skip};
use support::eventually;
use support::job::{Ended, Job};

on_each_backend!(
    k22_with_its_guardian_killed_too_gc_ends_the_group,
    several_gcs_at_once_are_in_nobodys_way,
    k22_a_living_owners_group_is_never_touched,
    what_is_kept_stays_until_it_is_removed,
    a_run_leaves_nothing_on_record,
    a_state_directory_that_cannot_be_used_costs_recovery_only,
    a_warning_of_the_state_directory_names_it_and_a_remedy,
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
    contain(job, words).expect(0).document()
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

/// Each finds the group on record, and whoever comes late that it is gone.
fn several_gcs_at_once_are_in_nobodys_way(backend: &str) {
    let job = Job::on(backend);
    started(&job, &[]);
    job.kill_contain();
    let collecting: Vec<_> = (0..4)
        .map(|_| {
            let mut gc = job.bare_command();
            let gc = gc.args(["gc", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            gc.spawn().expect("it can be run")
        })
        .collect();
    let mut removed = 0;
    for gc in collecting {
        let ended = gc.wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let collected: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&collected["kept"], &collected["errors"]), (&json!([]), &json!([])));
        removed += collected["removed"].as_array().unwrap().len();
    }
    assert!(removed >= 1);
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

/// How a state directory at DIR/state is spoiled (with root's rights, in a mount namespace of its own), why it
/// then cannot be used, and what there is to do.
const SPOILED: [(&str, &str, &str); 3] = [
    ("mount -t tmpfs -o mode=700,nr_inodes=1 none DIR/state", "(ENOSPC)", "free space there"),
    ("mount -t tmpfs -o mode=700,ro none DIR/state", "(EROFS)", "mount it writable"),
    ("chown 65534 DIR/state", "it belongs to another user", "name a directory of your own"),
];

fn a_warning_of_the_state_directory_names_it_and_a_remedy(backend: &str) {
    if !support::must_run::is_root("only root can mount") {
        return;
    }
    for (spoil, why, remedy) in SPOILED {
        let job = Job::on(backend);
        fs::create_dir(job.path("state")).unwrap();
        let prepare = job.script(&format!("{spoil} && exec \"$@\""));
        let job = job.behind(&["unshare", "--mount", "sh", "-c", &prepare, "sh"]);
        let state = job.path("state").display().to_string();
        let says_all = |line: &str| {
            line.contains(&state)
                && line.contains(why)
                && line.contains(remedy)
                && line.contains("--state-dir DIR")
        };
        let ended = job.sh(&[], "setsid sleep 1000.MARK & exit 6").expect(6);
        let warnings: Vec<_> = ended.stderr.lines().filter(|line| line.contains("WARN")).collect();
        assert!(warnings.len() == 1 && says_all(warnings[0]), "{spoil}: {}", ended.stderr);
        assert!(warnings[0].contains("cannot be recovered"), "{spoil}: {}", ended.stderr);
        if backend != "process-group" {
            // What is to stay, and could not be found again, is not made.
            let refused = contain(&job, &["--backend", backend, "create", job.name()]);
            assert!(matches!(refused.status, Some(1 | 5)), "{spoil}: {refused:?}");
            assert!(says_all(refused.error_line()), "{spoil}: {}", refused.stderr);
            assert!(support::traces::groups_called(job.name()).is_empty(), "{spoil}");
        }
    }
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

/// A hierarchy that is denied to `gc`, or to `rm`, is no proof that the group is not there: it stays on record,
/// with an error, until its directory there can be removed, too.
#[test]
fn a_hierarchy_that_is_denied_keeps_the_group_on_record() {
    for backend in ["cgroup-v1", "hybrid"] {
        run_on(backend, |backend| a_denied_hierarchy(backend, &["gc"]));
        run_on(backend, |backend| a_denied_hierarchy(backend, &["rm", "--force", "NAME"]));
    }
}

fn a_denied_hierarchy(backend: &str, words: &[&str]) {
    let Some(mount) = support::traces::mount_of("memory") else {
        return skip("cgroup-v1.memory", "the memory hierarchy is not mounted");
    };
    if !have("strace", &["strace"]) {
        return;
    }
    let job = Job::on(backend);
    started(&job, &["--memory", "200M"]);
    job.kill_contain();
    let words: Vec<_> = words.iter().map(|word| word.replace("NAME", job.name())).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut denied = Command::new("strace");
    denied.args(["-qqq", "-o", "/dev/null", "-e", "inject=openat:error=EACCES", "-P"]).arg(&mount);
    denied.arg(support::binary()).args(&words).env("CONTAIN_STATE_DIR", job.path("state"));
    let output = denied.output().expect("strace can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
    for part in
        [job.name(), "memory hierarchy", "(EACCES)", mount.to_str().expect("UTF-8"), "; make"]
    {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
    let left = support::traces::groups_called(job.name());
    assert!(left.len() == 1 && left[0].starts_with(&mount), "there alone: {left:?}");
    assert_eq!(document(&job, &["ls", "--json"])[0]["name"], job.name());
    contain(&job, &words).expect(0);
    eventually("nothing lives", || job.processes().is_empty());
    job.check_nothing_left();
    // The lock of the dead owner is `gc`'s to remove.
    let collected = document(&job, &["gc", "--json"]);
    assert_eq!(collected, json!({ "removed": [], "kept": [], "errors": [] }));
    assert_eq!(on_record(&job), [] as [PathBuf; 0]);
}

/// Process groups are ended together: what is wrong with one of them is in nobody else's way.
#[test]
fn a_process_group_that_cannot_be_ended_keeps_no_other_alive() {
    run_on("process-group", |backend| {
        let jobs = [(); 3].map(|()| Job::on(backend));
        let state = jobs[0].path("state");
        for job in &jobs {
            started(job, &["--state-dir", state.to_str().unwrap()]);
        }
        jobs.iter().for_each(Job::kill_contain);
        let spoilt = state.join(format!("program-{}=1-1", jobs[1].name()));
        fs::write(&spoilt, "{").unwrap();
        let ended = contain(&jobs[0], &["gc", "--json"]).expect(1);
        let collected = ended.document();
        assert_eq!(collected["removed"].as_array().unwrap().len(), 2, "{ended:?}");
        let errors = collected["errors"].to_string();
        assert!(
            errors.contains("no record of a program") && errors.contains(jobs[1].name()),
            "{errors}"
        );
        assert_eq!(jobs.each_ref().map(sleepers), [0, 3, 0]);
        fs::remove_file(&spoilt).unwrap();
        let collected = document(&jobs[0], &["gc", "--json"]);
        assert_eq!(collected, json!({ "removed": [jobs[1].name()], "kept": [], "errors": [] }));
        eventually("nothing lives", || jobs.iter().all(|job| job.processes().is_empty()));
        assert_eq!(on_record(&jobs[0]), [] as [PathBuf; 0]);
    });
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
        // It was written once more when the group was made.
        let written = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let mut forged = written.last().expect("it is on record").unwrap();
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
    for words in [&["guard"][..], &["keep"], &["guard", "--help"]] {
        let ran = support::run(words);
        assert_eq!(ran.status, 2, "{ran:?}");
        let line = ran.error_line();
        assert!(
            line.starts_with("failed to serve as a helper: programs that use the library start it"),
            "{line}"
        );
        assert!(line.contains("type contain run") && line.contains("helper(path)"), "{line}");
    }
}
