//! Runs that cannot be: the documented status, one line that says what, on which object, why and what to
//! do; nothing runs and nothing is left. (What the command line's parser refuses: `cli_bad_input.rs`.)

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use containment::Signal;
use support::backends::{doctor, entry, on_each_backend, run_on, skip};
use support::job::{Ended, Job};
use support::{shapes, traces};

on_each_backend!(
    k40_impossible_names_are_refused,
    a_program_that_cannot_be_run_has_the_status_that_a_shell_gives,
    a_program_is_not_looked_for_where_it_runs,
    a_directory_that_cannot_be_entered_runs_nothing,
    a_redirection_that_cannot_be_opened_runs_nothing,
    k34_a_limit_that_the_backend_lacks_is_an_error_or_a_listed_degradation,
);

/// Directories that anybody can read: one that cannot be would make "not found" "not permitted", as
/// with execvp(3).
const PATH: [&str; 2] = ["env", "PATH=/usr/bin:/bin"];

/// Checks the status, and that the one line on stderr names `object` and what to do.
#[track_caller]
fn refused(ended: Ended, status: i32, object: &str) {
    let ended = ended.expect(status);
    let line = ended.error_line();
    assert!(line.contains(object), "{object} is not named: {line}");
    let (_, remedy) = line.rsplit_once("; ").unwrap_or_else(|| panic!("no remedy: {line}"));
    assert!(!remedy.is_empty(), "{line}");
    assert_eq!(ended.stdout, "");
}

fn k40_impossible_names_are_refused(backend: &str) {
    let long = "x".repeat(300);
    let names = [
        ("../x", "../x"),
        ("/x", "/x"),
        ("", "--name"),
        (".", "'.'"),
        ("a/../../b", "a/../../b"),
        ("a//b", "a//b"),
        ("a/", "a/"),
        (&long, "255 bytes"),
        ("a\nb", "control characters"),
        ("cgroup.procs", "cgroup.procs"),
        ("a/tasks", "a/tasks"),
    ];
    for (name, named) in names {
        let job = Job::on(backend);
        let mut command = job.bare_command();
        command.args(["run", "--backend", backend, "--name", name, "touch"]).arg(job.path("ran"));
        refused(job.launch(&mut command).finish(), 125, named);
        assert!(!job.path("ran").exists(), "{name:?}");
    }
}

