//! Which errors a system call can plausibly fail with while `contain` works on groups that are there.
//!
//! None that would be a lie about the world is among them: told that a group is gone (ENOENT, ENODEV), that a
//! process is (ESRCH), that there is no child (ECHILD) or that a hierarchy is shut (EACCES, where something is only
//! opened or looked at), anybody has to believe it.

/// The errors of a call with these arguments, as `strace` prints both.
pub(crate) fn plausible(call: &str, arguments: &str) -> &'static [&'static str] {
    match call {
        "fcntl" => of_fcntl(arguments),
        "ioctl" if arguments.contains("TIOC") => &["ENOTTY"],
        _ => of_call(call),
    }
}

/// The calls that only take or give back memory: where they fail a program may end by SIGABRT.
pub(crate) fn is_memory(call: &str) -> bool {
    matches!(call, "mmap" | "munmap" | "mprotect" | "mremap" | "brk" | "madvise")
}

fn of_fcntl(arguments: &str) -> &'static [&'static str] {
    match arguments {
        lock if lock.contains("LK") => &["EAGAIN", "ENOLCK"],
        copy if copy.contains("F_DUPFD") => &["EMFILE"],
        _ => &[],
    }
}

/// What is closed here was written whole, or not at all; a sandbox refuses (EPERM) what it was never told of.
fn of_call(call: &str) -> &'static [&'static str] {
    match call {
        memory if is_memory(memory) => &["ENOMEM"],
        "open" | "openat" | "openat2" => &["EMFILE", "ENFILE", "ENOMEM", "EIO"],
        "read" | "readv" | "pread64" => &["EIO", "EINTR"],
        "write" | "writev" | "pwrite64" => &["EIO", "ENOSPC", "EINTR"],
        "getdents64" | "fstat" | "newfstatat" | "statx" | "fstatfs" | "ftruncate" => {
            &["EIO", "ENOMEM"]
        }
        "readlink" | "readlinkat" | "faccessat2" | "access" | "chdir" | "getxattr"
        | "fgetxattr" => &["EIO", "ENOMEM"],
        "mkdir" | "mkdirat" => &["EACCES", "ENOSPC", "ENOMEM", "EAGAIN"],
        "linkat" | "renameat" | "renameat2" => &["EIO", "ENOSPC"],
        "unlink" | "unlinkat" | "rmdir" => &["EBUSY", "EACCES", "EIO"],
        "setxattr" | "fsetxattr" => &["ENOSPC", "EOPNOTSUPP"],
        "clone" | "clone3" | "fork" | "vfork" => &["EAGAIN", "ENOMEM"],
        "execve" => &["ENOMEM", "EACCES"],
        "pipe2" | "pidfd_open" | "signalfd4" | "epoll_create1" | "eventfd2" | "memfd_create" => {
            &["EMFILE", "ENFILE", "ENOMEM"]
        }
        "dup" | "dup2" | "dup3" => &["EMFILE", "EBUSY"],
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" => &["EINTR", "ENOMEM"],
        "waitid" | "wait4" | "close" | "getrandom" => &["EINTR"],
        "close_range" => &["ENOSYS", "ENOMEM"],
        "prctl" | "prlimit64" | "pidfd_send_signal" | "kill" | "setpgid" | "setsid" => &["EPERM"],
        _ => &[],
    }
}
