//! The daemon's configuration: one TOML file, every key optional, every value checked before the first side effect.

mod error;
mod reader;
mod value;

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use cardbroker_core::lifecycle::Own;
use cardbroker_local::socket::default_socket;
use serde::{Deserialize, Serialize};

pub(crate) use self::value::{MAX_SIMULATED, parse_grace, parse_loopback};
pub use self::{
    error::ConfigError,
    reader::ReaderSettings,
    value::{Instruction, LogFilter, SocketGroup},
};
use self::{error::Document, reader::ReaderRule, value as v};
use crate::{caller::token_file::default_tokens, policy::rule::Rule};

/// The system's configuration, read when the user has none.
const SYSTEM_FILE: &str = "/etc/cardbroker/cardbrokerd.toml";

/// All settings of the daemon. Printed as the TOML that would give the same settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file it was read from; `None` for the built-in defaults.
    #[serde(skip)]
    pub source: Option<PathBuf>,
    /// Where clients connect.
    pub listen: ListenConfig,
    /// All readers together.
    pub readers: ReadersConfig,
    /// How long the queues get.
    pub limits: LimitsConfig,
    /// Streams: those that watch, and sessions.
    pub watch: WatchConfig,
    /// The end.
    pub shutdown: ShutdownConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reader: Vec<ReaderRule>,
    /// The policy, in order.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Where clients connect, and how long they may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenConfig {
    /// The Unix socket, an absolute path. Default: [`default_socket`].
    #[serde(deserialize_with = "v::absolute_path")]
    pub socket: PathBuf,
    /// Permissions of the socket; the owner's rw is always among them. Default: 0600.
    #[serde(deserialize_with = "v::socket_mode", serialize_with = "v::write_octal")]
    pub socket_mode: u32,
    /// The group that socket and folder are given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_group: Option<SocketGroup>,
    /// The TCP address to serve on beside the socket, a loopback one; port 0 for any that is free. Default: none.
    #[serde(deserialize_with = "v::loopback", skip_serializing_if = "Option::is_none")]
    pub tcp: Option<SocketAddr>,
    /// The file with the tokens that open the TCP port, an absolute path. Default: [`default_tokens`].
    #[serde(deserialize_with = "v::absolute_path")]
    pub tokens: PathBuf,
    /// Connections that are served at a time, 1–65,536. Default: 512.
    #[serde(deserialize_with = "v::count::<_, 1, 65_536>")]
    pub max_connections: usize,
    /// Of these, how many one user may have, 1–65,536. Default: half of them, see [`ListenConfig::max_connections_per_user`].
    #[serde(deserialize_with = "v::some_count::<_, 1, 65_536>", skip_serializing_if = "Option::is_none")]
    pub max_connections_per_user: Option<usize>,
    /// How long a new connection may take to its first request, 1 s – 10 min. Default: 10 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 600>", serialize_with = "humantime_serde::serialize")]
    pub first_request_timeout: Duration,
    /// How often a connection is asked for a sign of life, 1 s – 1 h. Default: 20 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 3600>", serialize_with = "humantime_serde::serialize")]
    pub keep_alive_interval: Duration,
    /// How long the answer may take, 1 s – 10 min. Default: 10 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 600>", serialize_with = "humantime_serde::serialize")]
    pub keep_alive_timeout: Duration,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            socket: default_socket(),
            socket_mode: 0o600,
            socket_group: None,
            tcp: None,
            tokens: default_tokens(),
            max_connections: 512,
            max_connections_per_user: None,
            first_request_timeout: Duration::from_secs(10),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
        }
    }
}

impl ListenConfig {
    /// How many connections one user may have, at least 1.
    pub fn max_connections_per_user(&self) -> usize {
        self.max_connections_per_user.unwrap_or(self.max_connections.div_ceil(2))
    }
}

/// Settings of all readers together; single readers have rules, see [`Config::reader`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadersConfig {
    /// How many simulated readers stand in for the real ones, 0–256; 0, the default, for the real ones.
    #[serde(deserialize_with = "v::count::<_, 0, MAX_SIMULATED>")]
    pub simulate: usize,
}

/// How many requests may wait. More are refused with `QUEUE_FULL`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Of one caller at one reader, 1–1,000: below the streams that a connection may open. Default: 64.
    #[serde(deserialize_with = "v::count::<_, 1, 1_000>")]
    pub max_waiting_per_caller: usize,
    /// At one reader, of all callers, 1–65,536. Default: 1,024.
    #[serde(deserialize_with = "v::count::<_, 1, 65_536>")]
    pub max_waiting_per_reader: usize,
    /// How long a session may go on while others wait, 1 s – 1 h. Default: 60 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 3600>", serialize_with = "humantime_serde::serialize")]
    pub max_contended_lease: Duration,
    /// Outcomes that are kept for the `request_id`s of one user, 1–100,000; ten times as many for all. Default: 1,000.
    #[serde(deserialize_with = "v::count::<_, 1, 100_000>")]
    pub max_outcomes_per_user: usize,
    /// How long an outcome is kept, 1 s – 24 h. Default: 10 min.
    #[serde(deserialize_with = "v::duration::<_, 1, 86_400>", serialize_with = "humantime_serde::serialize")]
    pub outcome_lifetime: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_waiting_per_caller: 64,
            max_waiting_per_reader: 1_024,
            max_contended_lease: Duration::from_secs(60),
            max_outcomes_per_user: 1_000,
            outcome_lifetime: Duration::from_secs(600),
        }
    }
}

