//! Hosts with hierarchies of version 1, in several shapes: what `contain doctor` says there, what a run
//! does, and that it leaves nothing.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::backends::{entry, run_on};
use support::job::Job;
use support::shapes;

/// The hierarchies of version 1 alone.
const V1_ONLY: &str = "umount -l /sys/fs/cgroup/unified";

/// The same host in a mount namespace, after `prepare`.
struct Shape {
    prefix: Vec<String>,
}

impl Shape {
    /// `None` where it cannot be made.
    fn made(prepare: &str) -> Option<Self> {
        let prefix = shapes::namespace(&format!("{V1_ONLY} && {prepare}"));
        shapes::can_be_made("host-shapes").then_some(Self { prefix })
    }

    fn job(&self, backend: &str) -> Job {
        Job::on(backend).behind(&self.prefix).with_reachable_binary()
    }

    /// What `contain doctor` says, once on the whole and once of cgroup v1.
    fn doctor(&self) -> (Value, Value) {
        let job = self.job("auto");
        let ended = job.launch(job.bare_command().args(["doctor", "--json"])).finish().expect(0);
        let document = ended.document();
        let v1 = entry(&document, "cgroup-v1").clone();
        (document, v1)
    }

    /// Version 1 is selected, with a kill of this strength, and a run does as it should.
    fn check_taken(&self, kill: &str) -> Value {
        let (document, v1) = self.doctor();
        assert_eq!(document["selected"], "cgroup-v1", "{document:#}");
        assert_eq!(v1["capabilities"]["kill"], kill, "{v1:#}");
        let ended = self.job("auto").sh(&[], "setsid sleep 1000.MARK & exit 3").expect(3);
        assert_eq!(ended.report()["backend"], "cgroup-v1");
        assert_eq!(ended.listed("left_behind").len(), 1);
        assert_eq!(ended.report()["guarantees"]["kill"], kill);
        v1
    }

    /// Version 1 cannot be used, for a reason that is told with a remedy; a run goes on without.
    fn check_refused(&self, reason: &str, remedy: &str) {
        let (document, v1) = self.doctor();
        assert_eq!(document["selected"], "process-group", "{document:#}");
        assert!(v1["reason"].as_str().is_some_and(|text| text.contains(reason)), "{v1:#}");
        assert!(v1["remedy"].as_str().is_some_and(|text| text.contains(remedy)), "{v1:#}");
        self.job("auto").sh(&[], "setsid sleep 1000.MARK & exit 3").expect(3);
        let refused = self.job("cgroup-v1");
        let ended = refused.sh(&[], "touch DIR/ran").expect(125);
        let line = ended.error_line();
        assert!(line.contains(reason) && line.contains(remedy), "{line}");
        assert!(!refused.path("ran").exists());
    }
}

#[test]
fn the_hierarchies_of_version_1_alone_are_enough() {
    run_on("cgroup-v1", |_| {
        let Some(shape) = Shape::made("true") else { return };
        let v1 = shape.check_taken("frozen");
        assert_eq!(v1["lacking"], serde_json::json!([]));
    });
}

#[test]
fn without_a_freezer_a_kill_is_repeated_and_that_can_be_refused() {
    run_on("cgroup-v1", |_| {
        let Some(shape) = Shape::made("umount -l /sys/fs/cgroup/freezer") else { return };
        let v1 = shape.check_taken("repeated");
        assert_eq!(v1["capabilities"]["freeze"], "none");
        let refused = shape.job("cgroup-v1");
        let ended = refused.sh(&["--require", "kill=frozen"], "touch DIR/ran").expect(125);
        assert!(ended.error_line().contains("it gives repeated"), "{}", ended.error_line());
        assert!(!refused.path("ran").exists());
    });
}

/// K44: each hierarchy is resolved by itself: one that is read-only is done without, and that is told.
#[test]
fn k44_a_read_only_hierarchy_is_done_without_and_told() {
    run_on("cgroup-v1", |_| {
        let read_only = "mount -o remount,ro,bind /sys/fs/cgroup/freezer";
        let Some(shape) = Shape::made(read_only) else { return };
        let v1 = shape.check_taken("repeated");
        let lacking = v1["lacking"][0].as_str().expect("one hierarchy is lacking");
        assert!(lacking.contains("read-only (freezer") && lacking.contains("remount,rw"), "{v1}");
    });
}

#[test]
fn k44_where_all_are_read_only_there_is_none() {
    run_on("cgroup-v1", |_| {
        let all = "for h in $(awk '$3 == \"cgroup\" { print $2 }' /proc/self/mounts); do \
            mount -o remount,ro,bind $h || exit; done";
        let Some(shape) = Shape::made(all) else { return };
        shape.check_refused("the mount is read-only", "remount,rw");
    });
}

/// K43: what is mounted over a hierarchy is not taken for it, and nothing is made there.
#[test]
fn k43_a_tmpfs_over_a_hierarchy_is_not_taken_for_it() {
    run_on("cgroup-v1", |_| {
        let Some(shape) = Shape::made("mount -t tmpfs none /sys/fs/cgroup/freezer") else { return };
        let v1 = shape.check_taken("repeated");
        let lacking = v1["lacking"][0].as_str().expect("one hierarchy is lacking");
        assert!(lacking.contains("unmount what is mounted over"), "{v1}");
        let job = shape.job("auto");
        let binary = support::binary();
        let tries = "\"$0\" run true && find /sys/fs/cgroup/freezer -mindepth 1";
        let mut command = Command::new(&shape.prefix[0]);
        command.args(&shape.prefix[1..]).args(["sh", "-c", tries]).arg(binary);
        let output = command.env("CONTAIN_TEST_MARK", job.mark()).output().expect("it can be run");
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    });
}

#[test]
fn without_privileges_there_is_none() {
    run_on("cgroup-v1", |_| {
        let Some(mut shape) = Shape::made("true") else { return };
        shape.prefix.extend(shapes::UNPRIVILEGED.map(str::to_owned));
        shape.check_refused("not ours to write to", "chown");
    });
}

/// A hierarchy without any controller holds processes as well.
#[test]
fn a_named_hierarchy_alone_is_enough() {
    run_on("cgroup-v1", |_| {
        let name = format!("contain-test-{}", std::process::id());
        let named = format!(
            "umount -R -l /sys/fs/cgroup && mount -t tmpfs none /sys/fs/cgroup && \
             mkdir /sys/fs/cgroup/own && \
             mount -t cgroup -o none,name={name} none /sys/fs/cgroup/own"
        );
        let prefix = shapes::namespace(&named);
        if shapes::can_be_made("host-shapes") {
            Shape { prefix }.check_taken("repeated");
            end_hierarchy(&named, &name);
        }
    });
}

/// A hierarchy goes a while after its last mount did, unless groups in it were removed only just then: in
/// that case it takes another mount that goes.
fn end_hierarchy(mounting: &str, name: &str) {
    let is_there = || {
        let memberships = std::fs::read_to_string("/proc/self/cgroup").expect("/proc is mounted");
        memberships.contains(&format!("name={name}:"))
    };
    for _ in 0..10 {
        let until = Instant::now() + Duration::from_secs(2);
        while is_there() && Instant::now() < until {
            std::thread::yield_now();
        }
        if !is_there() {
            return;
        }
        let words = shapes::namespace(&format!("{mounting} && umount /sys/fs/cgroup/own"));
        let mounted = Command::new(&words[0]).args(&words[1..]).arg("true").status();
        assert!(mounted.expect("a namespace can be made").success());
    }
    panic!("the hierarchy {name} does not go; unmount it by hand");
}
