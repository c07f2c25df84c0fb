//! The spawn engine, on real programs: what they see, and what comes back when they cannot run.

use std::cell::Cell;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use containment_core::{
    ErrorKind, FreezeState, Outcome, Pid, ProcessState, Program, Signal, SignalSet, Stream,
};
use containment_process::pidfd::{PidFd, Waited};
use containment_process::proc::Stat;
use containment_process::spawn::{AskFrozen, Entry, Failure, Launch, Mark, Memory, Step, spawn};

const BOTH: [Memory; 2] = [Memory::Share, Memory::Copy];
const ALL: [Memory; 3] = [Memory::Share, Memory::Vfork, Memory::Copy];

fn launch(program: &Program, memory: Memory) -> Launch<'_> {
    Launch { program, entry: Entry::Nowhere, process_group: None, mark: None, frozen: None, memory }
}

fn start(program: &Program, memory: Memory) -> PidFd {
    spawn(&launch(program, memory)).expect("the program starts")
}

fn refusal(program: &Program, memory: Memory) -> containment_core::Error {
    let failure = spawn(&launch(program, memory)).expect_err("the program cannot start");
    failure.into_error(program)
}

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

/// Runs a program with its standard output in a pipe.
fn output(program: Program, memory: Memory) -> String {
    let (mut reader, writer): (PipeReader, _) = pipe().unwrap();
    let program = program.stdout(writer);
    let child = start(&program, memory);
    drop(program);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    text
}

#[test]
fn exit_statuses_and_signals_come_back() {
    for memory in ALL {
        let child = start(&shell("exit 42"), memory);
        assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(42)));
        let child = start(&shell("kill -9 $$"), memory);
        assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Signaled(Signal::KILL)));
    }
}

/// The stack of a child is that of the one before, and so is where it notes how far it came.
#[test]
fn what_one_child_noted_is_not_read_for_the_next() {
    let (killed, counter) = (shell("exit 0"), AtomicU64::new(0));
    for _ in 0..50 {
        assert_eq!(
            start(&killed, Memory::Share).wait().unwrap(),
            Waited::Ended(Outcome::Exited(0))
        );
        let missing = refusal(&Program::new("/nonexistent"), Memory::Share);
        assert_eq!(missing.kind(), ErrorKind::ProgramNotFound);
        let mark = Mark::read(&counter);
        counter.fetch_add(1, Ordering::SeqCst);
        let late = Launch { mark: Some(mark), ..launch(&killed, Memory::Share) };
        let failure = spawn(&late).expect_err("the group was killed meanwhile");
        assert!(matches!(failure, Failure::Step(Step::Mark, _)), "{failure:?}");
    }
}

#[test]
fn a_program_sees_its_arguments_environment_and_directory() {
    for memory in ALL {
        let program = shell("echo \"$0 $1 $NAME ${HOME-unset}\"; pwd")
            .args(["zero", "one two"])
            .env_clear()
            .env("NAME", "value")
            .current_dir("/");
        assert_eq!(output(program, memory), "zero one two value unset\n/\n");
    }
}

#[test]
fn the_path_that_the_program_will_see_is_searched() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unlikely-name");
    // Written by another process: a fork of another test's, holding it open, would make it busy.
    let write = ["-c", r#"echo 'echo no shebang "$1"' > "$0""#];
    assert!(std::process::Command::new("sh").args(write).arg(&file).status().unwrap().success());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = Program::new("unlikely-name").arg("x").env("PATH", directory.path());
    for memory in ALL {
        assert_eq!(output(program.clone(), memory), "no shebang x\n");
    }
}

#[test]
fn descriptors_can_be_crossed() {
    // The writer of stderr becomes 1 and the reverse, and a third one becomes 3.
    for memory in ALL {
        let (mut first, one) = pipe().unwrap();
        let (mut second, two) = pipe().unwrap();
        let (mut third, three) = pipe().unwrap();
        let program = shell("echo a; echo b >&2; echo c >&3")
            .stdin(Stream::Null)
            .stdout(two)
            .stderr(one)
            .descriptor(3, three);
        let child = start(&program, memory);
        drop(program);
        child.wait().unwrap();
        let mut texts = [String::new(), String::new(), String::new()];
        first.read_to_string(&mut texts[0]).unwrap();
        second.read_to_string(&mut texts[1]).unwrap();
        third.read_to_string(&mut texts[2]).unwrap();
        assert_eq!(texts, ["b\n", "a\n", "c\n"]);
    }
}

