//! The daemon's configuration: one TOML file, every key optional, every value checked before the first side effect.

mod error;
mod in_force;
mod inherited;
mod pcsclite;
mod reader;
mod reload_requests;
mod reloaded;
mod sections;
mod tcp;
mod value;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::{File, Metadata},
    io,
    path::Path,
};

use cardbroker_core::{
    lifecycle::Own,
    policy::{ReaderNames, rule::Rule, unfit::Unfit},
};
use cardbroker_local::{config_folder::ConfigFolder, open::open_without_waiting};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::{
    error::ConfigError,
    in_force::{ConfigInForce, ReloadEnd, Source},
    inherited::{AddressKey, InheritedAddresses},
    pcsclite::{DoorSocket, Exclusive, Isolation, PcscliteConfig},
    reader::ReaderSettings,
    reload_requests::{ReloadAsker, ReloadReply, ReloadRequests, Unanswered},
    reloaded::{Part, PartState, ReloadOutcome, ReloadedPart},
    sections::{
        DiagnosticsConfig, LimitsConfig, ListenConfig, LogConfig, LogFormat, ReadersConfig, ShutdownConfig, WatchConfig,
    },
    tcp::TcpPort,
    value::{Instruction, LogFilter, PipeGroup, SocketGroup},
};
use self::{error::Document, reader::ReaderRule, value as v};
pub(crate) use self::{
    inherited::{refusal, setting_for},
    value::{MAX_SIMULATED, parse_grace},
};

/// All settings of the daemon. Printed as the TOML that would give the same settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file it was read from; `None` for the built-in defaults.
    #[serde(skip)]
    pub source: Option<Source>,
    /// The addresses for clients, and limits of connections.
    pub listen: ListenConfig,
    /// The door for PC/SC programs.
    pub pcsclite: PcscliteConfig,
    /// Settings of all readers together.
    pub readers: ReadersConfig,
    /// Maximum lengths and times of queues.
    pub limits: LimitsConfig,
    /// Settings of streaming calls: watches and sessions.
    pub watch: WatchConfig,
    /// The shutdown after a stop signal.
    pub shutdown: ShutdownConfig,
    /// Content and form of the log.
    pub log: LogConfig,
    /// Limits on the history and the commands that operators may see.
    pub diagnostics: DiagnosticsConfig,
    /// Settings of single readers; the first entry that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reader: Vec<ReaderRule>,
    /// The rules of the policy, in order.
    #[serde(rename = "rule", deserialize_with = "v::rules", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Config {
    /// Returns the shipped example: every key with its default and its effect.
    pub fn example() -> &'static str {
        include_str!("../cardbrokerd.example.toml")
    }

    /// Reads `path`, or else the file in this user's [`ConfigFolder`] if there is one, or else takes the defaults.
    ///
    /// # Errors
    /// The file cannot be read (a missing `path` included), it is neither a regular file nor `/dev/null`, another user
    /// may change it, or the first mistake in it.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_checked(path, access_problem)
    }

    /// Like [`Config::load`], for an edit of the tokens file that it names: any user may own it, but nobody else may
    /// write to it.
    ///
    /// # Errors
    /// The same as of [`Config::load`].
    pub fn load_as_administrator(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_checked(path, list_problem)
    }

    /// Like [`Config::load`], for an explanation of its rules: any user may have written it.
    ///
    /// # Errors
    /// The file cannot be read (a missing `path` included), it is neither a regular file nor `/dev/null`, or the first
    /// mistake in it.
    pub fn load_to_explain(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_checked(path, |_, _| Ok(None))
    }

    fn load_checked(path: Option<&Path>, check: AccessCheck) -> Result<Self, ConfigError> {
        if let Some(path) = path {
            return Self::read(path, check);
        }
        match Self::read(&ConfigFolder::of_this_user().configuration(), check) {
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            found => found,
        }
    }

    fn read(path: &Path, check: AccessCheck) -> Result<Self, ConfigError> {
        let read = || {
            let file = open_without_waiting(path)?;
            let found = file.metadata()?;
            let problem = match kind_problem(&found) {
                Some(problem) => Some(problem),
                None => check(&file, &found)?,
            };
            let text = if problem.is_none() { io::read_to_string(file)? } else { String::new() };
            Ok((problem, text))
        };
        match read().map_err(|source| ConfigError::Read { path: path.into(), source })? {
            (Some(problem), _) => Err(ConfigError::Unsafe { path: path.into(), problem }),
            (None, text) => Self::parse(path, &text),
        }
    }

    /// Parses `text`; errors name `path` as its file.
    ///
    /// # Errors
    /// The first mistake in `text`, with its line and column.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document { path, text };
        let mut config: Self = toml::from_str(text).map_err(|error| document.syntax_error(&error))?;
        config.check().map_err(|(key, message)| document.error_at(&key, message))?;
        let digest = hex::encode(Sha256::digest(text));
        config.source = Some(Source { path: path.into(), digest, address: document.address() });
        Ok(config)
    }

    /// Checks constraints between a flag and the file, after flags have replaced values of the file.
    ///
    /// # Errors
    /// [`ConfigError::Flags`] if `listen.tcp_plain` does not fit `--tcp`, or both kinds of simulated readers are named.
    pub(crate) fn check_flags(&self) -> Result<(), ConfigError> {
        match self.flag_problem() {
            Some((key, problem)) => Err(ConfigError::Flags { key, problem }),
            None => Ok(()),
        }
    }

    /// The first invalid key among those that a flag can break, and the reason.
    fn flag_problem(&self) -> Option<(&'static str, String)> {
        let plain = self.listen.plain_problem().map(|problem| ("listen.tcp_plain", problem));
        plain.or_else(|| self.readers.problem().map(|problem| ("readers.simulate_from", problem)))
    }

    /// Checks constraints between several keys. An error is the invalid key and the reason.
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
        if let Some((key, problem)) = self.flag_problem() {
            return Err((key.into(), problem));
        }
        if let Some(index) = self.diagnostics.trace_data.iter().position(|pattern| !pattern.names_instructions()) {
            let message = "must have class and instruction, and no application".into();
            return Err((format!("diagnostics.trace_data[{index}]"), message));
        }
        let mut aliases = HashMap::new();
        for (index, rule) in self.reader.iter().enumerate() {
            if rule.release_after.is_some() && rule.own != Own::OnDemand {
                let message = "only allowed with own = \"on_demand\"".into();
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

    /// Returns the settings of the reader with PC/SC's name `display_name`: those of the first entry whose `match`
    /// fits, or else the defaults.
    pub fn reader(&self, display_name: &str) -> ReaderSettings {
        self.reader.iter().find(|rule| rule.pattern.matches(display_name)).map(ReaderRule::settings).unwrap_or_default()
    }
}

impl Config {
    /// Returns the `[[reader]]` entries that apply to none of the readers with these PC/SC names, in order.
    pub fn unfit_entries(&self, present: &[ReaderNames]) -> Vec<Unfit> {
        let fits = |rule: &ReaderRule, reader: &ReaderNames| rule.pattern.matches(&reader.display_name);
        let first = |reader| self.reader.iter().position(|rule| fits(rule, reader));
        let applied: HashSet<_> = present.iter().filter_map(first).collect();
        let unfit = self.reader.iter().enumerate().filter(|(index, _)| !applied.contains(index));
        let told = unfit.map(|(_, rule)| {
            let why = match present.iter().any(|reader| fits(rule, reader)) {
                true => "earlier entries apply to all that fit",
                false => "no reader here fits",
            };
            let message = format!("the reader entry with match = \"{}\" has no effect: {why}", rule.pattern.as_str());
            Unfit { denies: false, message }
        });
        told.collect()
    }

    /// Whether it has patterns of readers, which may fit none.
    pub fn has_patterns(&self) -> bool {
        !self.reader.is_empty() || self.rules.iter().any(|rule| !rule.readers().is_empty())
    }
}

impl fmt::Display for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Finds the problem of an open configuration file with its owner, and its mode or access list; `None` if it has none.
type AccessCheck = fn(&File, &Metadata) -> io::Result<Option<&'static str>>;

/// Reading a pipe or a device may never end. The null device stands for a file without settings.
fn kind_problem(found: &Metadata) -> Option<&'static str> {
    (!found.is_file() && !is_null_device(found)).then_some("is not a regular file")
}

