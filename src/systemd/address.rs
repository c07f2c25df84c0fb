//! Where a manager of systemd listens: on a socket of its own, or on a message bus.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;

/// A socket, and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    name: Name,
    /// A bus that passes messages on, and not the manager itself.
    pub(super) is_bus: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Address {
    pub(super) fn manager(path: impl Into<PathBuf>) -> Self {
        Self { name: Name::Path(path.into()), is_bus: false }
    }

    pub(super) fn bus(path: impl Into<PathBuf>) -> Self {
        Self { name: Name::Path(path.into()), is_bus: true }
    }

    /// The addresses of the system's manager. Never read from the environment: whoever has root follow it
    /// could have any process moved.
    pub(super) fn of_system() -> Vec<Self> {
        vec![Self::manager("/run/systemd/private"), Self::bus("/run/dbus/system_bus_socket")]
    }

    /// The addresses of a user's manager, the one without a detour first.
    pub(super) fn of_user(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Self> {
        let runtime = variable("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
        let runtime = runtime.map_or_else(|| format!("/run/user/{uid}").into(), PathBuf::from);
        let named = variable("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
        let mut all = vec![Self::manager(runtime.join("systemd/private"))];
        all.extend(Self::listed(&named));
        let usual = Self::bus(runtime.join("bus"));
        if !all.contains(&usual) {
            all.push(usual);
        }
        all
    }

    /// The Unix sockets in a list of D-Bus addresses (D-Bus specification, "Server Addresses").
    fn listed(addresses: &OsStr) -> Vec<Self> {
        addresses.as_bytes().split(|byte| *byte == b';').filter_map(Self::parse).collect()
    }

    fn parse(address: &[u8]) -> Option<Self> {
        let name =
            address.strip_prefix(b"unix:")?.split(|byte| *byte == b',').find_map(|pair| {
                if let Some(path) = pair.strip_prefix(b"path=") {
                    return Some(Name::Path(OsString::from_vec(unescaped(path)?).into()));
                }
                pair.strip_prefix(b"abstract=").and_then(unescaped).map(Name::Abstract)
            })?;
        Some(Self { name, is_bus: true })
    }

    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        match &self.name {
            Name::Path(path) => UnixStream::connect(path),
            Name::Abstract(name) => {
                UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
            }
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Name::Path(path) => write!(f, "{}", path.display()),
            Name::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}

/// A value in which `%2f` stands for a slash.
fn unescaped(value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_user(variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Address::of_user(1000, variable).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_user_s_manager_is_looked_for_where_the_session_says_and_where_it_usually_is() {
        let usual = ["/run/user/1000/systemd/private", "/run/user/1000/bus"];
        assert_eq!(of_user(&[]), usual);
        assert_eq!(of_user(&[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus")]), usual);
        assert_eq!(
            of_user(&[("XDG_RUNTIME_DIR", "/x"), ("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=/a")]),
            ["/x/systemd/private", "@/a", "/x/bus"]
        );
    }

    #[test]
    fn a_list_of_addresses_is_read_and_what_is_no_unix_socket_passed_over() {
        let list = "tcp:host=h,port=1;unix:guid=77,path=/a%20b;unix:tmpdir=/t;unix:path=%z;;x";
        assert_eq!(Address::listed(OsStr::new(list)), [Address::bus("/a b")]);
        assert_eq!(unescaped(b"%2"), None);
    }
}
