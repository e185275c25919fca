//! What a caller may know of the broker: which run of which version it is, what its limits are, and whom it sees in the
//! caller.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cardbroker_core::caller::{Caller, CallerKey, Principal};
use cardbroker_proto::{MAX_COMMANDS, MAX_MESSAGE_BYTES};

use crate::{caller::group::GroupMark, config::LimitsConfig, reader::MAX_PIPELINED};

/// The broker, as one caller may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The daemon's version, `0.1.0`.
    pub version: &'static str,
    /// Names this run of the broker.
    pub epoch: Arc<str>,
    /// When this run began, by the system's clock.
    pub started: SystemTime,
    /// What a caller may ask for.
    pub limits: CallerLimits,
    /// Whom the broker sees in the caller.
    pub caller: SeenCaller,
}

/// What a caller may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerLimits {
    /// Requests of one caller that may wait at one reader.
    pub max_waiting_per_caller: usize,
    /// Requests of all callers together that may wait at one reader.
    pub max_waiting_per_reader: usize,
    /// Outcomes that are kept for the `request_id`s of one user.
    pub max_outcomes_per_user: usize,
    /// How long an outcome is kept.
    pub outcome_lifetime: Duration,
    /// The largest request and the largest response, in bytes.
    pub max_message_bytes: usize,
    /// The most commands of one unit.
    pub max_commands: usize,
    /// The most messages of one session that are under way; the broker reads no more until some are answered.
    pub max_pipelined: usize,
    /// How long a session may go on while others wait.
    pub max_contended_lease: Duration,
}

/// Whom the broker sees in a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCaller {
    /// Who is responsible.
    pub principal: Principal,
    /// Its process, if it could be seen. For display.
    pub pid: Option<u32>,
    /// What turns and quotas are counted by.
    pub kind: CallerKind,
    /// Number of the connection, counted from 1 in this run.
    pub connection: u64,
    /// Number of the isolation group among those of the connection, counted from 1; `None` if each of the caller's units and sessions is
    /// alone.
    pub group: Option<u64>,
}

/// What turns and quotas are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// A process, however many connections it opens.
    Process,
    /// A connection.
    Connection,
}

/// What is the same for all callers of this run.
#[derive(Debug)]
pub(super) struct Facts {
    epoch: Arc<str>,
    started: SystemTime,
    limits: CallerLimits,
}

impl Facts {
    /// Of a run that begins now.
    pub(super) fn new(epoch: String, limits: &LimitsConfig) -> Self {
        let limits = CallerLimits {
            max_waiting_per_caller: limits.max_waiting_per_caller,
            max_waiting_per_reader: limits.max_waiting_per_reader,
            max_outcomes_per_user: limits.max_outcomes_per_user,
            outcome_lifetime: limits.outcome_lifetime,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_commands: MAX_COMMANDS,
            max_pipelined: MAX_PIPELINED,
            max_contended_lease: limits.max_contended_lease,
        };
        Self { epoch: epoch.into(), started: SystemTime::now(), limits }
    }

    pub(super) fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.epoch)
    }

    pub(super) fn about(&self, caller: &Caller, group: &GroupMark) -> About {
        let caller = SeenCaller {
            principal: caller.principal(),
            pid: caller.pid,
            kind: match caller.key {
                CallerKey::Process { .. } => CallerKind::Process,
                CallerKey::Connection(_) => CallerKind::Connection,
            },
            connection: caller.connection,
            group: group.number(),
        };
        About {
            version: env!("CARGO_PKG_VERSION"),
            epoch: Arc::clone(&self.epoch),
            started: self.started,
            limits: self.limits.clone(),
            caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::group::{GroupKey, Groups, Memberships};

    #[test]
    fn a_caller_is_told_whom_the_broker_sees_in_it() {
        let facts = Facts::new("e".into(), &LimitsConfig::default());
        let groups = Groups::default();
        let process = Caller::local(7, 1000, 100, Some(42), Some(9));
        let group = Memberships::default().join(&groups, GroupKey::Caller(process.key)).unwrap();
        let about = facts.about(&process, &group);
        let seen = SeenCaller {
            principal: Principal::User(1000),
            pid: Some(42),
            kind: CallerKind::Process,
            connection: 7,
            group: Some(1),
        };
        assert_eq!((about.caller, &*about.epoch, about.version), (seen, "e", env!("CARGO_PKG_VERSION")));
        assert_eq!((about.limits.max_waiting_per_caller, about.limits.max_commands), (64, 64));

        let remote = Caller::remote(8, "laptop".into());
        let seen = facts.about(&remote, &GroupMark::alone()).caller;
        assert_eq!((seen.kind, seen.pid, seen.group), (CallerKind::Connection, None, None));
    }
}