/// Also those of the engine's own descriptors. The search takes longer than it takes us to see one closed.
#[test]
fn a_failure_is_told_whichever_numbers_the_program_is_given() {
    let sources: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let first_free = sources.iter().map(AsRawFd::as_raw_fd).max().unwrap() + 1;
    // As long as a variable may be (`MAX_ARG_STRLEN`): Linux 5.10 looks at that before it looks for the file.
    let path = "/no/such/directory:".repeat(6_000);
    let mut program = Program::new("no-such-program").env("PATH", path);
    for (target, source) in (first_free..).zip(sources) {
        program = program.descriptor(target, source);
    }
    for memory in ALL {
        assert_eq!(refusal(&program, memory).kind(), ErrorKind::ProgramNotFound);
    }
}

#[test]
fn no_descriptor_of_ours_is_inherited() {
    let (reader, _writer) = pipe().unwrap();
    let link = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let ours = std::fs::read_link(link).unwrap();
    for memory in ALL {
        let listing = output(Program::new("ls").args(["-l", "/proc/self/fd"]), memory);
        assert!(listing.contains("pipe:"), "its own standard output is listed: {listing}");
        assert!(!listing.contains(ours.to_str().unwrap()), "{ours:?} in {listing}");
    }
}

#[test]
fn a_program_cannot_run_and_the_error_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let cases = [
        ("/no/such/program", ErrorKind::ProgramNotFound),
        ("no-such-program-anywhere", ErrorKind::ProgramNotFound),
        (plain.to_str().unwrap(), ErrorKind::ProgramNotExecutable),
        ("/", ErrorKind::ProgramNotExecutable),
        ("", ErrorKind::ProgramNotFound),
    ];
    for memory in ALL {
        for (name, kind) in cases {
            assert_eq!(refusal(&Program::new(name), memory).kind(), kind, "{name:?}");
        }
        let nowhere = refusal(&shell("true").current_dir("/no/such/directory"), memory);
        assert_eq!(nowhere.kind(), ErrorKind::InvalidInput);
        assert!(nowhere.to_string().contains("ENOENT"), "{nowhere}");
    }
}

#[test]
fn signals_are_as_they_were_before_us() {
    let blocked = [Signal::USR2].into_iter().collect::<SignalSet>();
    for memory in ALL {
        let program = Program::new("cat").arg("/proc/self/status").signal_mask(blocked);
        let status = output(program, memory);
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
        };
        assert_eq!(field("SigBlk"), blocked.bits());
        assert_eq!(field("SigCgt"), 0);
        let sigpipe = Signal::new(13).unwrap();
        let ignored = SignalSet::from_bits(field("SigIgn"));
        assert_eq!(
            ignored.contains(sigpipe),
            containment_process::signals::ignored_at_start().contains(sigpipe),
            "SIGPIPE as it was before Rust's runtime"
        );
    }
}

#[test]
fn a_program_can_lead_its_process_group() {
    for memory in ALL {
        let program = Program::new("sleep").arg("1000");
        let mut order = launch(&program, memory);
        order.process_group = Some(0);
        let child = spawn(&order).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        let group = stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap();
        assert_eq!(group, child.pid().to_string());
        child.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_group_that_was_killed_meanwhile_runs_nothing() {
    let counter = AtomicU64::new(0);
    let mark = Mark::read(&counter);
    counter.fetch_add(1, Ordering::SeqCst);
    let program = shell("exit 0");
    for memory in ALL {
        let mut order = launch(&program, memory);
        order.mark = Some(mark);
        let failure = spawn(&order).unwrap_err();
        assert!(matches!(failure, Failure::Step(Step::Mark, _)), "{failure:?}");
        assert_eq!(failure.into_error(&program).kind(), ErrorKind::Killed);
    }
}

#[test]
fn many_threads_can_spawn_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for _ in 0..50 {
                    let child = start(&shell(&format!("exit {thread}")), Memory::Share);
                    assert_eq!(child.wait().unwrap(), Waited::Ended(Outcome::Exited(thread)));
                }
            });
        }
    });
}

#[test]
fn a_zero_byte_is_refused_before_anything_runs() {
    use std::os::unix::ffi::OsStringExt;
    let argument = std::ffi::OsString::from_vec(b"a\0b".to_vec());
    let failure = spawn(&launch(&shell("true").arg(argument), Memory::Share)).unwrap_err();
    assert!(matches!(failure, Failure::Prepare(_)), "{failure:?}");
}

