//! The folder of the configuration and the tokens: the system's for root, everyone else's own.

use std::{env, path::PathBuf};

#[cfg(unix)]
use rustix::process::geteuid;

/// The folder of root, and of the service that the package installs.
const SYSTEM_FOLDER: &str = "/etc/cardbroker";

/// The configuration of the system's broker.
pub const SYSTEM_CONFIGURATION: &str = "/etc/cardbroker/cardbrokerd.toml";

/// Where the files of a broker are that its flags and its configuration do not name:
///
/// * `/etc/cardbroker` for root, and for a process without the variable `HOME`, as of a service;
/// * else `$XDG_CONFIG_HOME/cardbroker` if that variable holds an absolute path;
/// * else `~/.config/cardbroker`.
///
/// The system's files are never those of a process with a home: they name places that only the service may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFolder(PathBuf);

impl ConfigFolder {
    /// The folder of the user of this process, which need not exist.
    pub fn of_this_user() -> Self {
        let folder = |variable| env::var_os(variable).map(PathBuf::from);
        Self::of(folder("XDG_CONFIG_HOME"), folder("HOME"), is_root())
    }

    fn of(config: Option<PathBuf>, home: Option<PathBuf>, is_root: bool) -> Self {
        let absolute = |path: Option<PathBuf>| path.filter(|path| path.is_absolute());
        let own = absolute(config).or_else(|| Some(absolute(home)?.join(".config"))).filter(|_| !is_root);
        Self(own.map_or_else(|| SYSTEM_FOLDER.into(), |own| own.join("cardbroker")))
    }

    /// The path of the configuration.
    pub fn configuration(&self) -> PathBuf {
        self.0.join("cardbrokerd.toml")
    }

    /// The path of the tokens file, if the configuration names no other.
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_configuration_is_in_its_folder() {
        assert_eq!(ConfigFolder(SYSTEM_FOLDER.into()).configuration(), PathBuf::from(SYSTEM_CONFIGURATION));
    }

    #[test]
    fn root_has_the_systems_folder_and_a_user_with_a_home_never() {
        let path = |text: &str| Some(PathBuf::from(text));
        for (config, home, is_root, expected) in [
            (path("/x"), path("/h"), false, "/x/cardbroker"),
            (None, path("/h"), false, "/h/.config/cardbroker"),
            (path("relative"), path("/h"), false, "/h/.config/cardbroker"),
            (path("relative"), path("relative"), false, "/etc/cardbroker"),
            (None, None, false, "/etc/cardbroker"),
            (path("/x"), path("/h"), true, "/etc/cardbroker"),
        ] {
            let folder = ConfigFolder::of(config, home, is_root);
            assert_eq!(folder.tokens(), PathBuf::from(expected).join("tokens"));
            assert_eq!(folder.configuration(), PathBuf::from(expected).join("cardbrokerd.toml"));
        }
    }
}
