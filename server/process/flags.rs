//! The flags of `cardbrokerd`, which override its configuration file, and the exit codes.

use std::{io, net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use cardbroker_local::words::HERE;

use crate::{
    config::{
        Config, ConfigError, InheritedAddresses, LogFilter, LogFormat, MAX_SIMULATED, TcpPort, parse_grace, refusal,
        setting_for,
    },
    policy::explain::Question,
    process::{token_command::TokenArguments, winscard_command::WinscardArguments},
};

const EXAMPLES: &str = "\
Examples:
  cardbrokerd
      serve the machine's readers
  cardbrokerd --simulate 2
      serve two simulated readers, without hardware
  cardbrokerd --simulate-from trace.jsonl
      replay a trace of cardbroker trace --data -o
  cardbrokerd --tcp auto
      also serve this user's programs that cannot use the socket
  cardbrokerd --log debug --log-format json
      write a detailed log for programs
  cardbrokerd --print-example-config > ~/.config/cardbroker/cardbrokerd.toml
      begin a configuration
  cardbrokerd --check-config
      print the effective configuration
  cardbrokerd policy check --as token:ci
      explain the permissions of that token's holder

Exit codes:
  0  stopped by SIGTERM or SIGINT
  1  failed while running
  2  invalid flags
  3  mistake in the configuration, or unusable certificate or trace
     (--check-config: or tokens file)
  4  another broker has this socket, or this user's --tcp auto port
  5  cannot listen on the socket or the TCP port, or an inherited socket was
     removed
  6  commands were still running when the shutdown's grace ended, or a second
     signal came";

const POLICY_EXAMPLES: &str = "\
Examples:
  cardbroker policy check --as user:alice --reader yubikey
  cardbroker policy check --as token:ci --reader 'My Reader 00 00' --json
  cardbroker policy check --as uid:1001 --reader desk --apdu 00CB3FFF \\
      --application A000000308

Exit codes:
  0  explained, whether allowed or denied
  2  invalid flags
  3  mistake in the configuration";

#[cfg(windows)]
const SERVICE_EXAMPLES: &str = "\
Examples:
  cardbrokerd service install
  cardbrokerd --config C:\\ProgramData\\cardbroker\\cardbrokerd.toml service install
  net start cardbroker
  cardbrokerd service remove

Exit codes:
  0  done
  1  Windows refused; no rights, no such service, or others may change the
     program
  2  invalid flags, or \"run\" without Windows
  3  mistake in the configuration";

/// Owns the smart-card readers of this machine and shares them between programs, over gRPC.
#[derive(Debug, Clone, Default, clap::Parser)]
#[command(name = "cardbrokerd", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Flags {
    /// The configuration file, if it is not the default one.
    #[arg(long, value_name = "FILE", global = true, help = HERE.config_help)]
    pub config: Option<PathBuf>,
    /// The Unix socket or the named pipe to listen on, if it is not the default one.
    #[arg(long, value_name = "PATH", value_parser = absolute, help_heading = "Endpoints", help = HERE.socket_help)]
    pub socket: Option<PathBuf>,
    /// Also listen on this TCP address, for example 127.0.0.1:7777, with TLS; requests there need a token. "auto": on a
    /// free port of 127.0.0.1, for programs of this user, which find it by --endpoint tcp:auto.
    #[arg(long, value_name = "ADDRESS", help_heading = "Endpoints")]
    pub tcp: Option<TcpPort>,
    /// The file with the tokens for the TCP port, if it is not the default one.
    #[arg(long, value_name = "FILE", value_parser = absolute, help_heading = "Endpoints", help = HERE.tokens_help)]
    pub tokens: Option<PathBuf>,
    /// Serve N simulated readers instead of the real ones; 0 serves the real ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=MAX_SIMULATED as i64),
          help_heading = "Readers")]
    pub simulate: Option<u16>,
    /// Serve the readers of a trace (cardbroker trace --data -o FILE) instead of the real ones, with cards that answer
    /// the recorded commands in order. The first command that differs from the recorded one, or that the trace does not
    /// show, ends the replay of its reader.
    #[arg(long, value_name = "FILE", value_parser = absolute, conflicts_with = "simulate", help_heading = "Readers")]
    pub simulate_from: Option<PathBuf>,
    /// Log filter: off, error, warn, info, debug, trace, or by target (info,cardbroker_server::listen=debug).
    #[arg(long, value_name = "LEVEL", help_heading = "Log")]
    pub log: Option<LogFilter>,
    /// Form of the log lines.
    #[arg(long, value_name = "FORMAT", help_heading = "Log")]
    pub log_format: Option<LogFormat>,
    /// Maximum time for running commands to end at a shutdown, up to 10m.
    #[arg(long, value_name = "DURATION", value_parser = parse_grace)]
    pub grace: Option<Duration>,
    /// Print the effective configuration and exit: 0 if it is valid, else 3. Patterns that fit no reader are told on
    /// standard error.
    #[arg(long)]
    pub check_config: bool,
    /// Print the commented example of a configuration file and exit.
    #[arg(long, conflicts_with = "check_config")]
    pub print_example_config: bool,
    /// The subcommand to run instead of the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands of the daemon's program.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Explain the permissions of callers.
    #[command(subcommand, after_help = POLICY_EXAMPLES)]
    Policy(PolicyCommand),
    /// Create, list and remove tokens for the broker's TCP port.
    ///
    /// Changes only the tokens file that the configuration names (listen.tokens).
    Token(TokenArguments),
    /// Install, remove or run the broker as a service of Windows, named cardbroker.
    ///
    /// The service starts with Windows, as LocalSystem, and has the flags of the daemon before "service". Needs the
    /// rights of an administrator.
    #[cfg(windows)]
    #[command(subcommand, after_help = SERVICE_EXAMPLES)]
    Service(ServiceCommand),
    /// Check the PC/SC of this machine at the reader: cardbroker doctor --winscard.
    #[command(hide = true)]
    Winscard(WinscardArguments),
}

