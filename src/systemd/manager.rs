//! A manager of systemd, system or user: what it is asked, and what it answers
//! (`org.freedesktop.systemd1(5)`).

use std::io;
use std::time::{Duration, Instant};

use containment_core::{Error, ErrorKind, Operation, Result};

use super::address::Address;
use super::connection::{Connection, Refused};
use super::message::{Kind, Message, Writer};

/// Whose manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    System,
    User,
}

impl Whose {
    /// The one that this process may ask for a unit of its own.
    pub(super) fn of_us() -> Self {
        if rustix::process::geteuid().is_root() { Self::System } else { Self::User }
    }

    fn addresses(self) -> Vec<Address> {
        match self {
            Self::System => Address::of_system(),
            Self::User => {
                let uid = rustix::process::geteuid().as_raw();
                Address::of_user(uid, |name| std::env::var_os(name))
            }
        }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System => "the system manager",
            Self::User => "the user manager",
        })
    }
}

/// How long a manager may take for everything that is asked of it; 25 seconds a call are usual with D-Bus.
const PATIENCE: Duration = Duration::from_secs(30);

/// A manager that answers.
#[derive(Debug)]
pub(super) struct Manager {
    connection: Connection,
    pub(super) whose: Whose,
    /// The group that all of its units are below.
    pub(super) group: String,
}

impl Manager {
    /// The first one that answers at any of its addresses.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable): nobody is there, or nobody that is systemd.
    pub(super) fn find(whose: Whose) -> Result<Self> {
        Self::at(whose, &whose.addresses(), PATIENCE)
    }

    pub(super) fn at(whose: Whose, addresses: &[Address], patience: Duration) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut first = None;
        for address in addresses {
            match Self::open(whose, address, deadline) {
                Ok(manager) => return Ok(manager),
                Err(error) => first = first.or(Some((address, error))),
            }
        }
        let why = first.map_or_else(String::new, |(at, error)| format!(": {at}: {error}"));
        Err(unusable(format!("{whose} of systemd cannot be reached{why}")).advise(match whose {
            Whose::System => "boot the host with systemd, or name an empty group with --parent PATH",
            Whose::User => {
                "log in as this user with a user manager of systemd (as root: loginctl enable-linger USER)"
            }
        }))
    }

    fn open(whose: Whose, address: &Address, deadline: Instant) -> io::Result<Self> {
        let mut connection = Connection::open(address, deadline)?;
        let mut asked = Writer::default();
        asked.string(MANAGER);
        asked.string("ControlGroup");
        let got = connection.call_manager(PROPERTIES, "Get", ("ss", asked), drop)?;
        let got = got.map_err(|refused| io::Error::other(refused.text))?;
        let mut value = got.body();
        let group = match value.signature()? {
            "s" => value.string()?,
            _ => return Err(super::message::garbage("a group that is no string")),
        };
        Ok(Self { connection, whose, group: group.to_owned() })
    }

    /// Starts a scope of these properties (`a(sv)`), and waits until it is there.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable) when it is refused, [`TimedOut`](ErrorKind::TimedOut).
    pub(super) fn start_scope(
        mut self,
        name: &str,
        properties: impl FnOnce(&mut Writer),
    ) -> Result<()> {
        let whose = self.whose;
        match self.job_of(name, properties).map_err(|error| lost(whose, &error))? {
            Ok(end) if end == "done" => Ok(()),
            Ok(end) => Err(unusable(format!("{whose} of systemd could not start a scope: {end}"))
                .advise(format!("see journalctl -u {name}"))),
            Err(no) => Err(refused(whose, &no)),
        }
    }

    /// Asks for the scope, and waits for the end of the job that starts it: how that ended, or why there is none.
    fn job_of(
        &mut self,
        name: &str,
        properties: impl FnOnce(&mut Writer),
    ) -> io::Result<std::result::Result<String, Refused>> {
        // The job may be done before its number is told.
        let mut ended = None;
        let mut look = |message: Message| ended = ended.take().or(ended_job(&message, name));
        let asked = ("ssa(sv)a(sa(sv))", transient_unit(name, properties));
        let started =
            self.connection.call_manager(MANAGER, "StartTransientUnit", asked, &mut look)?;
        if let Err(refused) = started {
            return Ok(Err(refused));
        }
        loop {
            if let Some(how) = ended {
                return Ok(Ok(how));
            }
            ended = ended_job(&self.connection.next()?, name);
        }
    }
}

/// What `StartTransientUnit` is asked: a unit of this name that is not there yet, and none besides it.
fn transient_unit(name: &str, properties: impl FnOnce(&mut Writer)) -> Writer {
    let mut asked = Writer::default();
    asked.string(name);
    asked.string("fail");
    asked.array(8, properties);
    asked.array(8, |_| {});
    asked
}

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How the job of `unit` ended, if that is what the message tells.
fn ended_job(message: &Message, unit: &str) -> Option<String> {
    let told = (message.interface.as_str(), message.member.as_str(), message.signature.as_str());
    if message.kind != Kind::Signal || told != (MANAGER, "JobRemoved", "uoss") {
        return None;
    }
    let mut body = message.body();
    let mut read = || -> io::Result<_> {
        let (_number, _job) = (body.u32()?, body.string()?);
        Ok((body.string()?, body.string()?))
    };
    let (of, how) = read().ok()?;
    (of == unit).then(|| how.to_owned())
}