fn a_program_that_cannot_be_run_has_the_status_that_a_shell_gives(backend: &str) {
    let job = Job::on(backend);
    let files = [("plain", 0o644, "#!/bin/sh\n"), ("script", 0o755, "#!/no/sh\n")];
    for (name, mode, text) in files {
        fs::write(job.path(name), text).unwrap();
        fs::set_permissions(job.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = |name| job.path(name).to_str().unwrap().to_owned();
    let script = Job::on(backend).run(&[], &[&path("script")]);
    assert!(script.error_line().ends_with("its interpreter is not: check its first line"));
    refused(Job::on(backend).run(&[], &[""]), 125, "the program has no name");
    let cases = [
        ("/no/such/program".to_owned(), 127),
        ("no-such-program".to_owned(), 127),
        (path("missing"), 127),
        (path("plain"), 126),
        (path(""), 126),
        (path("plain/below"), 126),
    ];
    for (program, status) in cases {
        refused(Job::on(backend).behind(&PATH).run(&[], &[&program]), status, &program);
    }
    let ended = Job::on(backend).run(&[], &[&path("script")]);
    assert!(matches!(ended.status, Some(126 | 127)), "its interpreter is missing: {ended:#?}");
    assert!(ended.error_line().contains("script"), "{}", ended.stderr);
}

/// The report is written all the same, as the group existed, and says that nothing ran.
fn a_program_is_not_looked_for_where_it_runs(backend: &str) {
    let job = Job::on(backend).behind(&PATH);
    let ended = job.run(&["--chdir", "/"], &["no-such-program"]).expect(127);
    let report = ended.report();
    assert!(report["pid"].is_null() && report["outcome"].is_null(), "{report}");
    assert_eq!(report["exit_status"], 127);
}

fn a_directory_that_cannot_be_entered_runs_nothing(backend: &str) {
    let job = Job::on(backend);
    fs::write(job.path("file"), "").unwrap();
    let file = job.path("file");
    for directory in ["/no/such/directory", file.to_str().unwrap()] {
        let job = Job::on(backend);
        refused(job.sh(&["--chdir", directory], "touch DIR/ran"), 125, directory);
        assert!(!job.path("ran").exists());
    }
}

fn a_redirection_that_cannot_be_opened_runs_nothing(backend: &str) {
    for option in ["--stdin", "--stdout", "--stderr"] {
        for path in ["/no/such/file", "/"] {
            // A directory can be opened to be read.
            if (option, path) != ("--stdin", "/") {
                let job = Job::on(backend);
                refused(job.sh(&[option, path], "touch DIR/ran"), 125, path);
                assert!(!job.path("ran").exists());
            }
        }
    }
    if shapes::is_root() {
        let job = Job::on("process-group").behind(&shapes::UNPRIVILEGED).with_reachable_binary();
        fs::write(job.path("secret"), "").unwrap();
        fs::set_permissions(job.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let secret = job.path("secret");
        let ended = job.run(&["--stdin", secret.to_str().unwrap()], &["cat"]);
        refused(ended, 125, secret.to_str().unwrap());
    }
}

/// Options that ask for one limit each.
const LIMITS: [(&str, &str, &str); 11] = [
    ("memory", "--memory", "64M"),
    ("memory-high", "--memory-high", "64M"),
    ("swap", "--swap", "0"),
    ("cpus", "--cpus", "1.5"),
    ("cpu-weight", "--cpu-weight", "50"),
    ("cpuset", "--cpuset", "0"),
    ("mems", "--mems", "0"),
    ("pids", "--pids", "100"),
    ("io-weight", "--io-weight", "50"),
    ("io-max", "--io-max", "8:0:rbps=1M"),
    ("hugetlb", "--hugetlb", "2M:64M"),
];

fn k34_a_limit_that_the_backend_lacks_is_an_error_or_a_listed_degradation(backend: &str) {
    let limits = entry(doctor(), backend)["capabilities"]["limits"].as_array().unwrap().clone();
    let lacking = LIMITS.iter().filter(|(name, ..)| !limits.iter().any(|limit| limit == name));
    let lacking: Vec<_> = lacking.collect();
    if lacking.is_empty() {
        skip("lacking-limits", "this backend has every limit");
    }
    for (name, option, value) in lacking {
        let object = format!("limits.{name}");
        let job = Job::on(backend);
        refused(job.sh(&[option, value], "touch DIR/ran"), 125, &object);
        assert!(!job.path("ran").exists());
        let ended = job.sh(&["--best-effort", option, value], "exit 8").expect(8);
        let degraded = ended.report()["degraded"].as_array().unwrap();
        assert_eq!(degraded.len(), 1, "{degraded:?}");
        assert_eq!(degraded[0]["what"], object.as_str());
        assert!(!degraded[0]["why"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_report_that_cannot_be_opened_runs_nothing_and_says_so() {
    let job = Job::on("auto");
    let ran = job.path("ran");
    let mut command = job.bare_command();
    command.args(["run", "--report", "/no/such/directory/report", "--", "touch"]).arg(&ran);
    let status = command.status().expect("contain starts");
    assert_eq!(status.code(), Some(125));
    let line = job.text("stderr");
    assert!(line.contains("failed to open the report of group"), "{line}");
    assert!(line.contains("ENOENT") && line.contains("check the path"), "{line}");
    assert!(!ran.exists(), "nothing ran");
    job.check_nothing_left();
}

#[test]
fn a_taken_name_is_refused_and_nothing_in_it_is_touched() {
    for backend in ["cgroup-v2", "cgroup-v1"] {
        run_on(backend, a_taken_name_is_refused);
    }
}

fn a_taken_name_is_refused(backend: &str) {
    let job = Job::on(backend);
    let first = job.start_sh(&[], "echo $$ >DIR/pid; exec sleep 1000.MARK");
    let pid: i32 = job.await_line("pid").parse().unwrap();
    let second = refused_namesake(&job, backend);
    assert!(second.contains(job.name()) && second.contains("choose another name"), "{second}");
    assert!(!job.path("ran").exists());
    assert!(matches!(traces::state(pid), Some('S' | 'R')), "what lived in it lives on");
    first.signal(Signal::TERM);
    first.finish().expect(143);
}

/// Runs another program under the name of `job`; gives what `contain` says about it.
fn refused_namesake(job: &Job, backend: &str) -> String {
    let mut command: Command = job.bare_command();
    let (out, ran) = (job.path("second"), job.path("ran"));
    command.stderr(fs::File::create(&out).unwrap());
    command.args(["run", "--backend", backend, "--name", job.name(), "touch"]).arg(ran);
    let ended: Ended = job.launch(&mut command).finish_unchecked();
    assert_eq!(ended.status, Some(125));
    job.await_line("second")
}
