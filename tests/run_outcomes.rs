//! How runs end: statuses, time limits, what is left behind, and what `contain` was told about the
//! program and the report.

#[path = "support/first_thread.rs"]
mod first_thread;
mod support;

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use containment::Signal;
use first_thread::LIVES_WITHOUT;
use serde_json::{Value, json};
use support::backends::on_each_backend;
use support::job::{Job, signal};
use support::must_run::has_python;
use support::{deadline, eventually, scaled, traces};

on_each_backend!(
    the_exit_status_is_the_programs,
    a_program_that_dies_of_a_signal_ends_the_run_with_128_and_its_number,
    a_limit_on_the_size_of_files_is_an_error_and_ends_nobody_but_the_program,
    a_time_limit_ends_even_what_ignores_term,
    a_time_limit_that_is_not_reached_does_nothing,
    what_the_program_leaves_behind_is_ended_at_once_when_it_dies_of_term,
    k10_who_is_left_behind_without_its_first_thread_is_told_and_ended,
    k25_a_left_over_that_holds_stdout_does_not_hold_the_run,
    k27_the_grace_ends_when_nobody_is_left,
    without_grace_nobody_is_asked,
    the_kill_signal_is_the_one_that_was_chosen,
    a_stopped_member_dies_of_term,
    a_fork_storm_is_over_when_the_run_is,
    the_environment_and_the_directory_are_what_was_asked_for,
    streams_go_to_files,
    the_report_has_the_documented_shape,
    the_report_can_go_to_stderr,
    stats_are_a_table_on_stderr,
    what_is_kept_lives_on,
    a_requirement_is_met_or_nothing_runs,
    a_run_inside_a_run_is_held_by_both,
    the_end_of_the_outer_run_is_the_end_of_the_inner,
    a_name_may_have_levels,
);

fn the_exit_status_is_the_programs(backend: &str) {
    let statuses: Vec<i32> = (0..=255).collect();
    std::thread::scope(|scope| {
        for part in statuses.chunks(64) {
            scope.spawn(move || {
                for status in part {
                    let job = Job::on(backend);
                    let ended = job.sh(&[], &format!("exit {status}")).expect(*status);
                    assert_eq!(ended.report()["outcome"], json!({ "exited": status }));
                    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
                }
            });
        }
    });
}

fn a_program_that_dies_of_a_signal_ends_the_run_with_128_and_its_number(backend: &str) {
    for number in [1, 2, 3, 6, 9, 13, 14, 15, 34, 64] {
        // Whoever started the tests in the background may have had them ignore some.
        let job = Job::on(backend).behind(&["env", "--default-signal"]);
        // A core file would be left in the directory.
        let ended = job.sh(&[], &format!("ulimit -c 0; kill -{number} $$")).expect(128 + number);
        assert_eq!(ended.report()["outcome"], json!({ "signaled": number }));
        assert_eq!(ended.report()["reason"], Value::Null);
    }
}

/// The best of three counts: on a machine that is busy with something else a run may be late.
/// The report cannot be written, nor anything be put on record, which only makes a warning.
fn a_limit_on_the_size_of_files_is_an_error_and_ends_nobody_but_the_program(backend: &str) {
    let limited = ["sh", "-c", "ulimit -c 0; ulimit -f 0; exec \"$@\"", "sh"];
    Job::on(backend).behind(&limited).run(&[], &["true"]).expect(125);
    let dies = "ulimit -c 0; kill -XFSZ $$; sleep 1000.MARK";
    Job::on(backend).sh(&[], dies).expect(128 + 25);
    let ignores = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    Job::on(backend).behind(&ignores).sh(&[], "kill -XFSZ $$; exit 3").expect(3);
}

fn a_time_limit_ends_even_what_ignores_term(backend: &str) {
    let run = |_| {
        let options = ["--timeout", "1s", "--grace", "200ms"];
        let ended = Job::on(backend).sh(&options, "trap '' TERM; while :; do :; done").expect(124);
        assert!(ended.took >= Duration::from_millis(1200), "{ended:#?}");
        assert_eq!(ended.report()["reason"], "timeout");
        assert_eq!(ended.report()["outcome"], json!({ "signaled": 9 }));
        ended.took
    };
    let limit = scaled(Duration::from_millis(1500));
    assert!((0..3).map(run).any(|took| took < limit), "never in less than {limit:?}");
}