#[cfg(unix)]
fn is_null_device(found: &Metadata) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let is_same = |null: Metadata| null.file_type().is_char_device() && null.rdev() == found.rdev();
    found.file_type().is_char_device() && std::fs::metadata("/dev/null").is_ok_and(is_same)
}

#[cfg(not(unix))]
fn is_null_device(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn access_problem(_: &File, found: &Metadata) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::MetadataExt;
    if found.is_file() && ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
        return Ok(Some("belongs to another user, who could change its rules: change its owner with chown"));
    }
    Ok(mode_problem(found))
}

/// The check for an administrator's edit: any owner will do.
#[cfg(unix)]
fn list_problem(_: &File, found: &Metadata) -> io::Result<Option<&'static str>> {
    Ok(mode_problem(found))
}

#[cfg(unix)]
fn mode_problem(found: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let is_loose = found.is_file() && found.mode() & 0o022 != 0;
    is_loose.then_some("can be written by others, who could change its rules: chmod go-w it")
}

#[cfg(windows)]
fn access_problem(file: &File, _: &Metadata) -> io::Result<Option<&'static str>> {
    let is_loose = cardbroker_local::private_file::is_changeable_by_others(file)?;
    Ok(is_loose.then_some(
        "belongs to another user or can be written by others, who could change its rules: remove the others (icacls \
         FILE /inheritance:r /grant:r USER:F *S-1-5-18:F *S-1-5-32-544:F)",
    ))
}

/// An owner could change the list, so both are judged.
#[cfg(windows)]
fn list_problem(file: &File, found: &Metadata) -> io::Result<Option<&'static str>> {
    access_problem(file, found)
}

#[cfg(test)]
mod tests;
