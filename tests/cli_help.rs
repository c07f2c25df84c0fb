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
fn help_of_report() {
    insta::assert_snapshot!(run(&["report", "--help"]).stdout);
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

#[test]
fn every_subcommand_has_a_manual_page_and_the_first_page_names_them_all() {
    let first = run(&["man"]).stdout;
    for heading in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
        assert!(
            first.contains(&format!(".SH \"{heading}\""))
                || first.contains(&format!(".SH {heading}")),
            "{heading}"
        );
    }
    let others = ["run", "doctor", "ls", "gc", "init", "completions", "man"];
    for command in GROUP_COMMANDS.iter().chain(&others) {
        assert!(first.contains(&format!("contain\\-{command}(1)")), "{command} in: {first}");
        let page = run(&["man", command]);
        assert_eq!((page.status, page.stderr.as_str()), (0, ""), "{command}");
        let version = env!("CARGO_PKG_VERSION");
        let title =
            format!(".TH contain-{command} 1 \" \" \"contain {version}\" \"User Commands\"");
        assert!(page.stdout.contains(&title), "{}", page.stdout);
        let has = |heading: &str| page.stdout.contains(heading);
        assert!(has("SEE ALSO") && has("contain(1)"), "{}", page.stdout);
        let runs = ["run", "exec"].contains(command);
        assert_eq!(
            (has("EXIT STATUS"), has(".SH SIGNALS") || has(".SH \"SIGNALS\"")),
            (runs, runs)
        );
    }
}

#[test]
fn a_manual_of_nothing_is_a_usage_error() {
    let ran = run(&["man", "nope"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("manual of nope"), "{}", ran.stderr);
}

#[test]
fn completions_of_each_shell_know_subcommands_and_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{shell}");
        for word in ["doctor", "memory-high"] {
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&["completions", "tcl"]).status, 2);
}
