//! The door for PC/SC programs: the `[pcsclite]` section.

use std::path::PathBuf;

use cardbroker_core::pcsclite::handles::ExclusiveRule;
use cardbroker_local::socket::{SYSTEM_SOCKET, default_socket};
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
        self.resolve_beside(listen, default_socket());
    }

    fn resolve_beside(&mut self, listen: &ListenConfig, default: Option<PathBuf>) {
        if self.socket != DoorSocket::Auto {
            return;
        }
        // Programs on Windows have a PC/SC library of its own.
        let is_own =
            cfg!(unix) && listen.socket_group.is_none() && listen.socket_mode & 0o077 == 0 && !is_system(listen);
        self.socket = match default.filter(|socket| is_own && *socket == listen.socket) {
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
    listen.socket.as_os_str() == SYSTEM_SOCKET
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
    #[cfg(unix)]
    use cardbroker_core::user::SystemGroup;

    use super::*;
    #[cfg(unix)]
    use crate::config::value::SocketGroup;

    #[test]
    fn a_socket_is_a_path_or_a_word() {
        let read = |text: &str| DoorSocket::try_from(text.to_owned());
        assert_eq!(read("auto"), Ok(DoorSocket::Auto));
        assert_eq!(read("/run/a/pcscd.comm"), Ok(DoorSocket::At("/run/a/pcscd.comm".into())));
        assert!(read("pcscd.comm").unwrap_err().contains("neither"));
        assert_eq!(["auto", "off", "/a"].map(|text| String::from(read(text).unwrap())), ["auto", "off", "/a"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_door_opens_by_itself_only_beside_the_own_socket_of_a_user_alone() {
        const OWN: &str = "/run/user/1000/cardbroker/cardbroker.sock";
        let own = || ListenConfig { socket: OWN.into(), ..ListenConfig::default() };
        let opened = |listen: &ListenConfig, default: &str| {
            let mut config = PcscliteConfig::default();
            config.resolve_beside(listen, Some(default.into()));
            config.path().map(|path| path.display().to_string())
        };
        assert_eq!(opened(&own(), OWN).as_deref(), Some("/run/user/1000/cardbroker/pcscd.comm"));
        for (listen, default) in [
            (ListenConfig { socket: "/srv/broker.sock".into(), ..own() }, OWN),
            (ListenConfig { socket_mode: 0o660, ..own() }, OWN),
            (ListenConfig { socket_mode: 0o606, ..own() }, OWN),
            (
                ListenConfig {
                    socket_group: Some(SocketGroup { name: "users".into(), group: SystemGroup::unix(100) }),
                    ..own()
                },
                OWN,
            ),
            (ListenConfig { socket: SYSTEM_SOCKET.into(), ..own() }, SYSTEM_SOCKET),
        ] {
            assert_eq!(opened(&listen, default), None, "{listen:?}");
        }
    }
}