fn a_time_limit_that_is_not_reached_does_nothing(backend: &str) {
    let ended = Job::on(backend).sh(&["--timeout", "100000s"], "exit 7").expect(7);
    assert_eq!(ended.report()["reason"], Value::Null);
}

fn what_the_program_leaves_behind_is_ended_at_once_when_it_dies_of_term(backend: &str) {
    let job = Job::on(backend);
    let ended = job.sh(&[], "sleep 1000.MARK & echo $! >DIR/pid; exit 3").expect(3);
    assert!(ended.took < scaled(Duration::from_secs(1)), "{ended:#?}");
    let left: Vec<i32> = ended.listed("left_behind").into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(left, [job.await_line("pid").parse::<i32>().unwrap()]);
    assert_eq!(ended.report()["teardown"]["rounds"], 0, "nobody had to be killed");
}

/// `/proc` shows it as a zombie, without arguments and environment.
fn k10_who_is_left_behind_without_its_first_thread_is_told_and_ended(backend: &str) {
    if !has_python() {
        return;
    }
    let job = Job::on(backend);
    let script = "python3 -c \"$SCRIPT\" MARK & echo $! >DIR/pid; read end <DIR/end";
    let made = std::process::Command::new("mkfifo").arg(job.path("end")).status();
    assert!(made.unwrap().success());
    let options = ["--grace", "0", "--env", &format!("SCRIPT={LIVES_WITHOUT}")];
    let running = job.start_sh(&options, script);
    let left: i32 = job.await_line("pid").parse().unwrap();
    eventually("its first thread has ended", || traces::state(left) == Some('Z'));
    assert!(traces::runs(left));
    assert!(job.processes().iter().any(|process| process.pid == left));
    fs::write(job.path("end"), "\n").unwrap();
    let ended = running.finish().expect(0);
    let pids: Vec<i32> = ended.listed("left_behind").into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(pids, [left]);
    let arguments = &ended.report()["teardown"]["left_behind"][0]["args"];
    assert_eq!(arguments[2], LIVES_WITHOUT, "another thread has them still");
    assert!(!traces::runs(left));
}

/// The pipe ends when the run does: whoever reads from it is not held up by a left-over.
fn k25_a_left_over_that_holds_stdout_does_not_hold_the_run(backend: &str) {
    let job = Job::on(backend);
    let script = job.script("sleep 1000.MARK & echo out");
    let started = Instant::now();
    let mut command = job.command(&[], &["sh", "-c", &script]);
    let mut contain = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(command);
    let mut pipe = contain.stdout.take().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = pipe.read_to_string(&mut text).map(|_| text);
        sender.send(read)
    });
    let text = receiver.recv_timeout(deadline()).expect("the pipe ends");
    assert_eq!(text.unwrap(), "out\n");
    assert!(started.elapsed() < scaled(Duration::from_secs(1)));
    assert_eq!(contain.wait().unwrap().code(), Some(0));
    job.check_nothing_left();
}

fn k27_the_grace_ends_when_nobody_is_left(backend: &str) {
    let options = ["--grace", "100000s", "--timeout", "300ms"];
    let ended = Job::on(backend).sh(&options, "sleep 1000.MARK & sleep 1001.MARK").expect(124);
    assert!(ended.took < scaled(Duration::from_secs(2)), "{ended:#?}");
    let ended = Job::on(backend).sh(&["--grace", "100000s"], "sleep 1000.MARK &").expect(0);
    assert!(ended.took < scaled(Duration::from_secs(1)), "{ended:#?}");
}

fn without_grace_nobody_is_asked(backend: &str) {
    let job = Job::on(backend);
    let options = ["--grace", "0", "--timeout", "300ms"];
    let ended = job.sh(&options, "trap 'echo asked' TERM; sleep 1000.MARK").expect(124);
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.report()["outcome"], json!({ "signaled": 9 }));
}

