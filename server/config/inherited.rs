//! Sockets that the service manager has opened: their addresses stand in place of those in the configuration.

use std::path::PathBuf;

use super::{Config, ConfigError, TcpPort};

/// The addresses of inherited sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InheritedAddresses {
    /// The paths of the Unix sockets.
    pub sockets: Vec<PathBuf>,
    /// The addresses of the TCP sockets.
    pub tcp: Vec<TcpPort>,
}

/// A key of the configuration that says where the broker listens, and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressKey {
    /// The key, one of [`ADDRESS_KEYS`].
    pub(super) key: &'static str,
    /// Line and column, both counted from 1.
    pub(super) place: (usize, usize),
}

/// The keys that say where the broker listens, each with the setting of a socket unit that replaces it.
pub(super) const ADDRESS_KEYS: [(&str, &str); 4] = [
    ("listen.socket", "ListenStream="),
    ("listen.socket_mode", "SocketMode="),
    ("listen.socket_group", "SocketGroup="),
    ("listen.tcp", "a further ListenStream="),
];

impl Config {
    /// Puts the addresses of inherited sockets in place of the configured ones. The door for PC/SC programs is
    /// the socket that `pcsclite.socket` names, and closed if it names none; the first of the others is for clients.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if the file says where to listen, and [`ConfigError::Flags`] if `listen.tcp_plain` or
    /// `pcsclite.socket` does not fit the inherited sockets.
    pub fn with_inherited(mut self, addresses: &InheritedAddresses) -> Result<Self, ConfigError> {
        if let Some(source) = &self.source
            && let Some(AddressKey { key, place: (line, column) }) = &source.address
        {
            let (path, message) = (source.path.clone(), refusal("this line", setting_for(key)));
            return Err(ConfigError::Invalid { path, line: *line, column: *column, key: Some((*key).into()), message });
        }
        let unfit = |problem| ConfigError::Flags { key: "pcsclite.socket", problem };
        self.pcsclite.inherit(&addresses.sockets).map_err(unfit)?;
        let own = addresses.sockets.iter().find(|socket| self.pcsclite.path() != Some(socket));
        let alone = "is the only Unix socket from the service manager (LISTEN_FDS): clients of the broker need a \
                     ListenStream= of their own";
        self.listen.socket.clone_from(own.ok_or_else(|| unfit(alone.into()))?);
        self.listen.tcp = None;
        self.check_flags()?;
        // The first last: it stands for all of them elsewhere.
        for port in addresses.tcp.iter().rev() {
            self.listen.tcp = Some(*port);
            self.check_flags()?;
        }
        Ok(self)
    }
}

/// The setting of a socket unit that replaces a key.
pub(crate) fn setting_for(key: &str) -> &'static str {
    ADDRESS_KEYS.iter().find(|(known, _)| *known == key).map_or("ListenStream=", |(_, setting)| setting)
}

/// Why an address is refused beside inherited sockets, and what to do.
pub(crate) fn refusal(remove: &str, setting: &str) -> String {
    format!(
        "not allowed with sockets from the service manager (LISTEN_FDS): remove {remove}, and use {setting} of the \
         socket unit (systemctl edit cardbrokerd.socket)"
    )
}

// Windows has no such sockets, and no absolute path that begins with a slash.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::DoorSocket;

    fn inherit(text: &str, tcp: &[&str]) -> Result<Config, String> {
        let tcp = tcp.iter().map(|tcp| tcp.parse().unwrap()).collect();
        let addresses = InheritedAddresses { sockets: vec!["/run/door.comm".into(), "/run/x.sock".into()], tcp };
        let config = Config::parse(Path::new("c.toml"), text).unwrap();
        config.with_inherited(&addresses).map_err(|error| error.to_string())
    }

    #[test]
    fn inherited_addresses_replace_the_defaults() {
        let config =
            inherit("listen.tokens = '/t'\nlisten.max_connections = 9", &["127.0.0.1:7", "10.0.0.1:7"]).unwrap();
        assert_eq!(
            (config.listen.socket.to_str(), config.listen.tcp.unwrap().to_string()),
            (Some("/run/door.comm"), "127.0.0.1:7".into())
        );
        assert_eq!(inherit("", &[]).unwrap().listen.tcp, None);
    }

    #[test]
    fn each_address_in_the_file_is_refused_with_its_line_and_remedy() {
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
        for (text, place, setting) in [
            ("[listen]\nsocket = '/a'", "c.toml:2:1: listen.socket: ", "use ListenStream= of"),
            ("[listen]\n\n  tcp = 'auto'", "c.toml:3:3: listen.tcp: ", "use a further ListenStream= of"),
            ("listen.socket_mode = '0660'", "c.toml:1:8: listen.socket_mode: ", "use SocketMode= of"),
            (
                &format!("[listen]\nsocket_group = '{group}'\nsocket_mode = '0660'"),
                "c.toml:2:1: listen.socket_group: ",
                "use SocketGroup= of",
            ),
        ] {
            let refused = inherit(text, &[]).unwrap_err();
            assert!(refused.starts_with(place) && refused.contains(setting), "{text}: {refused}");
        }
    }

    #[test]
    fn the_door_is_one_of_the_inherited_sockets_or_closed() {
        for text in ["", "pcsclite.socket = 'auto'", "pcsclite.socket = 'off'"] {
            let config = inherit(text, &[]).unwrap();
            assert_eq!(config.pcsclite.socket, DoorSocket::Off);
            assert_eq!(config.listen.socket.to_str(), Some("/run/door.comm"));
        }
        let open = inherit("pcsclite.socket = '/run/door.comm'", &[]).unwrap();
        assert_eq!(open.pcsclite.path().and_then(|path| path.to_str()), Some("/run/door.comm"));
        assert_eq!(open.listen.socket.to_str(), Some("/run/x.sock"));
        let other = inherit("pcsclite.socket = '/run/other.comm'", &[]).unwrap_err();
        assert!(other.starts_with("pcsclite.socket: ") && other.contains("ListenStream=/run/other.comm"), "{other}");
        let addresses = InheritedAddresses { sockets: vec!["/d".into()], tcp: Vec::new() };
        let alone = Config::parse(Path::new("c.toml"), "pcsclite.socket = '/d'").unwrap().with_inherited(&addresses);
        assert!(alone.unwrap_err().to_string().starts_with("pcsclite.socket: is the only Unix socket"));
    }

    #[test]
    fn plain_tcp_must_fit_the_inherited_socket() {
        assert!(inherit("listen.tcp_plain = true", &["127.0.0.1:7", "[::1]:7"]).is_ok());
        for ports in [["10.0.0.1:7", "127.0.0.1:7"], ["127.0.0.1:7", "10.0.0.1:7"]] {
            let refused = inherit("listen.tcp_plain = true", &ports).unwrap_err();
            assert!(refused.starts_with("listen.tcp_plain: only allowed on loopback"), "{ports:?}: {refused}");
        }
    }
}
