//! The examples that need no arguments work, and leave nothing.

mod support;

#[path = "../examples/first_lines.rs"]
mod first_lines;
#[path = "../examples/on_tokio.rs"]
mod on_tokio;

use support::traces;

#[test]
fn the_examples_work_on_this_host_and_leave_nothing() {
    // One after the other: the children of this process are counted.
    first_lines::main().expect("some backend can be used everywhere");
    on_tokio::main().expect("some backend can be used everywhere");
    let pid = std::process::id();
    let names = (0..3).map(|number| format!("tokio-{pid}-{number}"));
    for name in names.chain([format!("build-{pid}")]) {
        assert!(traces::groups_called(&name).is_empty(), "{name} is left");
    }
    let children = traces::children_of_this_process();
    assert!(children.is_empty(), "zombies, or worse: {children:?}");
}