fn the_kill_signal_is_the_one_that_was_chosen(backend: &str) {
    let job = Job::on(backend);
    // The shell has set its trap by then, on any machine.
    let time = format!("{}ms", scaled(Duration::from_millis(300)).as_millis());
    let options = ["--kill-signal", "USR1", "--timeout", &time];
    let script = "trap 'echo asked; exit 5' USR1; sleep 1000.MARK & wait";
    let ended = job.sh(&options, script).expect(124);
    assert_eq!(ended.stdout, "asked\n");
    assert_eq!(ended.report()["outcome"], json!({ "exited": 5 }));
}

fn a_stopped_member_dies_of_term(backend: &str) {
    let job = Job::on(backend);
    let script = "sh -c 'kill -STOP $$; sleep 1000.MARK' & pid=$!
        until grep -q '^State:.T' /proc/$pid/status; do sleep 0.01; done";
    let ended = job.sh(&["--grace", "100000s"], script).expect(0);
    assert!(ended.took < scaled(Duration::from_secs(2)), "{ended:#?}");
    assert_eq!(ended.listed("left_behind").len(), 1);
}

/// Every generation starts the next and ends; the session changes each time, and there is an end to it.
fn a_fork_storm_is_over_when_the_run_is(backend: &str) {
    let job = Job::on(backend);
    let script = r#"
        cat >DIR/again <<'END'
[ "$1" -gt 0 ] || exec sleep 1000.MARK
setsid sh DIR/again $(($1 - 1)) MARK & setsid sh DIR/again $(($1 - 1)) MARK &
END
        sh DIR/again 7 MARK"#;
    let ended = job.sh(&["--grace", "0"], script).expect(0);
    assert_eq!(ended.listed("survivors"), []);
}

fn the_environment_and_the_directory_are_what_was_asked_for(backend: &str) {
    let job = Job::on(backend);
    let directory = job.path("");
    let options = ["--env", "A=b=c", "--env", "HOME=mine", "--chdir"];
    let options = [&options[..], &[directory.to_str().unwrap()]].concat();
    let ended = job.sh(&options, "echo $A $HOME; pwd -P").expect(0);
    let here = directory.canonicalize().unwrap();
    assert_eq!(ended.stdout.trim_end(), format!("b=c mine\n{}", here.display()));

    let job = Job::on(backend);
    let ended = job.run(&["--env-clear", "--env", "A=1"], &["env"]).expect(0);
    let id = ended.report()["group"]["id"].as_str().unwrap();
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", &format!("CONTAIN_GROUP={id}")]);
}

fn streams_go_to_files(backend: &str) {
    let job = Job::on(backend);
    fs::write(job.path("in"), "given\n").unwrap();
    fs::write(job.path("both"), "what was there before, and is longer").unwrap();
    let [input, both] = ["in", "both"].map(|file| job.path(file));
    let [input, both] = [input.to_str().unwrap(), both.to_str().unwrap()];
    let options = ["--stdin", input, "--stdout", both, "--stderr", both];
    let ended = job.sh(&options, "cat; echo err >&2; echo out").expect(0);
    assert_eq!(job.text("both"), "given\nerr\nout\n", "in order, and nothing overwritten");
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));

    let job = Job::on(backend);
    let [out, err] = ["out", "err"].map(|file| job.path(file));
    let options = ["--stdout", out.to_str().unwrap(), "--stderr", err.to_str().unwrap()];
    job.sh(&options, "echo err >&2; echo out").expect(0);
    assert_eq!((job.text("out").as_str(), job.text("err").as_str()), ("out\n", "err\n"));
}

/// The fields of CLI.md, in its order, and among them where it ran and what became of the group.
const REPORT: [&str; 15] = [
    "version",
    "backend",
    "group",
    "node",
    "step",
    "guarantees",
    "degraded",
    "pid",
    "outcome",
    "reason",
    "exit_status",
    "containment",
    "wall_seconds",
    "usage",
    "teardown",
];
const USAGE: [&str; 17] = [
    "cpu_seconds",
    "cpu_user_seconds",
    "cpu_system_seconds",
    "throttled_periods",
    "throttled_seconds",
    "memory_bytes",
    "memory_peak_bytes",
    "memory_anon_bytes",
    "memory_file_bytes",
    "memory_kernel_bytes",
    "swap_bytes",
    "pids",
    "pids_peak",
    "io_read_bytes",
    "io_write_bytes",
    "oom_kills",
    "pressure",
];

