//! The door for PC/SC programs: the `[pcsclite]` section.

use std::path::PathBuf;

use cardbroker_core::pcsclite::handles::ExclusiveRule;
use cardbroker_local::socket::default_socket;
use serde::{Deserialize, Serialize};

use super::ListenConfig;

/// The name of the door's socket beside the default socket.
const SOCKET_NAME: &str = "pcscd.comm";

/// The door for PC/SC programs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PcscliteConfig {
    /// The socket of the door. Default: automatic.
    pub socket: DoorSocket,
    /// The effect of an exclusive connection on other processes. Default: virtual.
    pub exclusive: Exclusive,
    /// The isolation groups of programs. Default: one for each process.
    pub isolation: Isolation,
}

impl PcscliteConfig {
    /// Replaces an automatic socket by its path, or by none if the door is closed: it opens by itself only beside the
    /// user's default socket, in a folder that nobody else can enter.
    pub fn resolve(&mut self, listen: &ListenConfig) {
        if self.socket != DoorSocket::Auto {
            return;
        }
        // Programs on Windows have a PC/SC library of its own.
        let is_own =
            cfg!(unix) && listen.socket_group.is_none() && listen.socket_mode & 0o077 == 0 && !is_system(listen);
        self.socket = match default_socket().filter(|socket| is_own && *socket == listen.socket) {
            Some(socket) => DoorSocket::At(socket.with_file_name(SOCKET_NAME)),
            None => DoorSocket::Off,
        };
    }

    /// Chooses the door of a broker with inherited sockets: one of these `sockets` if the configuration names it, and
    /// none by itself, because the service manager decides where the broker listens.
    ///
    /// # Errors
    /// The configuration names another path: the problem, and the remedy.
    pub(super) fn inherit(&mut self, sockets: &[PathBuf]) -> Result<(), String> {
        match &self.socket {
            DoorSocket::At(path) if !sockets.contains(path) => Err(format!(
                "{} is not among the sockets from the service manager (LISTEN_FDS): add ListenStream={} to the socket \
                 unit (systemctl edit cardbrokerd.socket)",
                path.display(),
                path.display()
            )),
            DoorSocket::At(_) => Ok(()),
            DoorSocket::Auto | DoorSocket::Off => {
                self.socket = DoorSocket::Off;
                Ok(())
            }
        }
    }

    /// The path of the socket; `None` without one.
    pub fn path(&self) -> Option<&PathBuf> {
        match &self.socket {
            DoorSocket::At(path) => Some(path),
            DoorSocket::Auto | DoorSocket::Off => None,
        }
    }
}

/// Whether the broker is the system's, whose door an administrator opens.
fn is_system(listen: &ListenConfig) -> bool {
    listen.socket.as_os_str() == cardbroker_local::socket::SYSTEM_SOCKET
}

/// The choice of the door's socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DoorSocket {
    /// Beside the default socket of a user who is alone in its folder, else none.
    #[default]
    Auto,
    /// No socket at all, by the administrator's choice.
    Off,
    /// The socket at this absolute path.
    At(PathBuf),
}

impl TryFrom<String> for DoorSocket {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match &*text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') => Ok(Self::At(path.into())),
            _ => Err(format!("`{text}` is neither \"auto\" nor \"off\" nor an absolute path")),
        }
    }
}

impl From<DoorSocket> for String {
    fn from(socket: DoorSocket) -> Self {
        match socket {
            DoorSocket::Auto => "auto".into(),
            DoorSocket::Off => "off".into(),
            DoorSocket::At(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// The effect of an exclusive connection on other processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exclusive {
    /// They connect all the same, and wait for their turn.
    #[default]
    Virtual,
    /// They are refused, as by pcscd.
    Strict,
}

impl From<Exclusive> for ExclusiveRule {
    fn from(exclusive: Exclusive) -> Self {
        match exclusive {
            Exclusive::Virtual => Self::Virtual,
            Exclusive::Strict => Self::Strict,
        }
    }
}

/// The isolation groups of programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Each process is a group of its own.
    #[default]
    Process,
    /// All programs of a user are one group, as with pcscd.
    User,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path_or_a_word() {
        let read = |text: &str| DoorSocket::try_from(text.to_owned());
        assert_eq!(read("auto"), Ok(DoorSocket::Auto));
        assert_eq!(read("/run/a/pcscd.comm"), Ok(DoorSocket::At("/run/a/pcscd.comm".into())));
        assert!(read("pcscd.comm").unwrap_err().contains("neither"));
        assert_eq!(["auto", "off", "/a"].map(|text| String::from(read(text).unwrap())), ["auto", "off", "/a"]);
    }

    #[test]
    fn a_socket_that_others_may_reach_opens_no_door_by_itself() {
        let resolved = |listen: &ListenConfig| {
            let mut config = PcscliteConfig::default();
            config.resolve(listen);
            config.path().cloned()
        };
        let elsewhere = ListenConfig { socket: "/srv/broker.sock".into(), ..ListenConfig::default() };
        assert_eq!(resolved(&elsewhere), None);
        assert_eq!(resolved(&ListenConfig { socket_mode: 0o660, ..ListenConfig::default() }), None);
        let own = ListenConfig::default();
        let expected =
            default_socket().filter(|_| cfg!(unix) && !is_system(&own)).map(|path| path.with_file_name(SOCKET_NAME));
        assert_eq!(resolved(&own), expected);
    }
}