/// A pipe that takes nothing more: whoever is to enter a group by writing to it stays between clone and exec.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![0; size]).unwrap();
    (reader, writer)
}

fn drain(reader: &mut PipeReader) {
    assert!(reader.read(&mut vec![0; 1 << 16]).unwrap() > 0);
}

#[test]
fn who_stays_frozen_is_ended_and_who_started_it_goes_on() {
    let (_reader, writer) = full_pipe();
    let program = shell("exit 0");
    for memory in BOTH {
        let asked = Cell::new(0);
        let frozen = || {
            asked.set(asked.get() + 1);
            Ok(FreezeState::Frozen)
        };
        let files = [writer.as_fd()];
        let launch = Launch {
            entry: Entry::SelfMove(&files),
            frozen: Some(AskFrozen(&frozen)),
            ..launch(&program, memory)
        };
        let Err(Failure::Frozen(process)) = spawn(&launch) else { panic!("it never gets on") };
        assert!(asked.get() > 1, "a moment is ridden out");
        assert_eq!(process.wait().unwrap(), Waited::Ended(Outcome::Signaled(Signal::KILL)));
        let error = Failure::Frozen(process).into_error(&program);
        assert_eq!(error.kind(), ErrorKind::Frozen);
        // The memory that it was on serves the next one.
        let next = start(&program, memory);
        assert_eq!(next.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    }
}

/// The stack that the child is on stays until it is dead.
#[test]
fn a_question_that_panics_ends_the_child_first() {
    let (_reader, writer) = full_pipe();
    let program = shell("exit 0");
    let frozen = || panic!("nobody can tell");
    let name = "asked-in-vain";
    let files = [writer.as_fd()];
    std::thread::scope(|scope| {
        let starts = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, || {
            let entry = Entry::SelfMove(&files);
            let frozen = Some(AskFrozen(&frozen));
            spawn(&Launch { entry, frozen, ..launch(&program, Memory::Share) })
        });
        assert!(starts.unwrap().join().is_err(), "it panics");
    });
    assert_eq!(child_called(name), None);
    assert_eq!(start(&program, Memory::Share).wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
}

#[test]
fn who_is_frozen_for_a_moment_or_slow_is_waited_for() {
    let program = shell("exit 0");
    for memory in BOTH {
        let (mut reader, writer) = full_pipe();
        let asked = Cell::new(0);
        let frozen = || {
            asked.set(asked.get() + 1);
            if asked.get() == 2 {
                drain(&mut reader.try_clone().unwrap());
            }
            Ok(if asked.get() < 2 { FreezeState::Frozen } else { FreezeState::Thawed })
        };
        let files = [writer.as_fd()];
        let launch = Launch {
            entry: Entry::SelfMove(&files),
            frozen: Some(AskFrozen(&frozen)),
            ..launch(&program, memory)
        };
        let process = spawn(&launch).expect("it gets on when the pipe is drained");
        assert_eq!(process.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
        assert!(asked.get() >= 2, "{}", asked.get());
        drain(&mut reader);
    }
}

#[test]
fn who_is_stopped_before_it_executes_is_told_to_go_on() {
    let program = shell("exit 0");
    for (memory, name) in BOTH.into_iter().zip(["stop-shared", "stop-copied"]) {
        let (mut reader, writer) = full_pipe();
        let files = [writer.as_fd()];
        std::thread::scope(|scope| {
            // Its child has the name of the thread until it executes.
            let starts = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, || {
                let entry = Entry::SelfMove(&files);
                spawn(&Launch { entry, ..launch(&program, memory) })
            });
            let child = loop {
                if let Some(child) = child_called(name) {
                    break PidFd::open(child).unwrap().expect("it waits for the pipe");
                }
            };
            while Stat::read(child.pid()).unwrap().unwrap().state != ProcessState('S') {
                std::thread::yield_now();
            }
            child.signal(Signal::STOP).unwrap();
            drain(&mut reader);
            let process = starts.unwrap().join().unwrap().expect("it is continued");
            assert_eq!(process.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
        });
    }
}

/// A child of this process, found by its name.
fn child_called(name: &str) -> Option<Pid> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let children = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).ok());
    let pids: Vec<Pid> = children
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| Pid::new(pid.parse().ok()?))
        .collect();
    pids.into_iter().find(|pid| Stat::read(*pid).unwrap().is_some_and(|stat| stat.comm == name))
}
