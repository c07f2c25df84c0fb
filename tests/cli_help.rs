//! The help texts, as snapshots: a change of the command line shows in review.

mod support;

use support::run;

#[test]
fn help_of_contain() {
    insta::assert_snapshot!(run(&["--help"]).stdout);
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(run(&["run", "--help"]).stdout);
}

#[test]
fn help_of_doctor() {
    insta::assert_snapshot!(run(&["doctor", "--help"]).stdout);
}

#[test]
fn help_of_init() {
    insta::assert_snapshot!(run(&["init", "--help"]).stdout);
}

#[test]
fn help_of_the_group_commands() {
    for command in GROUP_COMMANDS {
        insta::assert_snapshot!(format!("help_of_{command}"), run(&[command, "--help"]).stdout);
    }
}

const GROUP_COMMANDS: [&str; 12] = [
    "create", "exec", "attach", "set", "ps", "stat", "freeze", "thaw", "signal", "kill", "rm",
    "wait",
];

#[test]
fn help_and_version_are_no_failure() {
    for arguments in [&["--help"][..], &["--version"], &["run", "-h"], &["doctor", "--help"]] {
        let ran = run(arguments);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    let version = format!("contain {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]).stdout, version);
}
