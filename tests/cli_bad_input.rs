//! Command lines that are wrong: one line, which names what is wrong, and the documented status.

mod support;

use support::{Ran, contain, run};

/// What is wrong with a `run`, and what the message has to name.
const WRONG_RUNS: [(&[&str], &str); 40] = [
    (&[], "PROGRAM"),
    (&["--nope", "true"], "'--nope'"),
    (&["--backend", "fake", "true"], "'fake'"),
    (&["--backend", "", "true"], "--backend"),
    (&["--name", "../x", "true"], "'../x'"),
    (&["--name", "", "true"], "--name"),
    (&["--name", "cgroup.procs", "true"], "reserved"),
    (&["--name", "a\nb", "true"], "control characters"),
    (&["--require", "kill=certainly", "true"], "kill=certainly"),
    (&["--timeout", "soon", "true"], "'soon'"),
    (&["--grace", "-1s", "true"], "-1"),
    (&["--timeout", "-1", "true"], "a time such as 500ms"),
    (&["--timeout", "0", "true"], "leave the option out for no limit"),
    (&["--cpu-time", "0s", "true"], "leave the option out for no limit"),
    (&["--kill-signal", "SIGNOPE", "true"], "no such signal"),
    (&["--kill-signal", "65", "true"], "no such signal"),
    (&["--memory", "lots", "true"], "--memory"),
    (&["--swap", "1X", "true"], "--swap"),
    (&["--memory", "0", "true"], "at least 4096 bytes"),
    (&["--memory", "1Q", "true"], "a size such as 512M"),
    (&["--cpus", "0", "true"], "--cpus"),
    (&["--cpus", "-1", "true"], "at least 0.001"),
    (&["--memory", "-1", "true"], "--memory"),
    (&["--swap", "-1", "true"], "--swap"),
    (&["--pids", "-1", "true"], "a number from 1 on"),
    (&["--cpuset", "-1", "true"], "0-3,6"),
    (&["--cpu-weight", "-1", "true"], "from 1 to 10000"),
    (&["--cpu-weight", "0", "true"], "from 1 to 10000"),
    (&["--io-weight", "10001", "true"], "from 1 to 10000"),
    (&["--io-max", "nodev", "true"], "a disk and its rates"),
    (&["--io-max", "/dev/null:rbps=1", "true"], "/dev/null is no disk"),
    (&["--io-max", "/no/such/disk:rbps=1", "true"], "/no/such/disk"),
    (&["--io-max", "/no/such/disk:rbps=1", "true"], "(ENOENT)"),
    (&["--io-max", "8:0:rbps=0", "true"], "at least 1"),
    (&["--hugetlb", "3M:64M", "true"], "power of two"),
    (&["--cpuset", "3-1", "true"], "0-3,6"),
    (&["--pids", "0", "true"], "--pids"),
    (&["--env", "NOVALUE", "true"], "NAME=VALUE"),
    (&["--root", "", "true"], "--root"),
    (&["--log", "contain=loudly", "true"], "--log"),
];

#[test]
fn a_run_that_is_not_understood_ends_with_125_and_one_line_that_names_the_fault() {
    for (arguments, named) in WRONG_RUNS {
        let ran = Ran::of(contain().arg("run").args(arguments));
        assert_eq!(ran.status, 125, "{arguments:?}: {}", ran.stderr);
        let line = ran.error_line();
        assert!(line.contains(named), "{arguments:?}: {line}");
        assert!(line.contains("contain run --help"), "{arguments:?}: {line}");
        assert!(!line.contains(";;"), "{arguments:?}: {line}");
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn other_subcommands_that_are_not_understood_end_with_2() {
    let wrong: [&[&str]; 5] = [
        &["doctor", "--nope"],
        &["doctor", "surplus"],
        &["nope"],
        &["--nope"],
        &["--backend", "run", "doctor"],
    ];
    for arguments in wrong {
        let ran = run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}: {}", ran.stderr);
        let line = ran.error_line();
        assert!(line.contains("; see `contain ") && line.ends_with("--help`"), "{line}");
    }
}

#[test]
fn without_a_subcommand_the_help_is_shown_and_the_status_is_2() {
    let ran = run(&[]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("Usage: contain"), "{}", ran.stderr);
}

#[test]
fn options_of_the_environment_are_checked_too() {
    let given = ["run", "--backend", "process-group", "true"];
    for line in [&["run", "true"][..], &given] {
        let ran = Ran::of(contain().env("CONTAIN_BACKEND", "magic").args(line));
        assert_eq!(ran.status, 125);
        assert!(ran.error_line().contains("'magic'"), "{}", ran.stderr);
        let used = Ran::of(contain().env("CONTAIN_BACKEND", "process-group").args(line));
        assert_eq!(used.status, 0, "{}", used.stderr);
    }
}

#[test]
fn a_file_that_cannot_be_opened_runs_nothing() {
    let start = "failed to start a program in group x: ";
    let report = "failed to open the report of group x: ";
    let options =
        [("--stdin", start), ("--stdout", start), ("--stderr", start), ("--report", report)];
    for (option, what) in options {
        let ran = run(&["run", "--name", "x", option, "/no/such/file", "true"]);
        assert_eq!(ran.status, 125, "{option}");
        let line = ran.error_line();
        assert!(line.starts_with(what), "{line}");
        assert!(line.contains("No such file or directory (ENOENT): /no/such/file; "), "{line}");
    }
}

/// A backend that can be used on no host: not there.
const NOWHERE: [&str; 5] = ["run", "--backend", "hybrid", "--parent", "/no/such/group"];

#[test]
fn a_backend_that_is_not_there_ends_with_125_and_its_reason() {
    let ran = run(&[&NOWHERE[..], &["true"]].concat());
    assert_eq!(ran.status, 125);
    assert!(ran.error_line().starts_with("failed to probe (hybrid): "), "{}", ran.stderr);
}

#[test]
fn colour_is_used_when_it_is_asked_for() {
    let colored = run(&[&["--color", "always"], &NOWHERE[..], &["true"]].concat());
    assert!(colored.stderr.contains("\u{1b}["), "{:?}", colored.stderr);
    let plain = run(&[&["--color", "never"], &NOWHERE[..], &["true"]].concat());
    assert!(!plain.stderr.contains('\u{1b}'), "{:?}", plain.stderr);
}