/// The operations on the service of Windows.
#[cfg(windows)]
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum ServiceCommand {
    /// Install the service, or change the flags and the program of the one that is there.
    Install,
    /// Stop and remove the service. Its files stay.
    Remove,
    /// Run as the service. Only Windows itself can start this.
    Run,
}

/// The questions about the policy.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum PolicyCommand {
    /// Explain the permissions of a caller at a reader, and the rule behind each, without a running broker.
    ///
    /// Reads the current configuration file. A running broker reads it on a reload (cardbroker reload).
    #[command(after_help = POLICY_EXAMPLES)]
    Check(Question),
}

impl Flags {
    /// Returns the configuration, with the flags as overrides.
    ///
    /// # Errors
    /// The same as of [`Config::load`].
    pub fn settings(&self) -> Result<Config, ConfigError> {
        let mut config = self.given()?;
        config.pcsclite.resolve(&config.listen);
        Ok(config)
    }

    /// The settings of the file, with those of the flags in their place.
    fn given(&self) -> Result<Config, ConfigError> {
        let file = self.config.as_deref();
        // An administrator may ask about the broker of another user.
        let mut config = match &self.command {
            None | Some(Command::Winscard(_)) => Config::load(file)?,
            Some(Command::Policy(_)) => Config::load_to_explain(file)?,
            Some(Command::Token(_)) => Config::load_as_administrator(file)?,
            #[cfg(windows)]
            Some(Command::Service(_)) => Config::load(file)?,
        };
        override_with(&mut config.listen.socket, &self.socket);
        config.listen.tcp = self.tcp.or(config.listen.tcp);
        override_with(&mut config.listen.tokens, &self.tokens);
        override_with(&mut config.readers.simulate, &self.simulate.map(Into::into));
        config.readers.simulate_from = self.simulate_from.clone().or(config.readers.simulate_from);
        override_with(&mut config.log.level, &self.log);
        override_with(&mut config.log.format, &self.log_format);
        override_with(&mut config.shutdown.grace, &self.grace);
        config.check_flags()?;
        Ok(config)
    }

    /// Like [`Flags::settings`], for a broker with inherited sockets, whose addresses then count.
    ///
    /// # Errors
    /// The same as of [`Flags::settings`], and if flags or the file say where to listen.
    pub fn settings_with(&self, inherited: Option<&InheritedAddresses>) -> Result<Config, ConfigError> {
        let Some(inherited) = inherited else { return self.settings() };
        let given = [("--socket", "listen.socket", self.socket.is_some()), ("--tcp", "listen.tcp", self.tcp.is_some())];
        if let Some((flag, key, _)) = given.into_iter().find(|(_, _, is_given)| *is_given) {
            return Err(ConfigError::Flags { key: flag, problem: refusal("this flag", setting_for(key)) });
        }
        self.given()?.with_inherited(inherited)
    }

    /// Returns the tokens file of the flags, or else of the configuration.
    ///
    /// # Errors
    /// The same as of [`Config::load`].
    pub fn tokens_file(&self) -> Result<PathBuf, ConfigError> {
        self.tokens.clone().map_or_else(|| Ok(self.settings()?.listen.tokens), Ok)
    }

    /// Returns the IP address of the port that the flags or the configuration name; `None` also if the configuration
    /// cannot be used.
    pub fn tcp_address(&self) -> Option<IpAddr> {
        match self.tcp.or_else(|| self.settings().ok()?.listen.tcp)? {
            TcpPort::Auto => None,
            TcpPort::At(address) => Some(address.ip()),
        }
    }
}

