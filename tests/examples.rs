//! The examples that need no arguments work, and leave nothing.

mod support;

#[path = "../examples/build_with_daemons.rs"]
mod build_with_daemons;
#[path = "../examples/choose_a_backend.rs"]
mod choose_a_backend;
#[path = "../examples/first_lines.rs"]
mod first_lines;
#[path = "../examples/hundred_tasks.rs"]
mod hundred_tasks;
#[path = "../examples/on_tokio.rs"]
mod on_tokio;
#[path = "../examples/scenario_on_the_fake.rs"]
mod scenario_on_the_fake;

use support::traces;

#[test]
fn the_examples_work_on_this_host_and_leave_nothing() {
    // One after the other: the children of this process are counted.
    let examples = [
        first_lines::main,
        choose_a_backend::main,
        build_with_daemons::main,
        hundred_tasks::main,
        on_tokio::main,
        scenario_on_the_fake::main,
    ];
    for example in examples {
        example().expect("some backend can be used everywhere");
    }
    let pid = std::process::id();
    let single = ["build", "chosen", "step"].map(|what| format!("{what}-{pid}"));
    let several = [("tokio", 3), ("task", 100)].into_iter();
    let several =
        several.flat_map(|(what, count)| (0..count).map(move |n| format!("{what}-{pid}-{n}")));
    for name in single.into_iter().chain(several) {
        assert!(traces::groups_called(&name).is_empty(), "{name} is left");
    }
    let children = traces::children_of_this_process();
    assert!(children.is_empty(), "zombies, or worse: {children:?}");
}