fn the_report_has_the_documented_shape(backend: &str) {
    let job = Job::on(backend);
    let ended =
        job.sh(&[], "echo $$ $CONTAIN_GROUP; i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done");
    let report = ended.report();
    assert_keys(report, &REPORT);
    assert_keys(&report["group"], &["name", "id"]);
    assert_keys(&report["guarantees"], &["kill", "escape", "empty", "freeze", "leave_by"]);
    assert_keys(&report["usage"], &USAGE);
    let teardown = ["seconds", "left_behind", "rounds", "escaped", "survivors", "errors"];
    assert_keys(&report["teardown"], &teardown);
    let told = format!("{} {}\n", report["pid"], report["group"]["id"].as_str().unwrap());
    assert_eq!(ended.stdout, told, "the program knows its pid and its group");
    assert_eq!(report["version"], 1);
    assert_eq!(report["backend"], backend);
    assert_eq!(report["group"]["name"], job.name());
    assert_eq!(report["containment"], "held");
    assert_eq!((&report["degraded"], &report["exit_status"]), (&json!([]), &json!(0)));
    check_figures(report);
    for list in ["left_behind", "escaped", "survivors", "errors"] {
        assert_eq!(report["teardown"][list], json!([]), "{list}");
    }
    assert_eq!(job.text("report").lines().count(), 1);
}

#[track_caller]
fn assert_keys(object: &Value, keys: &[&str]) {
    let found: Vec<_> = object.as_object().expect("an object").keys().collect();
    let mut keys = keys.to_vec();
    // The parser sorts them.
    keys.sort_unstable();
    assert_eq!(found, keys);
}

/// Every backend measures CPU time; what was not measured is null and never 0. Cgroup v1 has user and
/// system time from samples at the clock's ticks.
fn check_figures(report: &Value) {
    let usage = &report["usage"];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {report}"));
    let parts = number(&usage["cpu_user_seconds"]) + number(&usage["cpu_system_seconds"]);
    let off = if report["backend"] == "cgroup-v1" { 0.05 } else { 0.001 };
    assert!((number(&usage["cpu_seconds"]) - parts).abs() < off, "{usage}");
    assert!(number(&usage["cpu_seconds"]) > 0.0, "{usage}");
    assert!(number(&report["wall_seconds"]) > 0.0, "{report}");
    assert!(number(&report["teardown"]["seconds"]) >= 0.0, "{report}");
    if report["backend"] == "process-group" {
        let measured =
            ["cpu_seconds", "cpu_user_seconds", "cpu_system_seconds", "memory_bytes", "pids"];
        for figure in
            USAGE.iter().filter(|figure| !measured.contains(figure) && **figure != "pressure")
        {
            assert_eq!(usage[figure], Value::Null, "{figure}");
        }
        assert_eq!((&usage["memory_bytes"], &usage["pids"]), (&json!(0), &json!(0)), "{usage}");
        assert_eq!(usage["pressure"], json!({"cpu": null, "memory": null, "io": null}));
    }
}

fn the_report_can_go_to_stderr(backend: &str) {
    let job = Job::on(backend);
    let mut command = job.bare_command();
    command.args(["run", "--backend", backend, "--name", job.name(), "--report", "-", "true"]);
    let ended = job.launch(&mut command).finish().expect(0);
    let report: Value = serde_json::from_str(&ended.stderr).expect("one document");
    assert_eq!(report["outcome"], json!({ "exited": 0 }));
}

fn stats_are_a_table_on_stderr(backend: &str) {
    let ended = Job::on(backend).sh(&["--stats"], "sleep 1000.MARK & exit 3").expect(3);
    assert_eq!(ended.stdout, "");
    let has = |name: &str, value: &str| {
        ended.stderr.lines().any(|line| line.starts_with(name) && line.ends_with(value))
    };
    assert!(has("left behind", " 1") && has("survivors", " 0"), "{}", ended.stderr);
}