fn override_with<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

fn absolute(text: &str) -> io::Result<PathBuf> {
    std::path::absolute(text)
}

/// The exit codes of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The daemon ended after a stop signal, or a command succeeded.
    Ok = 0,
    /// The daemon failed while it was running.
    Failure = 1,
    /// The flags were invalid; the flag parser itself exits with it.
    Usage = 2,
    /// The configuration is invalid, or its certificate or trace cannot be used; for `--check-config` also its tokens
    /// file.
    Config = 3,
    /// Another broker has the socket, or this user's port by `--tcp auto`.
    AlreadyRunning = 4,
    /// The daemon cannot listen on the socket or the TCP port, or clients do not reach it there any more.
    CannotListen = 5,
    /// Commands were still running when the shutdown's grace had ended.
    GraceExpired = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    fn flags(arguments: &[&str]) -> Result<Flags, clap::Error> {
        Flags::try_parse_from([&["cardbrokerd"], arguments].concat())
    }

    #[test]
    fn the_flags_are_consistent_and_the_help_has_exit_codes() {
        Flags::command().debug_assert();
        let help = Flags::command().render_long_help().to_string();
        assert!(help.contains("Exit codes:"), "{help}");
    }

    // The absolute paths are Unix's.
    #[cfg(unix)]
    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "listen.socket = '/file'\nreaders.simulate = 3\nlog.level = 'warn'\nshutdown.grace = '1s'";
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let from_file = flags(&["--config", path]).unwrap().settings().unwrap();
        assert_eq!((from_file.listen.socket, from_file.readers.simulate), ("/file".into(), 3));
        let all = ["--config", path, "--socket", "/flag", "--simulate", "0", "--log", "debug,h2=info", "--grace", "1m"];
        let from_flags = flags(&all).unwrap().settings().unwrap();
        assert_eq!((from_flags.listen.socket, from_flags.readers.simulate), ("/flag".into(), 0));
        assert_eq!(from_flags.log.level.as_str(), "debug,h2=info");
        assert_eq!(from_flags.shutdown.grace, Duration::from_secs(60));
    }

    // The absolute paths are Unix's.
    #[cfg(unix)]
    #[test]
    fn simulated_readers_are_of_one_kind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "readers.simulate = 3").unwrap();
        let path = file.path().to_str().unwrap();
        let both = flags(&["--config", path, "--simulate-from", "/x"]).unwrap().settings().unwrap_err().to_string();
        assert!(both.starts_with("readers.simulate_from: not allowed with readers.simulate"), "{both}");
        std::fs::write(file.path(), "readers.simulate_from = '/file'").unwrap();
        let settings = |arguments: &[&str]| {
            let settings = flags(&[&["--config", path], arguments].concat()).unwrap().settings();
            settings.map(|config| config.readers.simulate_from.unwrap())
        };
        assert_eq!(settings(&[]).unwrap(), PathBuf::from("/file"));
        assert_eq!(settings(&["--simulate-from", "/flag"]).unwrap(), PathBuf::from("/flag"));
        assert!(settings(&["--simulate", "1"]).is_err());
    }

    #[test]
    fn a_wrong_flag_is_refused_with_the_allowed_values() {
        for (arguments, expected) in [
            (["--simulate", "257"], "256"),
            (["--grace", "11m"], "from 0s to 10m"),
            (["--tcp", "0.0.0.0:7777"], "0.0.0.0 means every address of the machine: name one of them"),
            (["--log", "loud"], "allowed are off, error"),
            (["--log-format", "xml"], "possible values: text, json"),
        ] {
            let error = flags(&arguments).unwrap_err();
            assert_eq!(error.exit_code(), Exit::Usage as i32);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn plain_tcp_of_the_file_must_fit_the_port_of_the_flag() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "listen.tcp_plain = true").unwrap();
        let path = file.path().to_str().unwrap();
        for (port, expected) in [("auto", "always has TLS"), ("10.0.0.1:7", "only allowed on loopback")] {
            let error = flags(&["--config", path, "--tcp", port]).unwrap().settings().unwrap_err().to_string();
            assert!(error.starts_with("listen.tcp_plain: ") && error.contains(expected), "{error}");
        }
        assert!(flags(&["--config", path, "--tcp", "127.0.0.1:7"]).unwrap().settings().is_ok());
    }

    #[test]
    fn a_relative_socket_is_relative_to_the_working_directory() {
        let socket = flags(&["--socket", "a.sock"]).unwrap().socket.unwrap();
        assert_eq!(socket, std::env::current_dir().unwrap().join("a.sock"));
    }
}
