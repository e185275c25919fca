//! The words of each operating system for people: names of services, and commands to type. All systems' words are
//! compiled everywhere, so that a test on one system reads those of the others.

mod unix;
mod windows;

/// The words of one operating system.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// The way to stop the PC/SC service, as a sentence.
    pub stop_pcsc: &'static str,
    /// The way to start it again, as a sentence.
    pub start_pcsc: &'static str,
    /// The command that starts the service again after a driver hangs.
    pub restart_pcsc: &'static str,
    /// The command that starts the service again where it does not serve.
    pub serve_pcsc: &'static str,
    /// How a person tries the broker as another user.
    pub try_second_user: &'static str,
    /// The program that prints the system's version, with its arguments.
    pub version_command: &'static [&'static str],
    /// The advice if a process has used up its files.
    pub more_files: &'static str,
    /// A place for a secret of another person.
    pub private_place: &'static str,
    /// The setting that opens the broker's endpoint to a group.
    pub open_to_group: &'static str,
    /// The command that shows the owner of the path that is appended to it.
    pub show_owner: &'static str,
    /// The remedy for a file or folder of another user, as a sentence.
    pub change_owner: &'static str,
    /// Help: the daemon's configuration file.
    pub config_help: &'static str,
    /// Help: the daemon's socket or pipe.
    pub socket_help: &'static str,
    /// Help: the daemon's tokens file.
    pub tokens_help: &'static str,
    /// Help: the endpoint of the command line.
    pub endpoint_help: &'static str,
}

/// The words of Linux and other Unix systems.
pub const UNIX: Words = unix::WORDS;

/// The words of Windows 7 and later.
pub const WINDOWS: Words = windows::WORDS;

/// The words of the system that this program was built for.
pub const HERE: Words = if cfg!(windows) { WINDOWS } else { UNIX };

#[cfg(test)]
mod tests {
    use super::*;

    /// All words of a system; a new field does not compile until it is here.
    fn all(words: Words) -> Vec<&'static str> {
        let Words {
            stop_pcsc,
            start_pcsc,
            restart_pcsc,
            serve_pcsc,
            try_second_user,
            version_command,
            more_files,
            private_place,
            open_to_group,
            show_owner,
            change_owner,
            config_help,
            socket_help,
            tokens_help,
            endpoint_help,
        } = words;
        let texts = [
            stop_pcsc,
            start_pcsc,
            restart_pcsc,
            serve_pcsc,
            try_second_user,
            more_files,
            private_place,
            open_to_group,
            show_owner,
            change_owner,
            config_help,
            socket_help,
            tokens_help,
            endpoint_help,
        ];
        [version_command, &texts].concat()
    }

    /// Words that mean nothing on the other system.
    const OF_UNIX: [&str; 18] = [
        "pcscd",
        "polkit",
        "chown",
        "chmod",
        "ulimit",
        "SIGHUP",
        "SIGTERM",
        "systemctl",
        "sudo",
        "/etc",
        "/run",
        "~/",
        "socket",
        "XDG_",
        "uname",
        "ls -",
        "unix:",
        "mode 0",
    ];
    const OF_WINDOWS: [&str; 9] =
        ["SCardSvr", "runas", "icacls", "cmd", "net st", "npipe", "pipe", "%LOCALAPPDATA%", "%ProgramData%"];

    #[test]
    fn no_system_has_words_of_the_other() {
        let found = |words, foreign: &[&str]| -> Vec<String> {
            let foreign = |text: &&str| foreign.iter().any(|word| text.contains(word));
            all(words).into_iter().filter(foreign).map(str::to_owned).collect()
        };
        assert_eq!(found(WINDOWS, &OF_UNIX), [""; 0]);
        assert_eq!(found(UNIX, &OF_WINDOWS), [""; 0]);
    }
}
