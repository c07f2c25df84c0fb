//! The subcommands that act on a group by its name.

mod support;

use std::fs::File;
use std::process::Command;

use containment::{Pid, ProcessState, Signal};
use containment_process::proc::Stat;
use serde_json::{Value, json};
use support::backends::{entry, on_each_backend, run_on};
use support::eventually;
use support::job::{Ended, Job, Running};

on_each_backend!(
    the_members_of_a_living_run_are_listed_and_measured,
    a_living_run_is_frozen_and_thawed,
    a_signal_reaches_every_member,
    a_kill_empties_the_group_of_a_living_run,
    waiting_ends_with_the_last_member_or_the_time,
    a_group_that_is_not_there_is_told_by_status_3,
    what_is_not_understood_is_told_by_status_2,
);

/// Makes a test of each scenario on each backend whose groups can be empty.
macro_rules! on_each_cgroup_backend {
    ($($scenario:ident),+ $(,)?) => { $(mod $scenario {
        #[test]
        fn on_cgroup_v2() {
            super::run_on("cgroup-v2", super::$scenario);
        }
        #[test]
        fn on_cgroup_v1() {
            super::run_on("cgroup-v1", super::$scenario);
        }
        #[test]
        fn on_hybrid() {
            super::run_on("hybrid", super::$scenario);
        }
    })+ };
}

on_each_cgroup_backend!(
    a_created_group_stays_until_it_is_removed,
    exec_gives_the_status_of_its_program,
    exec_loses_no_status_where_sigchld_is_ignored,
    exec_passes_signals_on_to_its_program_alone,
    exec_that_is_killed_leaves_its_program_in_the_group,
    a_kill_ends_exec_and_the_group_can_be_used_again,
    running_processes_are_attached,
    limits_are_changed_or_refused_with_a_reason,
    what_is_done_to_a_group_is_done_to_its_sub_groups,
    groups_around_a_new_one_are_made_and_can_be_named,
    a_group_that_holds_the_caller_is_neither_frozen_nor_killed,
    a_frozen_group_takes_nobody_in_and_can_be_killed,
    usage_is_watched_until_the_group_is_gone,
    what_others_removed_can_be_struck_off_the_record,
);

/// A program with a member in another session, and one of its own.
const PROGRAM: &str =
    "setsid sleep 1000.MARK & sleep 1001.MARK & echo up >DIR/up; exec sleep 1002.MARK";

#[test]
fn whatever_cannot_be_printed_is_told_in_the_same_words() {
    let job = Job::on("auto");
    let running = living_run(&job);
    for words in [
        &["ls"] as &[&str],
        &["ls", "--json"],
        &["gc", "--dry-run"],
        &["gc", "--dry-run", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["man"],
        &["completions", "bash"],
        &["report", "--json", "/dev/null"],
        &["ps", job.name()],
        &["ps", job.name(), "--json"],
        &["stat", job.name()],
        &["stat", job.name(), "--json", "--watch", "0"],
        &["kill", job.name(), "--json"],
    ] {
        let mut command = command(&job, words);
        command.stdout(File::options().write(true).open("/dev/full").expect("it can be opened"));
        let ended = job.launch(&mut command).finish_unchecked().expect(1);
        let line = ended.stderr.lines().last().unwrap_or_default();
        assert!(line.starts_with("contain: failed to print the "), "{words:?}: {line}");
        assert!(line.ends_with("(ENOSPC); check stdout"), "{words:?}: {line}");
    }
    running.finish();
}

/// `contain WORDS`, on the job's record.
fn command(job: &Job, words: &[&str]) -> Command {
    let mut command = job.bare_command();
    command.args(words);
    command
}

fn contain(job: &Job, words: &[&str]) -> Ended {
    job.launch(&mut command(job, words)).finish_unchecked()
}

fn document(job: &Job, words: &[&str]) -> Value {
    contain(job, words).expect(0).document()
}

fn living_run(job: &Job) -> Running<'_> {
    let running = job.start_sh(&["--grace", "0"], PROGRAM);
    job.await_line("up");
    eventually("all of it sleeps", || sleepers(job) == 3);
    running
}

fn sleepers(job: &Job) -> usize {
    job.processes().iter().filter(|process| process.comm == "sleep").count()
}

fn create(job: &Job, backend: &str) {
    contain(job, &["create", "--backend", backend, job.name()]).expect(0);
}