fn what_is_kept_lives_on(backend: &str) {
    let job = Job::on(backend);
    let running = job.start_sh(&["--keep"], "sleep 1000.MARK & echo $! >DIR/pid; exit 3");
    let ended = running.finish_unchecked().expect(3);
    let pid: i32 = job.await_line("pid").parse().unwrap();
    eventually("the program is sleep", || {
        job.processes().contains(&traces::Process { pid, comm: "sleep".to_owned() })
    });
    assert_eq!(ended.listed("left_behind").len(), 1, "{ended:#?}");
    if backend != "process-group" {
        assert!(!traces::groups_called(job.name()).is_empty(), "the group is there still");
    }
    signal(pid, Signal::KILL);
    eventually("it is dead", || job.processes().is_empty());
    for group in traces::groups_called(job.name()) {
        eventually("the group can be removed", || fs::remove_dir(&group).is_ok());
    }
    job.check_nothing_left();
}

fn a_requirement_is_met_or_nothing_runs(backend: &str) {
    let (met, unmet) = match backend {
        "process-group" => ("kill=repeated,escape=swept", "escape=impossible"),
        _ => ("kill=frozen,escape=impossible,freeze", "leave_by=none"),
    };
    Job::on(backend).sh(&["--require", met], "exit 4").expect(4);
    let job = Job::on(backend);
    let ended = job.sh(&["--require", unmet], "touch DIR/ran").expect(125);
    assert!(ended.error_line().contains(unmet), "{}", ended.stderr);
    assert!(!job.path("ran").exists() && !ended.has_report());
}

/// The script of an outer run: `contain` again, in the same way, whose program tells where it is.
fn inner(backend: &str, outer: &Job, script: &str) -> String {
    let binary = support::binary();
    let options = format!("--backend {backend} --name {}-inner", outer.name());
    format!("{} run {options} -- sh -c '{script}'", binary.display())
}

fn a_run_inside_a_run_is_held_by_both(backend: &str) {
    let job = Job::on(backend);
    let script = inner(backend, &job, "setsid sleep 1000.MARK & echo $CONTAIN_GROUP; exit 9");
    let ended = job.sh(&[], &format!("echo $CONTAIN_GROUP; {script}")).expect(9);
    let marks: Vec<_> = ended.stdout.lines().collect();
    let inner = marks[1].strip_prefix(&format!("{}:", marks[0])).expect("outer:inner");
    assert!(inner.starts_with(backend) && inner != marks[0], "{marks:?}");
    assert_eq!(ended.listed("left_behind"), [], "the inner run has ended what it held");
    assert_eq!(traces::groups_called(&format!("{}-inner", job.name())).len(), 0);
}

fn the_end_of_the_outer_run_is_the_end_of_the_inner(backend: &str) {
    let script = "trap \"\" TERM; setsid sleep 1000.MARK & echo up >DIR/up; sleep 1001.MARK";
    for grace in ["0", "100ms", "100000s"] {
        let job = Job::on(backend);
        // With a grace the inner run ends itself; it gives its own program no time.
        let script = inner(backend, &job, script).replace(" -- ", " --grace 0 -- ");
        let running = job.start_sh(&["--grace", grace], &script);
        job.await_line("up");
        running.signal(Signal::TERM);
        let ended = running.finish().expect(143);
        assert_eq!(ended.listed("survivors"), []);
        assert_eq!(traces::groups_called(&format!("{}-inner", job.name())).len(), 0);
    }
}

fn a_name_may_have_levels(backend: &str) {
    let job = Job::on(backend);
    let name = format!("{}/b/c", job.name());
    let mut command = job.bare_command();
    command.args(["run", "--backend", backend, "--name", &name, "--report"]);
    command.arg(job.path("report")).args(["--", "sh", "-c", "exit 2"]);
    let ended = job.launch(&mut command).finish().expect(2);
    assert_eq!(ended.report()["group"]["name"], name);
}
