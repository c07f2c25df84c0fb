//! The first example works, and leaves nothing.

mod support;

#[path = "../examples/first_lines.rs"]
mod first_lines;

use support::traces;

#[test]
fn the_first_lines_work_on_this_host_and_leave_nothing() {
    first_lines::main().expect("some backend can be used everywhere");
    let name = format!("build-{}", std::process::id());
    assert!(traces::groups_called(&name).is_empty());
    let children = traces::children_of_this_process();
    assert!(children.is_empty(), "zombies, or worse: {children:?}");
}
