//! The sections of the configuration, each a table of the TOML file, with the defaults.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cardbroker_core::{
    policy::rule::CommandPattern,
    turns::{
        bounds::{Bounds, SHARED},
        quantum::Quantum,
        schedule::TurnSettings,
    },
};
use cardbroker_local::{config_folder::ConfigFolder, socket::default_socket};
use serde::{Deserialize, Serialize};

use super::{
    tcp::{TcpPort, plain_problem},
    value::{self as v, Instruction, LogFilter, MAX_SIMULATED, PipeGroup, SocketGroup},
};

/// The addresses for clients, and the limits of connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenConfig {
    /// The Unix socket, an absolute path. Default: [`default_socket`]; empty if there is none, which ends the start.
    #[serde(deserialize_with = "v::absolute_path", skip_serializing_if = "is_empty")]
    pub socket: PathBuf,
    /// Permissions of the socket; the owner may always read and write. Default: 0600.
    #[serde(deserialize_with = "v::socket_mode", serialize_with = "v::write_octal")]
    pub socket_mode: u32,
    /// The group that owns the socket and its folder, by default the broker's own; on Windows the group that may open
    /// the pipe, by default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_group: Option<SocketGroup>,
    /// The group of Windows that may open the pipe besides its owner, SYSTEM and the administrators, in place of
    /// `socket_group`. Default: none. Without effect elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipe_group: Option<PipeGroup>,
    /// The TCP port beside the socket. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpPort>,
    /// Whether the TCP port speaks plain TCP instead of TLS, on a loopback address that `tcp` names. Default: false.
    pub tcp_plain: bool,
    /// The file with the tokens of TCP clients, an absolute path. Default: that of the [`ConfigFolder`].
    #[serde(deserialize_with = "v::absolute_path")]
    pub tokens: PathBuf,
    /// Maximum connections at the same time, 1–65,536. Default: 512.
    #[serde(deserialize_with = "v::count::<_, 1, 65_536>")]
    pub max_connections: usize,
    /// Maximum connections of one user at the same time, 1–65,536. Default: a quarter of `max_connections`, see
    /// [`ListenConfig::max_connections_per_user`].
    #[serde(deserialize_with = "v::some_count::<_, 1, 65_536>", skip_serializing_if = "Option::is_none")]
    pub max_connections_per_user: Option<usize>,
    /// The time from the accept to the first request, 1 s – 10 min. Default: 10 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 600>", serialize_with = "humantime_serde::serialize")]
    pub first_request_timeout: Duration,
    /// The interval of HTTP/2 pings on a connection, 1 s – 1 h. Default: 20 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 3600>", serialize_with = "humantime_serde::serialize")]
    pub keep_alive_interval: Duration,
    /// The time for the answer to a ping, 1 s – 10 min. Default: 10 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 600>", serialize_with = "humantime_serde::serialize")]
    pub keep_alive_timeout: Duration,
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            socket: default_socket().unwrap_or_default(),
            socket_mode: 0o600,
            socket_group: None,
            pipe_group: None,
            tcp: None,
            tcp_plain: false,
            tokens: ConfigFolder::of_this_user().tokens(),
            max_connections: 512,
            max_connections_per_user: None,
            first_request_timeout: Duration::from_secs(10),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
        }
    }
}

impl ListenConfig {
    /// The maximum number of connections of one user, at least 1.
    pub fn max_connections_per_user(&self) -> usize {
        self.max_connections_per_user.unwrap_or((self.max_connections / 4).max(1))
    }

    /// Why [`tcp_plain`](Self::tcp_plain) does not fit the port; `None` if it does.
    pub(super) fn plain_problem(&self) -> Option<String> {
        self.tcp.filter(|_| self.tcp_plain).and_then(plain_problem)
    }
}

/// Settings of all readers together. For single readers see [`Config::reader`](super::Config::reader).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadersConfig {
    /// The number of simulated readers in place of the real ones, 0–256. Default: 0, which means the real ones.
    #[serde(deserialize_with = "v::count::<_, 0, MAX_SIMULATED>")]
    pub simulate: usize,
    /// The recorded trace whose readers are simulated in place of the real ones, an absolute path. Default: none.
    #[serde(deserialize_with = "v::some_absolute_path", skip_serializing_if = "Option::is_none")]
    pub simulate_from: Option<PathBuf>,
}

impl ReadersConfig {
    /// Whether the readers are simulated, by either key.
    pub fn is_simulated(&self) -> bool {
        self.simulate > 0 || self.simulate_from.is_some()
    }

