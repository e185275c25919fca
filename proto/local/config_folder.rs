//! The folder of the configuration and the tokens: the system's for root or a service, everyone else's own.

use std::{
    env,
    path::{Path, PathBuf},
};

pub use self::os::SYSTEM_CONFIGURATION;
use self::os::SYSTEM_FOLDER;

/// Where the files of a broker are that its flags and its configuration do not name:
///
/// * `/etc/cardbroker` for root, and for a process without the variable `HOME`, as of a service;
/// * else `$XDG_CONFIG_HOME/cardbroker` if that variable holds an absolute path;
/// * else `~/.config/cardbroker`.
///
/// The system's files are never those of a process with a home: they name places that only the service may use.
///
/// On Windows it is `%ProgramData%\cardbroker` for the accounts of services, else `%LOCALAPPDATA%\cardbroker`. Without
/// that variable it is the same folder below `%USERPROFILE%`, or else one below that of temporary files, and never that
/// of the service: a user who made it would own it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFolder(PathBuf);

impl ConfigFolder {
    /// The folder of the machine's service, also in a process of another user.
    #[cfg(windows)]
    pub fn of_the_service() -> Self {
        os::of_the_service()
    }

    /// The folder of the user of this process, which need not exist.
    pub fn of_this_user() -> Self {
        os::of_this_user()
    }

    /// The folder that `own` names, or else the system's.
    fn of(own: Option<PathBuf>) -> Self {
        Self(own.map_or_else(|| SYSTEM_FOLDER.into(), |own| own.join("cardbroker")))
    }

    /// The path of the folder itself.
    pub fn path(&self) -> &Path {
        &self.0
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

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}

/// A folder with a relative path counts as not set.
fn absolute(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| path.is_absolute())
}

#[cfg(unix)]
mod os {
    use std::path::PathBuf;

    use rustix::process::geteuid;

    use super::{ConfigFolder, absolute, variable};

    /// The folder of root, and of the service that the package installs.
    pub(super) const SYSTEM_FOLDER: &str = "/etc/cardbroker";

    /// The configuration of the system's broker.
    pub const SYSTEM_CONFIGURATION: &str = "/etc/cardbroker/cardbrokerd.toml";

    pub(super) fn of_this_user() -> ConfigFolder {
        ConfigFolder::of(own(variable("XDG_CONFIG_HOME"), variable("HOME"), geteuid().is_root()))
    }

    /// The folder of a user; `None` for the system's.
    pub(super) fn own(config: Option<PathBuf>, home: Option<PathBuf>, is_root: bool) -> Option<PathBuf> {
        absolute(config).or_else(|| Some(absolute(home)?.join(".config"))).filter(|_| !is_root)
    }
}

#[cfg(windows)]
mod os {
    use std::{env, path::PathBuf};

    use super::{ConfigFolder, absolute, variable};
    use crate::socket::{SYSTEM_SOCKET, default_socket};

    /// The folder of the service, unless Windows has another one for programs' data.
    pub(super) const SYSTEM_FOLDER: &str = r"C:\ProgramData\cardbroker";

    /// The configuration of the service's broker.
    pub const SYSTEM_CONFIGURATION: &str = r"C:\ProgramData\cardbroker\cardbrokerd.toml";

    pub(super) fn of_this_user() -> ConfigFolder {
        let is_service = default_socket().is_some_and(|pipe| pipe.as_os_str() == SYSTEM_SOCKET);
        if is_service {
            return of_the_service();
        }
        ConfigFolder::of(Some(own(variable("LOCALAPPDATA"), variable("USERPROFILE"))))
    }

    /// The folder of local data of a user.
    pub(super) fn own(local: Option<PathBuf>, profile: Option<PathBuf>) -> PathBuf {
        let in_profile = || Some(absolute(profile)?.join(r"AppData\Local"));
        absolute(local).or_else(in_profile).unwrap_or_else(env::temp_dir)
    }

    pub(super) fn of_the_service() -> ConfigFolder {
        ConfigFolder::of(absolute(variable("ProgramData")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_configuration_is_in_its_folder() {
        assert_eq!(ConfigFolder(SYSTEM_FOLDER.into()).configuration(), PathBuf::from(SYSTEM_CONFIGURATION));
    }

    #[cfg(unix)]
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
            let folder = ConfigFolder::of(os::own(config, home, is_root));
            assert_eq!(folder.tokens(), PathBuf::from(expected).join("tokens"));
            assert_eq!(folder.configuration(), PathBuf::from(expected).join("cardbrokerd.toml"));
        }
    }

    #[cfg(windows)]
    #[test]
    fn a_user_never_has_the_folder_of_the_service() {
        let path = |text: &str| Some(PathBuf::from(text));
        for (local, profile, expected) in [
            (path(r"C:\l"), path(r"C:\p"), PathBuf::from(r"C:\l")),
            (path("l"), path(r"C:\p"), r"C:\p\AppData\Local".into()),
            (None, path(r"C:\p"), r"C:\p\AppData\Local".into()),
            (None, path("p"), env::temp_dir()),
            (None, None, env::temp_dir()),
        ] {
            assert_eq!(os::own(local, profile), expected);
        }
    }

    #[cfg(windows)]
    #[test]
    fn files_of_a_user_are_below_the_folder_of_local_data() {
        let expected = PathBuf::from(env::var_os("LOCALAPPDATA").unwrap()).join(r"cardbroker\tokens");
        assert_eq!(ConfigFolder::of_this_user().tokens(), expected);
    }
}
