//! Isolated starts on the engine itself: the order of the steps, what is told when one fails, and that
//! a target user holds nobody up.

#[path = "../../tests/support/must_run.rs"]
mod must_run;

use std::fs;
use std::io::{Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use containment_core::{
    Bind, ErrorKind, Outcome, Program, Resource, Rlimit, Seal, Signal, Stream, User,
};
use containment_process::pidfd::{PidFd, Waited};
use containment_process::spawn::{
    Entry, Failure, Launch, Mark, Memory, Step, separates_processes, spawn,
};

fn launch(program: &Program) -> Launch<'_> {
    let entry = Entry::Nowhere;
    Launch { program, entry, process_group: None, mark: None, frozen: None, memory: Memory::Share }
}

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

fn user(uid: u32) -> User {
    User { uid, gid: uid, groups: vec![uid] }
}

/// Whether this is root in a place where it may mount; says so when not.
fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        must_run::skip("isolation", &"only root can isolate");
    }
    root
}

/// Runs a program with its standard output in a pipe.
fn output(program: Program) -> String {
    let (mut reader, writer) = pipe().unwrap();
    let program = program.stdout(writer).stdin(Stream::Null);
    let child = spawn(&launch(&program)).expect("the program starts");
    drop(program);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    text
}

/// The step that failed; the program of a test never runs then.
fn refusal(program: &Program) -> Step {
    match spawn(&launch(program)) {
        Err(Failure::Step(step, _)) => step,
        other => panic!("no failed step: {other:?}"),
    }
}

#[test]
fn each_step_that_fails_is_told_and_nothing_runs() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let missing = directory.path().join("missing");
    let ran = directory.path().join("ran");
    let touch = || shell(&format!("echo > {}", ran.display()));
    let too_much = Rlimit { resource: Resource::Files, soft: Some(u64::MAX - 1), hard: None };
    let first = Bind::writable("/usr", "/usr");
    let cases = [
        (touch().root_directory(&missing), Step::Root),
        (touch().bind(Bind::writable(&missing, "/usr")), Step::BindSource(0)),
        (touch().bind(first.clone()).bind(Bind::writable("/usr", &missing)), Step::BindTarget(1)),
        (touch().bind(Bind::read_only("/etc/passwd", "/usr")), Step::Bind(0)),
        (touch().rlimit(too_much), Step::Rlimit(0)),
        (touch().user(user(3_000_003)).current_dir(directory.path()), Step::Directory),
        (
            touch().seal(Seal::BestEffort).stdin(fs::File::open("/").unwrap()),
            Step::SealDescriptor(0),
        ),
        (Program::new(&missing).user(user(3_000_003)), Step::Exec),
    ];
    for (program, step) in cases {
        assert_eq!(refusal(&program), step, "{program:?}");
        let error = spawn(&launch(&program)).unwrap_err().into_error(&program);
        assert!(!error.to_string().is_empty() && error.kind() != ErrorKind::Killed, "{error}");
        assert!(!ran.exists(), "{step:?}");
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()), "a mount was left");
}

#[test]
fn a_user_has_no_capability_and_only_its_groups() {
    if !is_root() {
        return;
    }
    let program = shell("grep -E '^(Uid|Groups|CapEff|CapPrm)' /proc/self/status");
    let other = User { uid: 3_000_003, gid: 3_000_004, groups: vec![3_000_004, 3_000_005] };
    let status = output(program.user(other));
    assert!(status.contains("Uid:\t3000003\t3000003\t3000003\t3000003\n"), "{status}");
    assert!(status.contains("Groups:\t3000004 3000005 \n"), "{status}");
    assert_eq!(status.matches("\t0000000000000000\n").count(), 2, "{status}");
}

#[test]
fn this_process_keeps_its_user_its_mounts_and_its_capabilities() {
    if !is_root() {
        return;
    }
    let own = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let kept = status.lines().filter(|line| {
            ["Uid", "Gid", "Groups", "Cap", "NoNew", "Seccomp", "SigBlk"]
                .iter()
                .any(|name| line.starts_with(name))
        });
        let kept: Vec<_> = kept.map(str::to_owned).collect();
        let namespaces = ["mnt", "cgroup"]
            .map(|name| fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap());
        (kept, namespaces, std::env::current_dir().unwrap())
    };
    let before = own();
    let program = shell("exit 0").user(user(3_000_003)).seal(Seal::BestEffort).current_dir("/");
    let child = spawn(&launch(&program)).unwrap();
    assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    assert_eq!(own(), before);
}