fn refused(whose: Whose, refused: &Refused) -> Error {
    let Refused { name, text } = refused;
    unusable(format!("{whose} of systemd refuses a scope: {text} ({name})"))
        .advise("run it in a unit with Delegate=yes, or name an empty group with --parent PATH")
}

fn lost(whose: Whose, error: &io::Error) -> Error {
    let told = unusable(format!("{whose} of systemd gave no scope: {error}"));
    let told = told.advise("see whether it is overloaded or stopped: systemctl status");
    match error.kind() {
        io::ErrorKind::TimedOut => told.with_kind(ErrorKind::TimedOut),
        _ => told,
    }
}

pub(super) fn unusable(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::fake::{Fake, Manner, SCOPE};

    /// Long enough on a loaded machine.
    const LONG: Duration = Duration::from_secs(60);
    const GIVES: Manner = Manner::Gives { job_first: false };

    fn find(address: Address, patience: Duration) -> Result<Manager> {
        Manager::at(Whose::User, &[address], patience)
    }

    fn scope_of(fake: &Fake) -> Result<()> {
        find(fake.manager(), LONG)?.start_scope(SCOPE, |_| {})
    }

    fn members(fake: &Fake) -> Vec<String> {
        fake.calls().into_iter().map(|(member, _)| member).collect()
    }

    #[test]
    fn a_scope_is_asked_of_the_manager_itself() {
        let fake = Fake::new(GIVES);
        let manager = find(fake.manager(), LONG).unwrap();
        assert_eq!(manager.group, "/user.slice");
        manager.start_scope(SCOPE, |_| {}).unwrap();
        assert_eq!(members(&fake), ["Get", "StartTransientUnit"]);
    }

    #[test]
    fn on_a_bus_signals_are_asked_for_first() {
        let fake = Fake::new(GIVES);
        find(fake.bus(), LONG).unwrap().start_scope(SCOPE, |_| {}).unwrap();
        assert_eq!(members(&fake), ["Hello", "AddMatch", "Get", "StartTransientUnit"]);
    }

    #[test]
    fn the_call_carries_the_name_and_the_properties() {
        let fake = Fake::new(GIVES);
        let manager = find(fake.manager(), LONG).unwrap();
        let delegate = |properties: &mut Writer| {
            properties.structure();
            properties.string("Delegate");
            properties.variant("b", |value| value.bool(true));
        };
        manager.start_scope(SCOPE, delegate).unwrap();
        let (_, call) = fake.calls().pop().unwrap();
        assert_eq!(call.signature, "ssa(sv)a(sa(sv))");
        let mut body = call.body();
        assert_eq!((body.string().unwrap(), body.string().unwrap()), (SCOPE, "fail"));
        let _length = body.u32().unwrap();
        assert_eq!((body.string().unwrap(), body.signature().unwrap()), ("Delegate", "b"));
        assert_eq!((body.u32().unwrap(), body.u32().unwrap()), (1, 0), "and no units besides");
    }

    #[test]
    fn a_job_that_is_done_before_the_call_is_answered_counts() {
        scope_of(&Fake::new(Manner::Gives { job_first: true })).unwrap();
    }

    #[test]
    fn whatever_goes_wrong_is_told_with_a_remedy() {
        for (manner, why) in [
            (Manner::Ends("timeout"), "could not start a scope: timeout"),
            (
                Manner::Refuses,
                "refuses a scope: Permission denied (org.freedesktop.DBus.Error.Fake)",
            ),
            (Manner::HangsUp, "gave no scope: unexpected end of file"),
            (Manner::KnowsNobody, "it does not know us: REJECTED EXTERNAL"),
            (Manner::Babbles, "gave no scope: no D-Bus: no byte order"),
            (Manner::HasNoManager, "no such name"),
        ] {
            let error = scope_of(&Fake::new(manner)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unusable, "{manner:?}");
            assert!(error.to_string().contains(why), "{manner:?}: {error}");
            assert!(error.remedy().is_some(), "{manner:?}");
        }
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let fake = Fake::new(Manner::KeepsSilent);
        let patience = Duration::from_secs(2);
        let begun = Instant::now();
        let error = find(fake.manager(), patience).unwrap().start_scope(SCOPE, |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= patience);
    }

    #[test]
    fn the_next_address_is_tried_and_the_first_failure_told() {
        let fake = Fake::new(GIVES);
        let nowhere = Address::manager("/nowhere/socket");
        let found = Manager::at(Whose::System, &[nowhere.clone(), fake.manager()], LONG);
        assert!(found.is_ok(), "{found:?}");
        let error = find(nowhere, LONG).unwrap_err();
        assert!(error.to_string().contains("/nowhere/socket: No such file"), "{error}");
        assert!(error.remedy().unwrap().contains("loginctl enable-linger"), "{error:?}");
    }
}
