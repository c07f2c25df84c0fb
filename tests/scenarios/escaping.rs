//! Who leaves the session, the process group or the parent is found all the same.

use crate::support::job::{Ended, Job};

pub(crate) fn k18_daemons_are_ended_and_reported(backend: &str) {
    let job = Job::on(backend);
    let script = "setsid sh -c 'echo >DIR/one; exec sleep 1000.MARK' & \
        (setsid sh -c 'echo >DIR/two; exec sleep 1001.MARK' &) ; \
        until [ -e DIR/one -a -e DIR/two ]; do :; done; exit 4";
    let ended = job.sh(&["--grace", "1s"], script).expect(4);
    assert_eq!(told(&ended), 2, "{ended:?}");
}

/// A member whose parent and whose session's leader have ended.
pub(crate) fn k45_who_lost_parent_and_session_is_found(backend: &str) {
    let job = Job::on(backend);
    let script = "(setsid sh -c '(echo $PPID >DIR/parent; exec sleep 1000.MARK) & \
        until [ -e DIR/parent ]; do :; done; echo $$ >DIR/leader' &); \
        until [ -s DIR/leader ]; do :; done; \
        while kill -0 $(cat DIR/leader) 2>/dev/null; do :; done; exit 5";
    let ended = job.sh(&["--grace", "1s"], script).expect(5);
    assert_eq!(told(&ended), 1, "{ended:?}");
}

/// How many were reported as left behind or escaped.
fn told(ended: &Ended) -> usize {
    ended.listed("left_behind").len() + ended.listed("escaped").len()
}