#[test]
fn an_isolated_program_moves_itself_into_each_hierarchy_first() {
    if !is_root() {
        return;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup"));
    for point in points.map(|line| line.split(' ').nth(4).unwrap()) {
        // A cpuset needs CPUs before it takes a process; that is the v1 driver's.
        if point.contains("cpuset") {
            continue;
        }
        let name = format!("isolation-test-{}", std::process::id());
        let group = Path::new(point).join(&name);
        fs::create_dir(&group).unwrap();
        let procs = fs::File::options().write(true).open(group.join("cgroup.procs")).unwrap();
        let (mut reader, writer) = pipe().unwrap();
        let program = Program::new("cat").arg("/proc/self/cgroup").stdout(writer);
        let program = program.user(user(3_000_003));
        let counter = AtomicU64::new(0);
        let (files, mark) = ([procs.as_fd()], Some(Mark::read(&counter)));
        let child = spawn(&Launch { entry: Entry::SelfMove(&files), mark, ..launch(&program) });
        drop(program);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(child.unwrap().wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
        let until = Instant::now() + Duration::from_secs(30);
        while fs::remove_dir(&group).is_err() {
            assert!(Instant::now() < until, "{} cannot be removed", group.display());
            std::thread::yield_now();
        }
        assert!(text.lines().any(|line| line.ends_with(&format!("/{name}"))), "{point}: {text}");
    }
}

#[test]
fn a_sealed_program_is_bounded_for_good() {
    if !is_root() {
        return;
    }
    let script = "grep -E '^(CapInh|CapPrm|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status";
    let status = output(shell(script).seal(Seal::BestEffort));
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
    };
    // DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, SYS_RESOURCE, MKNOD,
    // PERFMON, BPF, CHECKPOINT_RESTORE (linux/capability.h).
    let out: u64 = [2, 16, 17, 19, 21, 22, 24, 27, 38, 39, 40].iter().map(|bit| 1 << bit).sum();
    for set in ["CapInh", "CapPrm", "CapBnd", "CapAmb"] {
        assert_eq!(field(set) & out, 0, "{set} in {status}");
    }
    assert_ne!(field("CapPrm"), 0, "a root program keeps what is no way out");
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), (1, 2));
}

#[test]
fn a_whole_seal_is_refused_where_the_kernel_cannot_give_it() {
    if !is_root() {
        return;
    }
    let program = shell("exit 0").seal(Seal::Whole);
    if separates_processes() {
        let child = spawn(&launch(&program)).unwrap();
        assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    } else {
        assert_eq!(refusal(&program), Step::SealDomain);
    }
}

#[test]
fn many_threads_can_isolate_at_once() {
    if !is_root() {
        return;
    }
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for _ in 0..15 {
                    let program = shell(&format!("exit {thread}")).user(user(3_000_003));
                    let child = spawn(&launch(&program.bind(Bind::read_only("/usr", "/mnt"))));
                    let ended = child.unwrap().wait().unwrap();
                    assert_eq!(ended, Waited::Ended(Outcome::Exited(thread)));
                }
            });
        }
    });
}

#[test]
fn k52_a_target_user_that_stops_the_child_holds_nobody() {
    if !is_root() {
        return;
    }
    // A user of this test's own, whose processes stop whatever else that user runs.
    let uid = 3_100_000 + std::process::id();
    let stopper = shell("while :; do kill -STOP -1 2>/dev/null; done").user(user(uid));
    let stopper = spawn(&launch(&stopper)).unwrap();
    let (send, receive) = channel();
    let spawner = std::thread::spawn(move || {
        for _ in 0..60 {
            send.send(spawn(&launch(&shell("exit 0").user(user(uid)))).unwrap()).unwrap();
        }
    });
    let children: Vec<PidFd> = (0..60)
        .map_while(|_| {
            // Other threads go on meanwhile.
            let other = spawn(&launch(&shell("exit 0"))).unwrap();
            assert_eq!(other.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
            receive.recv_timeout(Duration::from_secs(30)).ok()
        })
        .collect();
    stopper.signal(Signal::KILL).unwrap();
    stopper.wait().unwrap();
    let continued = shell("kill -CONT -1 2>/dev/null; exit 0").user(user(uid));
    spawn(&launch(&continued)).unwrap().wait().unwrap();
    for child in &children {
        child.signal(Signal::CONT).unwrap();
        assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    }
    assert_eq!(children.len(), 60, "the spawning thread was held");
    spawner.join().unwrap();
}

#[test]
fn a_root_is_seen_by_the_program_alone() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for name in ["bin", "lib", "lib64", "usr", "proc"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let binds =
        ["/bin", "/lib", "/lib64", "/usr"].into_iter().filter(|name| Path::new(name).exists());
    let program = binds
        .fold(shell("ls -1 /; ls -d /proc/self").root_directory(root.path()), |program, name| {
            program.bind(Bind::read_only(name, name))
        });
    let listing = output(program);
    assert_eq!(listing, "bin\nlib\nlib64\nproc\nusr\n/proc/self\n");
    assert_eq!(fs::read_dir(root.path().join("usr")).unwrap().count(), 0);
}