/// Settings of streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// How long a stream stays silent before it carries a heartbeat, 1 s – 30 s, as the contract promises. Default: 30 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 30>", serialize_with = "humantime_serde::serialize")]
    pub heartbeat_interval: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { heartbeat_interval: Duration::from_secs(30) }
    }
}

/// Settings of the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long units that have begun may take to end, 0 s – 10 min. Default: 10 s.
    #[serde(deserialize_with = "v::duration::<_, 0, { v::MAX_GRACE_SECONDS }>")]
    #[serde(serialize_with = "humantime_serde::serialize")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10) }
    }
}

/// What is logged, and how. The log goes to standard error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// From which level on, for all or by target. Default: `info`.
    pub level: LogFilter,
    /// For people or for programs. Default: text.
    pub format: LogFormat,
    /// Whether commands and responses are shown, those that carry secrets masked. Default: false.
    pub apdus: bool,
    /// Instructions that carry secrets beside those that are known to. Default: none.
    pub secret_instructions: Vec<Instruction>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The shipped example: every key with its default and what it does.
    pub fn example() -> &'static str {
        include_str!("../cardbrokerd.example.toml")
    }

    /// Reads `path`, or else the first that exists of `$XDG_CONFIG_HOME/cardbroker/cardbrokerd.toml` (`~/.config/…` without that
    /// variable) and `/etc/cardbroker/cardbrokerd.toml`, or else takes the defaults.
    ///
    /// # Errors
    /// A file that cannot be read (a `path` that is missing, too), or the first mistake in it.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        if let Some(path) = path {
            return Self::read(path);
        }
        for path in candidates(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME")) {
            match Self::read(&path) {
                Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Ok(Self::default())
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    /// The configuration that `text` says; `path` is where mistakes are told to stand.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document { path, text };
        let mut config: Self = toml::from_str(text).map_err(|error| document.syntax_error(&error))?;
        config.check().map_err(|(key, message)| document.error_at(&key, message))?;
        config.source = Some(path.into());
        Ok(config)
    }

    /// The rules that tie several keys together; a breach is told as the key at fault and why.
    fn check(&self) -> Result<(), (String, String)> {
        if let (Some(group), mode) = (&self.listen.socket_group, self.listen.socket_mode)
            && mode & 0o060 != 0o060
        {
            let message = format!(
                "group {} could not connect, for listen.socket_mode is \"{mode:04o}\": set it to \"0660\"",
                group.name
            );
            return Err(("listen.socket_group".into(), message));
        }
        let mut aliases = HashMap::new();
        for (index, rule) in self.reader.iter().enumerate() {
            if rule.release_after.is_some() && rule.own != Own::OnDemand {
                let message = "goes only with own = \"on_demand\"".into();
                return Err((format!("reader[{index}].release_after"), message));
            }
            let Some(alias) = &rule.alias else { continue };
            if let Some(first) = aliases.insert(alias, index) {
                let message = format!("`{alias}` is the alias of reader[{first}] already: aliases are allowed once");
                return Err((format!("reader[{index}].alias"), message));
            }
        }
        let mut names = HashMap::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some((key, message)) = rule.mistake() {
                return Err((format!("rule[{index}].{key}"), message.into()));
            }
            if let Some(first) = names.insert(&rule.name, index) {
                let message = format!("`{}` is the name of rule[{first}] already: names are allowed once", rule.name);
                return Err((format!("rule[{index}].name"), message));
            }
        }
        Ok(())
    }

    /// The settings of the reader with PC/SC's name `display_name`: those of the first rule whose `match` fits, or else the
    /// defaults.
    pub fn reader(&self, display_name: &str) -> ReaderSettings {
        self.reader.iter().find(|rule| rule.pattern.matches(display_name)).map(ReaderRule::settings).unwrap_or_default()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn candidates(xdg_config_home: Option<OsString>, home: Option<OsString>) -> impl Iterator<Item = PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(xdg_config_home)
        .or_else(|| Some(absolute(home)?.join(".config")))
        .map(|folder| folder.join("cardbroker/cardbrokerd.toml"))
        .into_iter()
        .chain([SYSTEM_FILE.into()])
}

#[cfg(test)]
mod tests;
