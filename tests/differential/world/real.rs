//! This host as a world: helpers are this test's own executable, each with a line over which it is told
//! what to do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use containment_core::{CgroupOps, Member, Pid, Program, Signal, Stream};
use containment_process::pidfd::PidFd;
use containment_process::proc::Stat;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tempfile::TempDir;

use super::World;
use crate::helper::{Birth, LINE, Order, WORDS, numbers};

/// A driver of this host, and the lines to its helpers.
pub(crate) struct RealWorld {
    driver: Box<dyn CgroupOps>,
    directory: TempDir,
    listener: UnixListener,
    helpers: RefCell<BTreeMap<Birth, Helper>>,
    outsiders: RefCell<Vec<Child>>,
}

/// What is known of a helper.
#[derive(Debug)]
struct Helper {
    pid: Pid,
    /// In clock ticks since boot: a pid that is used again has another.
    started: u64,
    /// Once it has called.
    line: Option<UnixStream>,
    /// Orders that it has not acknowledged.
    waiting: usize,
}

/// This executable, be its file still there or not.
const ITSELF: &str = "/proc/self/exe";

/// How long a helper may take to answer until it is looked at again.
const MOMENT: Duration = Duration::from_millis(20);

impl RealWorld {
    pub(crate) fn new(driver: Box<dyn CgroupOps>) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let listener = UnixListener::bind(directory.path().join("line"));
        let listener = listener.expect("a socket can be made");
        listener.set_nonblocking(true).expect("a socket can be made not to block");
        let (helpers, outsiders) = (RefCell::default(), RefCell::default());
        Self { driver, directory, listener, helpers, outsiders }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("line")
    }

    fn note(&self, birth: Birth, pid: Pid, line: Option<UnixStream>) {
        let mut helpers = self.helpers.borrow_mut();
        if let Some(helper) = helpers.get_mut(&birth) {
            helper.line = line.or_else(|| helper.line.take());
        } else if let Some(stat) = Stat::read(pid).expect("/proc can be read") {
            helpers.insert(birth, Helper { pid, started: stat.started, line, waiting: 0 });
        }
    }

    /// Takes the calls of new helpers.
    fn accept(&self) {
        while let Ok((mut line, _)) = self.listener.accept() {
            line.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket has a timeout");
            let mut greeting = [0; WORDS];
            if line.read_exact(&mut greeting).is_err() {
                continue;
            }
            let [birth, pid] = numbers(greeting);
            line.set_nonblocking(true).expect("a socket can be made not to block");
            let pid = i32::try_from(pid).ok().and_then(Pid::new).expect("a pid is positive");
            self.note(birth, pid, Some(line));
        }
    }

    /// Asks everybody for an answer who owes none.
    fn ask(&self) {
        for helper in self.helpers.borrow_mut().values_mut().filter(|helper| helper.lives()) {
            if helper.waiting == 0 {
                helper.tell(Order::Answer);
            }
        }
    }

    /// Takes what was answered; whether all of them owe nothing.
    fn have_answered(&self, expected: &BTreeSet<Birth>) -> bool {
        self.accept();
        let mut helpers = self.helpers.borrow_mut();
        helpers.values_mut().for_each(Helper::listen);
        expected.iter().all(|birth| helpers.get(birth).is_some_and(Helper::is_done))
    }

    /// Until somebody calls or answers, or for a while.
    fn await_news(&self) {
        let helpers = self.helpers.borrow();
        let owing = helpers.values().filter(|helper| helper.waiting > 0);
        let lines = owing.filter_map(|helper| helper.line.as_ref());
        let all = [self.listener.as_fd()].into_iter().chain(lines.map(|line| line.as_fd()));
        let mut all: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let a_while = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        match poll(&mut all, Some(&a_while)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => panic!("the lines cannot be polled: {errno}"),
        }
    }
}

impl Helper {
    fn lives(&self) -> bool {
        let stat = Stat::read(self.pid).expect("/proc can be read");
        stat.is_some_and(|stat| stat.started == self.started && !stat.has_ended())
    }

    /// Whether it is on its line and owes nothing.
    fn is_done(&self) -> bool {
        self.line.is_some() && self.waiting == 0
    }

    fn tell(&mut self, order: Order) {
        let Some(line) = &mut self.line else { return };
        // One that has died obeys no more.
        if line.write_all(&order.to_bytes()).is_ok() {
            self.waiting += 1;
        }
    }

    fn listen(&mut self) {
        let Some(line) = &mut self.line else { return };
        let mut answers = [0; 64];
        match line.read(&mut answers) {
            Ok(0) => {}
            Ok(count) => self.waiting = self.waiting.saturating_sub(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("a line broke: {error}"),
        }
    }
}

impl World for RealWorld {
    fn driver(&self) -> &dyn CgroupOps {
        &*self.driver
    }

    fn helper(&self, birth: Birth) -> Program {
        let helper = Program::new(ITSELF).arg(birth.to_string()).env(LINE, self.path());
        helper.stdin(Stream::Null).stdout(Stream::Null).stderr(Stream::Null)
    }

    fn nothing(&self, there: bool) -> Program {
        Program::new(if there { "/proc/self/status" } else { "/proc/none" })
    }

    fn spawned(&self, birth: Birth, pid: Pid) {
        self.note(birth, pid, None);
    }

    fn start_outside(&self, birth: Birth) {
        let mut helper = Command::new(ITSELF);
        helper.arg(birth.to_string()).env(LINE, self.path());
        helper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = helper.spawn().expect("this executable can be executed");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::new).expect("a pid is positive");
        self.outsiders.borrow_mut().push(child);
        self.note(birth, pid, None);
    }

    fn tell(&self, birth: Birth, order: Order) {
        if let Some(helper) = self.helpers.borrow_mut().get_mut(&birth) {
            helper.tell(order);
        }
    }

    fn pid(&self, birth: Birth) -> Option<Pid> {
        self.helpers.borrow().get(&birth).map(|helper| helper.pid)
    }

    fn look(&self, expected: &BTreeSet<Birth>) -> BTreeMap<Birth, bool> {
        let until = Instant::now() + MOMENT;
        self.accept();
        self.ask();
        while !self.have_answered(expected) && Instant::now() < until {
            self.await_news();
        }
        let helpers = self.helpers.borrow();
        let living = helpers.iter().filter(|(_, helper)| helper.lives());
        living.map(|(birth, helper)| (*birth, helper.is_done())).collect()
    }

    fn who(&self, member: &Member) -> Option<Birth> {
        let helpers = self.helpers.borrow();
        let same = |helper: &Helper| (helper.pid, helper.started) == (member.pid, member.started);
        helpers.iter().find(|(_, helper)| same(helper)).map(|(birth, _)| *birth)
    }

    fn who_has(&self, pid: i32) -> Option<Birth> {
        let helpers = self.helpers.borrow();
        let has = |helper: &Helper| helper.pid.as_raw() == pid && helper.lives();
        helpers.iter().find(|(_, helper)| has(helper)).map(|(birth, _)| *birth)
    }
}

/// Whoever is left ends with the world: those that escaped, and those outside.
impl Drop for RealWorld {
    fn drop(&mut self) {
        for helper in self.helpers.get_mut().values().filter(|helper| helper.lives()) {
            let process = PidFd::open(helper.pid).ok().flatten();
            if let Some(process) = process.filter(|_| helper.lives()) {
                drop(process.signal(Signal::KILL));
            }
        }
        for child in self.outsiders.get_mut() {
            drop(child.wait());
        }
    }
}
