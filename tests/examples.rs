//! The examples that need no arguments work, and leave nothing.

mod support;

#[path = "../examples/audited_driver.rs"]
mod audited_driver;
#[path = "../examples/build_with_daemons.rs"]
mod build_with_daemons;
#[path = "../examples/choose_a_backend.rs"]
mod choose_a_backend;
#[path = "../examples/first_lines.rs"]
mod first_lines;
#[path = "../examples/hundred_tasks.rs"]
mod hundred_tasks;
#[path = "../examples/kill_a_tree.rs"]
mod kill_a_tree;
#[path = "../examples/on_tokio.rs"]
mod on_tokio;
#[expect(dead_code, reason = "its arguments are given here")]
#[path = "../examples/restart.rs"]
mod restart;
#[path = "../examples/scenario_on_a_mock.rs"]
mod scenario_on_a_mock;
#[path = "../examples/scenario_on_the_fake.rs"]
mod scenario_on_the_fake;

use support::traces;

#[test]
fn the_examples_work_on_this_host_and_leave_nothing() {
    // One after the other: the children of this process are counted.
    let examples = [
        first_lines::main,
        kill_a_tree::main,
        choose_a_backend::main,
        build_with_daemons::main,
        hundred_tasks::main,
        on_tokio::main,
        scenario_on_the_fake::main,
        scenario_on_a_mock::main,
        audited_driver::main,
    ];
    for example in examples {
        example().expect("some backend can be used everywhere");
    }
    let pid = std::process::id();
    let state = tempfile::tempdir().expect("a directory can be made");
    let contain = std::path::Path::new(env!("CARGO_BIN_EXE_contain"));
    let ended = restart::agent(contain, state.path()).expect("some backend can be used everywhere");
    let expected = [0, 1, 2].map(|n| (format!("agent-{pid}-{n}"), format!("exit status {n}")));
    assert_eq!(ended, expected);
    let single = ["audited", "build", "chosen", "step", "tree"].map(|what| format!("{what}-{pid}"));
    let several = [("tokio", 3), ("task", 100), ("agent", 3)].into_iter();
    let several =
        several.flat_map(|(what, count)| (0..count).map(move |n| format!("{what}-{pid}-{n}")));
    for name in single.into_iter().chain(several) {
        assert!(traces::groups_called(&name).is_empty(), "{name} is left");
    }
    let children = traces::children_of_this_process();
    assert!(children.is_empty(), "zombies, or worse: {children:?}");
}