/// `contain exec NAME sh -c SCRIPT`, under way.
fn start_exec<'a>(job: &'a Job, script: &str) -> Running<'a> {
    let script = job.script(script);
    job.launch(&mut command(job, &["exec", job.name(), "--", "sh", "-c", &script]))
}

fn the_members_of_a_living_run_are_listed_and_measured(backend: &str) {
    let job = Job::on(backend);
    let running = living_run(&job);
    let members = document(&job, &["ps", "--json", job.name()]);
    let members = members.as_array().expect("an array");
    assert_eq!(members.len(), 3, "{members:?}");
    for member in members {
        assert_eq!(member["comm"], "sleep");
        assert!(member["pid"].as_i64() > Some(1) && member["parent"].is_i64(), "{member}");
        let state = member["state"].as_str().expect("a text");
        assert!(["S", "R", "D"].contains(&state), "{member}");
        assert!(member["cpu_seconds"].is_f64() && member["memory_bytes"].is_u64(), "{member}");
    }
    let table = contain(&job, &["ps", job.name()]).expect(0).stdout;
    assert!(table.starts_with("PID") && table.lines().count() == 4, "{table}");
    let usage = document(&job, &["stat", "--json", job.name()]);
    assert!(usage.get("cpu_seconds").is_some() && usage.get("oom_kills").is_some(), "{usage}");
    let table = contain(&job, &["stat", job.name()]).expect(0).stdout;
    for (figure, row) in [("memory_bytes", "memory "), ("pids", "pids ")] {
        let has = table.lines().any(|line| line.starts_with(row));
        assert_eq!(has, !usage[figure].is_null(), "{row}: {table}");
    }
    assert!(!table.is_empty());
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

fn a_living_run_is_frozen_and_thawed(backend: &str) {
    let job = Job::on(backend);
    let running = living_run(&job);
    if has(backend, "freeze", "none") {
        contain(&job, &["freeze", job.name()]).expect(6);
    } else {
        contain(&job, &["freeze", job.name()]).expect(0);
        assert_eq!(document(&job, &["ls", "--json"])[0]["frozen"], true);
        contain(&job, &["thaw", job.name()]).expect(0);
        assert_eq!(document(&job, &["ls", "--json"])[0]["frozen"], false);
    }
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

/// Whether the doctor says `value` of this capability.
fn has(backend: &str, capability: &str, value: &str) -> bool {
    entry(support::backends::doctor(), backend)["capabilities"][capability] == value
}

fn a_signal_reaches_every_member(backend: &str) {
    let job = Job::on(backend);
    let script = "(trap 'echo got >DIR/inner; exit 0' USR1; echo up >DIR/up-inner; LOOP) & \
        trap 'echo got >DIR/outer; wait; exit 0' USR1; echo up >DIR/up-outer; LOOP";
    let script = script.replace("LOOP", "while :; do sleep 0.01; done");
    let running = job.start_sh(&[], &script);
    job.await_line("up-inner");
    job.await_line("up-outer");
    contain(&job, &["signal", job.name(), "USR1"]).expect(0);
    assert_eq!(job.await_line("inner"), "got");
    assert_eq!(job.await_line("outer"), "got");
    running.finish().expect(0);
}

fn a_kill_empties_the_group_of_a_living_run(backend: &str) {
    let job = Job::on(backend);
    let running = living_run(&job);
    let teardown = document(&job, &["kill", "--json", job.name()]);
    assert_eq!(teardown["survivors"], json!([]), "{teardown}");
    assert!(teardown["seconds"].is_f64() && teardown["rounds"].is_u64(), "{teardown}");
    assert_eq!(sleepers(&job), 0, "it returns when nothing lives");
    running.finish().expect(137);
    assert_eq!(contain(&job, &["kill", job.name()]).status, Some(3));
}

fn waiting_ends_with_the_last_member_or_the_time(backend: &str) {
    let job = Job::on(backend);
    let running = living_run(&job);
    let late = contain(&job, &["wait", "--timeout", "100ms", job.name()]).expect(124);
    assert!(late.error_line().contains(job.name()), "{}", late.stderr);
    let waiting = job.launch(&mut command(&job, &["wait", job.name()]));
    let pid = Pid::new(waiting.pid()).unwrap();
    let waits = |stat: &Stat| stat.comm == "contain" && stat.state == ProcessState('S');
    eventually("it waits", || Stat::read(pid).unwrap().as_ref().is_some_and(waits));
    running.signal(Signal::TERM);
    waiting.finish_unchecked().expect(0);
    running.finish().expect(143);
}

fn a_group_that_is_not_there_is_told_by_status_3(backend: &str) {
    let job = Job::on(backend);
    let missing: [&[&str]; 11] = [
        &["ps", "NAME"],
        &["stat", "NAME"],
        &["set", "NAME", "--pids", "5"],
        &["freeze", "NAME"],
        &["thaw", "NAME"],
        &["signal", "NAME", "TERM"],
        &["kill", "NAME"],
        &["rm", "NAME"],
        &["rm", "--force", "NAME"],
        &["wait", "NAME"],
        &["attach", "NAME", "1"],
    ];
    for words in missing {
        let words: Vec<_> = words.iter().map(|word| word.replace("NAME", job.name())).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let refused = contain(&job, &words).expect(3);
        let line = refused.error_line();
        assert!(line.contains(job.name()) && line.contains("no such group"), "{line}");
        assert_eq!(refused.stdout, "");
    }
    contain(&job, &["exec", job.name(), "true"]).expect(125);
    let running = living_run(&job);
    let other = if backend == "cgroup-v1" { "hybrid" } else { "cgroup-v1" };
    contain(&job, &["--backend", other, "kill", job.name()]).expect(3);
    assert_eq!(contain(&job, &["--backend", backend, "ps", job.name()]).status, Some(0));
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

fn what_is_not_understood_is_told_by_status_2(backend: &str) {
    let job = Job::on(backend);
    let words: [&[&str]; 6] = [
        &["set", "x"],
        &["signal", "x", "NOPE"],
        &["attach", "x"],
        &["kill", "../x"],
        &["freeze", "x", "--timeout", "soon"],
        &["rm"],
    ];
    for words in words {
        let refused = contain(&job, words).expect(2);
        assert!(refused.error_line().contains("--help"), "{}", refused.stderr);
    }
    contain(&job, &["exec", "x"]).expect(125);
}

/// What has no members does not exist there, and nothing gets in from outside.
#[test]
fn process_groups_refuse_what_they_cannot_hold() {
    run_on("process-group", |backend| {
        let job = Job::on(backend);
        contain(&job, &["create", "--backend", backend, job.name()]).expect(6);
        let running = living_run(&job);
        for words in [
            &["exec", job.name(), "true"][..],
            &["attach", job.name(), &running.pid().to_string()],
            &["set", job.name(), "--pids", "5"],
        ] {
            let refused = contain(&job, words).expect(6);
            assert!(refused.error_line().contains(job.name()), "{}", refused.stderr);
        }
        assert_eq!(contain(&job, &["rm", job.name()]).status, Some(1));
        running.signal(Signal::TERM);
        running.finish().expect(143);
    });
}

fn a_created_group_stays_until_it_is_removed(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let listed = &document(&job, &["ls", "--json"])[0];
    assert_eq!((&listed["owner"], &listed["processes"]), (&json!("none"), &json!(0)));
    assert_eq!(listed["backend"], backend);
    assert_eq!(document(&job, &["gc", "--json"])["kept"], json!([job.name()]));
    let taken = contain(&job, &["create", "--backend", backend, job.name()]).expect(4);
    assert!(taken.error_line().contains(job.name()), "{}", taken.stderr);
    contain(&job, &["wait", job.name()]).expect(0);
    contain(&job, &["kill", job.name()]).expect(0);
    start_exec(&job, "setsid sleep 1000.MARK & exit 0").finish_unchecked().expect(0);
    let busy = contain(&job, &["rm", job.name()]).expect(1);
    assert!(busy.error_line().contains("--force"), "{}", busy.stderr);
    eventually("what lives there is not touched", || sleepers(&job) == 1);
    contain(&job, &["rm", "--force", job.name()]).expect(0);
    job.check_nothing_left();
    assert_eq!(document(&job, &["ls", "--json"]), json!([]));
    contain(&job, &["rm", job.name()]).expect(3);
}

fn exec_gives_the_status_of_its_program(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    start_exec(&job, "exit 7").finish_unchecked().expect(7);
    start_exec(&job, "kill -KILL $$").finish_unchecked().expect(137);
    let marked = start_exec(&job, "echo $CONTAIN_GROUP").finish_unchecked().expect(0);
    assert_eq!(json!(marked.stdout.trim()), document(&job, &["ls", "--json"])[0]["id"]);
    contain(&job, &["exec", job.name(), "/no/such/program"]).expect(127);
    contain(&job, &["exec", job.name(), "--", "/dev/null"]).expect(126);
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

/// Where SIGCHLD is ignored the kernel keeps no status.
fn exec_loses_no_status_where_sigchld_is_ignored(backend: &str) {
    let job = Job::on(backend).behind(&["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]);
    create(&job, backend);
    start_exec(&job, "exit 7").finish_unchecked().expect(7);
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

fn exec_passes_signals_on_to_its_program_alone(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let script = "setsid sleep 1000.MARK & trap 'exit 9' TERM; echo up >DIR/up; \
        while :; do sleep 0.01; done";
    let running = start_exec(&job, script);
    job.await_line("up");
    running.signal(Signal::TERM);
    running.finish_unchecked().expect(9);
    eventually("the daemon alone is left, and sleeps", || {
        let left = document(&job, &["ps", "--json", job.name()]);
        let left = left.as_array().expect("an array");
        left.len() == 1 && left[0]["comm"] == "sleep"
    });
    contain(&job, &["rm", "--force", job.name()]).expect(0);
    job.check_nothing_left();
}

fn exec_that_is_killed_leaves_its_program_in_the_group(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let running = start_exec(&job, "echo up >DIR/up; exec sleep 1000.MARK");
    job.await_line("up");
    running.signal(Signal::KILL);
    assert_eq!(running.finish_unchecked().status, None);
    let left = document(&job, &["ls", "--json"]);
    assert_eq!(left[0]["processes"], 1, "{left}");
    contain(&job, &["rm", "--force", job.name()]).expect(0);
    job.check_nothing_left();
}

fn a_kill_ends_exec_and_the_group_can_be_used_again(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let script = "(trap '' TERM; exec sleep 1000.MARK) & echo up >DIR/up; exec sleep 1001.MARK";
    let running = start_exec(&job, script);
    job.await_line("up");
    eventually("both sleep", || sleepers(&job) == 2);
    contain(&job, &["kill", "--grace", "100ms", job.name()]).expect(0);
    // The first signal ends the program, and who ignores that one is killed.
    running.finish_unchecked().expect(143);
    assert_eq!(sleepers(&job), 0);
    start_exec(&job, "exit 3").finish_unchecked().expect(3);
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

fn running_processes_are_attached(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let mut outside = job.bare_command();
    outside.arg("doctor");
    let outside = outside.get_envs().find(|(name, _)| *name == "CONTAIN_TEST_MARK");
    let (mark, value) = outside.expect("it is marked");
    let mut sleeper = Command::new("sleep");
    let mut sleeper = sleeper.arg("1000").env(mark, value.unwrap()).spawn().unwrap();
    let pid = sleeper.id().to_string();
    contain(&job, &["attach", job.name(), &pid]).expect(0);
    let members = document(&job, &["ps", "--json", job.name()]);
    assert_eq!(members[0]["pid"].to_string(), pid);
    contain(&job, &["kill", job.name()]).expect(0);
    assert!(!sleeper.wait().unwrap().success());
    // It was reaped: nobody has that pid now.
    let gone = contain(&job, &["attach", job.name(), &pid]).expect(1);
    let said = gone.error_line();
    assert!(
        said.contains(&pid) && said.contains("it has ended") && said.ends_with("; check the pid"),
        "{said}"
    );
    let init = contain(&job, &["attach", job.name(), "1"]).expect(1);
    let said = init.error_line();
    assert!(said.contains("init process") && said.contains("; name the process"), "{said}");
    assert_eq!(document(&job, &["ps", "--json", job.name()]), json!([]));
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

fn limits_are_changed_or_refused_with_a_reason(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let doctor = entry(support::backends::doctor(), backend);
    let limits = doctor["capabilities"]["limits"].as_array().expect("a list");
    if limits.contains(&json!("pids")) {
        contain(&job, &["set", job.name(), "--pids", "2"]).expect(0);
        let forks = "sleep 0.1 & sleep 0.1 & sleep 0.1 & wait";
        let ended = start_exec(&job, forks).finish_unchecked();
        assert!(ended.stderr.contains("fork"), "{ended:?}");
        contain(&job, &["set", job.name(), "--pids", "max"]).expect(0);
        let ended = start_exec(&job, forks).finish_unchecked().expect(0);
        assert_eq!(ended.stderr, "");
    } else {
        let refused = contain(&job, &["set", job.name(), "--pids", "2"]).expect(6);
        assert!(refused.error_line().contains("pids"), "{}", refused.stderr);
    }
    contain(&job, &["rm", "--force", job.name()]).expect(0);
    job.check_nothing_left();
}

fn what_is_done_to_a_group_is_done_to_its_sub_groups(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let inner = format!("{}/inner", job.name());
    contain(&job, &["create", "--backend", backend, &inner]).expect(0);
    let script = job.script("setsid sleep 1000.MARK & exit 0");
    contain(&job, &["exec", &inner, "sh", "-c", &script]).expect(0);
    let members = document(&job, &["ps", "--json", job.name()]);
    assert_eq!(members.as_array().map(Vec::len), Some(1), "{members}");
    contain(&job, &["wait", "--timeout", "50ms", job.name()]).expect(124);
    contain(&job, &["rm", job.name()]).expect(1);
    contain(&job, &["kill", job.name()]).expect(0);
    assert_eq!(document(&job, &["ps", "--json", &inner]), json!([]), "the sub-group stays");
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
    assert_eq!(document(&job, &["ls", "--json"]), json!([]));
}

fn a_group_that_holds_the_caller_is_neither_frozen_nor_killed(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let binary = support::binary();
    let binary = binary.to_str().expect("paths of builds are UTF-8");
    for act in [&["kill", "--grace", "0"][..], &["freeze"]] {
        let words = [&["exec", job.name(), binary][..], act, &[job.name()]].concat();
        let refused = contain(&job, &words).expect(1);
        assert!(refused.error_line().contains("holds the caller"), "{}", refused.stderr);
    }
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

fn a_frozen_group_takes_nobody_in_and_can_be_killed(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    start_exec(&job, "setsid sleep 1000.MARK & exit 0").finish_unchecked().expect(0);
    contain(&job, &["freeze", job.name()]).expect(0);
    let refused = contain(&job, &["exec", job.name(), "true"]).expect(125);
    assert!(refused.error_line().contains("frozen"), "{}", refused.stderr);
    contain(&job, &["kill", job.name()]).expect(0);
    assert_eq!(sleepers(&job), 0);
    contain(&job, &["exec", job.name(), "true"]).expect(0);
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
}

fn usage_is_watched_until_the_group_is_gone(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    let output = job.path("watched");
    let mut watch = command(&job, &["stat", "--json", "--watch", "10ms", job.name()]);
    let watching = job.launch(watch.stdout(std::fs::File::create(&output).unwrap()));
    eventually("it was looked at again", || job.text("watched").lines().count() > 2);
    contain(&job, &["rm", job.name()]).expect(0);
    watching.finish_unchecked().expect(0);
    for line in job.text("watched").lines() {
        let usage: Value = serde_json::from_str(line).expect("a document on each line");
        assert!(usage.get("pids").is_some(), "{usage}");
    }
    job.check_nothing_left();
}

fn what_others_removed_can_be_struck_off_the_record(backend: &str) {
    let job = Job::on(backend);
    create(&job, backend);
    for directory in support::traces::groups_called(job.name()) {
        std::fs::remove_dir(directory).expect("it is empty");
    }
    contain(&job, &["ps", job.name()]).expect(3);
    contain(&job, &["rm", job.name()]).expect(0);
    assert_eq!(document(&job, &["ls", "--json"]), json!([]));
}

fn groups_around_a_new_one_are_made_and_can_be_named(backend: &str) {
    let job = Job::on(backend);
    let middle = format!("{}/middle", job.name());
    let inner = format!("{middle}/inner");
    contain(&job, &["create", "--backend", backend, &inner]).expect(0);
    let script = job.script("setsid sleep 1000.MARK & exit 0");
    contain(&job, &["exec", &inner, "sh", "-c", &script]).expect(0);
    for name in [job.name(), &middle, &inner] {
        let members = document(&job, &["ps", "--json", name]);
        assert_eq!(members.as_array().map(Vec::len), Some(1), "{name}: {members}");
    }
    contain(&job, &["create", "--backend", backend, &middle]).expect(4);
    contain(&job, &["rm", "--force", &inner]).expect(0);
    contain(&job, &["ps", &middle]).expect(0);
    contain(&job, &["rm", job.name()]).expect(0);
    job.check_nothing_left();
    assert_eq!(document(&job, &["ls", "--json"]), json!([]));
}
