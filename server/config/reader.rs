//! Settings of single readers: the `[[reader]]` entries of the file.

use std::time::Duration;

use cardbroker_core::{
    lifecycle::Own,
    policy::pattern::Pattern,
    slot::{ProtocolChoice, ResetKind},
};
use serde::{Deserialize, Serialize, Serializer};

use super::{Exclusive, Isolation, value as v};

const RELEASE_AFTER: Duration = Duration::from_secs(5);
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(120);

/// The settings of one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSettings {
    /// The id of the reader, `[a-z0-9-]{1,64}`. If several readers match one entry, the registry adds a number (`-2`).
    pub alias: Option<String>,
    /// When the broker holds the card.
    pub own: Own,
    /// How long [`Own::OnDemand`] keeps the card after the last request, 0 s – 1 h.
    pub release_after: Duration,
    /// The maximum time of one exchange with the card, 1 s – 1 h.
    pub exchange_timeout: Duration,
    /// The protocols that may be negotiated with the card.
    pub protocols: ProtocolChoice,
    /// How the card is reset between isolation groups. A contactless reader may answer a warm reset from its memory.
    pub isolation_reset: ResetKind,
    /// Whether the broker withholds a PIN that the card has refused.
    pub pin_guard: bool,
    /// Whether only a command with `allow_last_try` may use the last try of a PIN.
    pub guard_last_try: bool,
    /// The isolation groups of programs that use PC/SC; `None` for that of the section `[pcsclite]`.
    pub pcsclite_isolation: Option<Isolation>,
    /// The effect of an exclusive connection on other processes; `None` for that of the section `[pcsclite]`.
    pub pcsclite_exclusive: Option<Exclusive>,
}

impl Default for ReaderSettings {
    fn default() -> Self {
        Self {
            alias: None,
            own: Own::Always,
            release_after: RELEASE_AFTER,
            exchange_timeout: EXCHANGE_TIMEOUT,
            protocols: ProtocolChoice::Any,
            isolation_reset: ResetKind::Warm,
            pin_guard: true,
            guard_last_try: false,
            pcsclite_isolation: None,
            pcsclite_exclusive: None,
        }
    }
}

impl ReaderSettings {
    /// How long a holder that idles keeps the card; `None` if the broker holds the card anyway.
    pub fn released_when_idle(&self) -> Option<Duration> {
        (self.own == Own::OnDemand).then_some(self.release_after)
    }
}

/// One `[[reader]]` entry of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReaderRule {
    #[serde(rename = "match")]
    pub(super) pattern: Pattern,
    #[serde(default, deserialize_with = "v::alias", skip_serializing_if = "Option::is_none")]
    pub(super) alias: Option<String>,
    #[serde(default)]
    pub(super) own: Own,
    /// `None` unless `own` is [`Own::OnDemand`].
    #[serde(default, deserialize_with = "v::some_duration::<_, 0, 3600>", skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "humantime_serde::serialize")]
    pub(super) release_after: Option<Duration>,
    #[serde(default = "exchange_timeout", deserialize_with = "v::duration::<_, 1, 3600>")]
    #[serde(serialize_with = "humantime_serde::serialize")]
    exchange_timeout: Duration,
    #[serde(default, serialize_with = "write_protocols")]
    preferred_protocols: ProtocolChoice,
    #[serde(default, serialize_with = "write_reset")]
    isolation_reset: ResetKind,
    #[serde(default = "pin_guard")]
    pin_guard: bool,
    #[serde(default)]
    guard_last_try: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pcsclite_isolation: Option<Isolation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pcsclite_exclusive: Option<Exclusive>,
}

impl ReaderRule {
    pub(super) fn settings(&self) -> ReaderSettings {
        ReaderSettings {
            alias: self.alias.clone(),
            own: self.own,
            release_after: self.release_after.unwrap_or(RELEASE_AFTER),
            exchange_timeout: self.exchange_timeout,
            protocols: self.preferred_protocols,
            isolation_reset: self.isolation_reset,
            pin_guard: self.pin_guard,
            guard_last_try: self.guard_last_try,
            pcsclite_isolation: self.pcsclite_isolation,
            pcsclite_exclusive: self.pcsclite_exclusive,
        }
    }
}

fn exchange_timeout() -> Duration {
    EXCHANGE_TIMEOUT
}

fn pin_guard() -> bool {
    true
}

fn write_protocols<S: Serializer>(protocols: &ProtocolChoice, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match protocols {
        ProtocolChoice::Any => "any",
        ProtocolChoice::T0 => "t0",
        ProtocolChoice::T1 => "t1",
    })
}

fn write_reset<S: Serializer>(reset: &ResetKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match reset {
        ResetKind::Warm => "warm",
        ResetKind::Cold => "cold",
    })
}