    /// Why both keys do not fit together; `None` if they do.
    pub(super) fn problem(&self) -> Option<String> {
        let both = self.simulate > 0 && self.simulate_from.is_some();
        both.then(|| "not allowed with readers.simulate above 0: use one of both".to_owned())
    }
}

/// Limits on waiting requests, on turns while others wait, and on outcomes. More requests are refused with
/// `QUEUE_FULL`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Maximum waiting requests of one caller at one reader, 1–1,000: fewer than the streams of a connection. Default:
    /// 64.
    #[serde(deserialize_with = "v::count::<_, 1, 1_000>")]
    pub max_waiting_per_caller: usize,
    /// Maximum waiting requests of all callers at one reader, 1–65,536. Default: 1,024.
    #[serde(deserialize_with = "v::count::<_, 1, 65_536>")]
    pub max_waiting_per_reader: usize,
    /// The time of a visit of one group where that saves a reset: `auto` or 0–10 s. Default: `auto`, one and a half
    /// times the duration of the reader's resets, at most 500 ms.
    #[serde(deserialize_with = "v::quantum", serialize_with = "v::write_quantum")]
    pub turn_quantum: Quantum,
    /// The maximum time of a unit while callers of other groups wait, 1 s – 1 h. Default: 10 s. While `n` users wait:
    /// the `n`th part of what is left of 20 s since the first of them came, if that is less, but not below 2 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 3600>", serialize_with = "humantime_serde::serialize")]
    pub max_contended_unit: Duration,
    /// The maximum time of a session while callers of other groups wait, 1 s – 1 h. Default: 20 s. While `n`
    /// users wait: the `n`th part of what is left of it since the first of them came, but not below 2 s; a value below
    /// 2 s applies to any number.
    #[serde(deserialize_with = "v::duration::<_, 1, 3600>", serialize_with = "humantime_serde::serialize")]
    pub max_contended_lease: Duration,
    /// Maximum stored outcomes for the `request_id`s of one user, 1–10,000; ten times as many for all. Default: 1,000.
    #[serde(deserialize_with = "v::count::<_, 1, 10_000>")]
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
            turn_quantum: Quantum::Auto,
            max_contended_unit: Duration::from_secs(10),
            max_contended_lease: SHARED,
            max_outcomes_per_user: 1_000,
            outcome_lifetime: Duration::from_secs(600),
        }
    }
}

impl LimitsConfig {
    /// Returns the settings of the schedule of turns.
    pub fn turns(&self) -> TurnSettings {
        let Self { turn_quantum: quantum, max_contended_unit, max_contended_lease, .. } = *self;
        TurnSettings { quantum, bounds: Bounds { max_contended_unit, max_contended_lease }, ..TurnSettings::default() }
    }
}

/// Settings of streaming calls: watches and sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// The silence after which a stream sends a heartbeat, 1 s – 30 s, as the contract requires. Default: 30 s.
    #[serde(deserialize_with = "v::duration::<_, 1, 30>", serialize_with = "humantime_serde::serialize")]
    pub heartbeat_interval: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { heartbeat_interval: Duration::from_secs(30) }
    }
}

/// The shutdown after a stop signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// The maximum time for running units to end, 0 s – 10 min. Default: 10 s.
    #[serde(deserialize_with = "v::duration::<_, 0, { v::MAX_GRACE_SECONDS }>")]
    #[serde(serialize_with = "humantime_serde::serialize")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10) }
    }
}

/// Content and form of the log, which goes to standard error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The minimum level of logged events, for all or by target. Default: `info`.
    pub level: LogFilter,
    /// The form of the log lines. Default: text.
    pub format: LogFormat,
    /// Whether the log shows the trace of all readers: headers of commands and status words, without data. Default:
    /// false.
    pub apdus: bool,
    /// Instructions with secrets in addition to the built-in list, for the log and for traces. Default: none.
    pub secret_instructions: Vec<Instruction>,
}

/// Limits on the history and the commands that operators may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiagnosticsConfig {
    /// How long the flight recorder keeps events, 1 s – 24 h; `None` (`off`) records nothing. Default: 1 h.
    #[serde(deserialize_with = "v::recorder", serialize_with = "v::write_recorder")]
    pub recorder: Option<Duration>,
    /// Commands whose data a trace may show, in addition to those that are known to be harmless. Default: none.
    pub trace_data: Vec<CommandPattern>,
}

impl Default for DiagnosticsConfig {
    fn default() -> Self {
        Self { recorder: Some(Duration::from_secs(3_600)), trace_data: Vec::new() }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
