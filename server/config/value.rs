//! The value types of the configuration, each with its range. Errors name the allowed values.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use cardbroker_core::{
    policy::{principal::PrincipalPattern, rule::Rule},
    sid::Sid,
    turns::quantum::Quantum,
    user::SystemGroup,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::policy::accounts::{self, SystemAccounts};

/// The maximum value of `readers.simulate`.
pub(crate) const MAX_SIMULATED: usize = 256;

/// The maximum grace of a shutdown, in seconds.
pub(super) const MAX_GRACE_SECONDS: u64 = 600;

/// A group of the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SocketGroup {
    /// The name in the group database.
    pub name: String,
    /// The group, looked up once, when the configuration was read.
    pub group: SystemGroup,
}

impl TryFrom<String> for SocketGroup {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match accounts::group(&name) {
            Ok(Some((group, _))) => Ok(Self { name, group }),
            Ok(None) => {
                let create = accounts::command_for_new_group(&name);
                Err(format!("there is no group `{name}`: create it ({create}) or name another"))
            }
            Err(error) => Err(format!("cannot look up group `{name}`: {error}")),
        }
    }
}

impl From<SocketGroup> for String {
    fn from(group: SocketGroup) -> Self {
        group.name
    }
}

/// A group of Windows, by its SID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PipeGroup(Sid);

impl PipeGroup {
    /// The SID of the group.
    pub fn sid(&self) -> Sid {
        self.0
    }
}

impl TryFrom<String> for PipeGroup {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let not_a_sid = |_| format!("`{text}` is not the SID of a group, such as S-1-5-32-545");
        text.parse().map(Self).map_err(not_a_sid)
    }
}

impl From<PipeGroup> for String {
    fn from(group: PipeGroup) -> Self {
        group.0.to_string()
    }
}

/// Which events are logged: a level (`debug`), or levels by target (`info,cardbroker_server::listen=trace`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);

impl LogFilter {
    /// The text from the configuration: valid directives of an [`EnvFilter`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The level for targets without a directive.
    pub fn base(&self) -> Option<LevelFilter> {
        self.0.split(',').rev().find_map(|directive| directive.trim().parse().ok())
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A bare word that is no level would count as a target's name, and silence all others.
        let bare = |directive: &&str| !directive.contains(['=', '[']) && directive.parse::<LevelFilter>().is_err();
        let mistake = match text.split(',').map(str::trim).find(bare) {
            Some(word) => Some(format!("`{word}` is no level")),
            None => EnvFilter::builder().parse(text).err().map(|error| error.to_string()),
        };
        match mistake {
            None => Ok(Self(text.into())),
            Some(mistake) => Err(format!(
                "{mistake}: allowed are off, error, warn, info, debug, trace, and target=level, separated by commas"
            )),
        }
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.0
    }
}

/// An instruction byte (INS), written as two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instruction(pub u8);

impl TryFrom<String> for Instruction {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = Some(&text).filter(|text| text.len() == 2 && !text.starts_with('+'));
        let instruction = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        instruction.map(Self).ok_or("must be an instruction in quotes, two hexadecimal digits, such as \"B6\"")
    }
}

impl From<Instruction> for String {
    fn from(instruction: Instruction) -> Self {
        format!("{:02X}", instruction.0)
    }
}

/// Parses a number from `MIN` to `MAX`.
pub(super) fn count<'de, D: Deserializer<'de>, const MIN: usize, const MAX: usize>(d: D) -> Result<usize, D::Error> {
    let number = i64::deserialize(d).ok().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or_else(|| must_be(format_args!("a whole number from {MIN} to {MAX}")))
}

/// Like [`count`], for a key without a default.
pub(super) fn some_count<'de, D: Deserializer<'de>, const MIN: usize, const MAX: usize>(
    d: D,
) -> Result<Option<usize>, D::Error> {
    count::<_, MIN, MAX>(d).map(Some)
}

/// Parses a duration from `MIN` to `MAX` seconds.
pub(super) fn duration<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d).unwrap_or_default();
    parse_duration(&text, MIN, MAX).map_err(D::Error::custom)
}

/// Like [`duration`], for a key without a default.
pub(super) fn some_duration<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    d: D,
) -> Result<Option<Duration>, D::Error> {
    duration::<_, MIN, MAX>(d).map(Some)
}

/// A quantum: `auto`, or a time from 0 to 10 seconds.
pub(super) fn quantum<'de, D: Deserializer<'de>>(d: D) -> Result<Quantum, D::Error> {
    let text = String::deserialize(d).unwrap_or_default();
    if text == "auto" {
        return Ok(Quantum::Auto);
    }
    let fixed = parse_duration(&text, 0, 10).map(Quantum::Fixed);
    fixed.map_err(|_| must_be("\"auto\", or a duration from 0s to 10s in quotes, such as \"250ms\""))
}

pub(super) fn write_quantum<S: Serializer>(quantum: &Quantum, serializer: S) -> Result<S::Ok, S::Error> {
    match quantum {
        Quantum::Auto => serializer.serialize_str("auto"),
        Quantum::Fixed(length) => humantime_serde::serialize(length, serializer),
    }
}

/// The time of the flight recorder: `off`, or a time from 1 second to 24 hours.
pub(super) fn recorder<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(d).unwrap_or_default();
    if text == "off" {
        return Ok(None);
    }
    let time = parse_duration(&text, 1, 86_400).map(Some);
    time.map_err(|_| must_be("\"off\", or a duration from 1s to 24h in quotes, such as \"1h\""))
}

pub(super) fn write_recorder<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        None => serializer.serialize_str("off"),
        Some(time) => humantime_serde::serialize(time, serializer),
    }
}

/// Parses the grace of the shutdown from the flag.
pub(crate) fn parse_grace(text: &str) -> Result<Duration, String> {
    parse_duration(text, 0, MAX_GRACE_SECONDS)
}

fn parse_duration(text: &str, min: u64, max: u64) -> Result<Duration, String> {
    let (min, max) = (Duration::from_secs(min), Duration::from_secs(max));
    let duration = humantime::parse_duration(text).ok().filter(|duration| (min..=max).contains(duration));
    duration.ok_or_else(|| {
        let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
        format!("must be a duration from {min} to {max} in quotes, such as \"10s\" or \"1m 30s\"")
    })
}

pub(super) fn absolute_path<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(d).ok().filter(|path| path.is_absolute() && path.file_name().is_some());
    path.ok_or_else(|| must_be("an absolute path in quotes"))
}

/// Like [`absolute_path`], for a key without a default.
pub(super) fn some_absolute_path<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    absolute_path(d).map(Some)
}

pub(super) fn socket_mode<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    let text = String::deserialize(d).unwrap_or_default();
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| (0o600..=0o777).contains(mode));
    mode.ok_or_else(|| must_be("permissions in quotes, octal, with at least rw for the owner, such as \"0600\""))
}

pub(super) fn write_octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

pub(super) fn alias<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let alias = String::deserialize(d).ok().filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(allowed));
    alias.map(Some).ok_or_else(|| must_be("1 to 64 lower-case letters, digits and hyphens in quotes"))
}

/// A principal of a rule, whose name was looked up when the file was read.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Principal(PrincipalPattern);

impl TryFrom<String> for Principal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        PrincipalPattern::parse(text, &SystemAccounts).map(Self)
    }
}

pub(super) fn rules<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<Rule<Principal>>::deserialize(d)?;
    Ok(rules.into_iter().map(|rule| rule.with_principals(|Principal(pattern)| pattern)).collect())
}

fn must_be<E: Error>(allowed: impl Display) -> E {
    E::custom(format_args!("must be {allowed}"))
}
