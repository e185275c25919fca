//! A caller's view of the broker: its run, version and limits, and the caller's own identity as the broker sees it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cardbroker_core::{
    caller::{Caller, CallerKey, Principal},
    turns::quantum::Quantum,
};

use super::Broker;
use crate::{caller::group::GroupMark, config::LimitsConfig, reader::MAX_PIPELINED};

/// The facts about the broker that a caller may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The daemon's version, for example `0.1.0`.
    pub version: &'static str,
    /// The unique name of this run of the broker.
    pub epoch: Arc<str>,
    /// The start of this run, by the system's clock.
    pub started: SystemTime,
    /// The limits on this caller's requests.
    pub limits: CallerLimits,
    /// The caller as the broker sees it.
    pub caller: SeenCaller,
}

/// The limits on one caller's requests, beside those of the contract itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerLimits {
    /// Maximum waiting requests of one caller at one reader.
    pub max_waiting_per_caller: usize,
    /// Maximum waiting requests of all callers together at one reader.
    pub max_waiting_per_reader: usize,
    /// Maximum stored outcomes for the `request_id`s of one user.
    pub max_outcomes_per_user: usize,
    /// How long an outcome is kept.
    pub outcome_lifetime: Duration,
    /// Maximum unanswered messages of one session; the broker reads no more until some are answered.
    pub max_pipelined: usize,
    /// How long a session may continue while callers of other groups wait.
    pub max_contended_lease: Duration,
    /// The maximum time of a visit of one group where that saves a reset.
    pub turn_quantum: Quantum,
    /// How long a unit may continue while callers of other groups wait.
    pub max_contended_unit: Duration,
}

/// A caller as the broker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCaller {
    /// The user or token that is responsible for the caller.
    pub principal: Principal,
    /// Its process number; `None` if it is unknown. For display only.
    pub pid: Option<u32>,
    /// The kind of the caller, by which turns and quotas are counted.
    pub kind: CallerKind,
    /// The number of the connection, counted from 1 in this run.
    pub connection: u64,
    /// The number of the isolation group among those of the connection, counted from 1; `None` if each of the caller's
    /// units and sessions is isolated.
    pub group: Option<u64>,
}

/// The kind of a caller. Turns and quotas are counted per caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// A process, with all its connections.
    Process,
    /// A single connection, whose process is not certain.
    Connection,
}

/// The facts that are the same for all callers of this run.
#[derive(Debug)]
pub(super) struct Facts {
    epoch: Arc<str>,
    started: SystemTime,
    limits: CallerLimits,
}

impl Broker {
    /// The unique name of this run.
    pub fn epoch(&self) -> Arc<str> {
        self.facts.epoch()
    }

    /// The beginning of this run, by the system's clock.
    pub fn started(&self) -> SystemTime {
        self.facts.started
    }

    /// Returns the facts about the broker and about `caller`, whose group is `group`.
    pub fn about(&self, caller: &Caller, group: &GroupMark) -> About {
        self.facts.about(caller, group)
    }
}

impl Facts {
    /// Creates the facts of a run that begins now.
    pub(super) fn new(epoch: String, limits: &LimitsConfig) -> Self {
        let limits = CallerLimits {
            max_waiting_per_caller: limits.max_waiting_per_caller,
            max_waiting_per_reader: limits.max_waiting_per_reader,
            max_outcomes_per_user: limits.max_outcomes_per_user,
            outcome_lifetime: limits.outcome_lifetime,
            max_pipelined: MAX_PIPELINED,
            max_contended_lease: limits.max_contended_lease,
            turn_quantum: limits.turn_quantum,
            max_contended_unit: limits.max_contended_unit,
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
    use cardbroker_core::user::{Account, SystemUser};

    use super::*;
    use crate::caller::group::{GroupKey, Groups, Memberships};

    #[test]
    fn a_caller_sees_its_own_identity() {
        let facts = Facts::new("e".into(), &LimitsConfig::default());
        let groups = Groups::default();
        let process = Caller::local(7, Account::unix(1000, 100), Some(42), Some(9));
        let group = Memberships::default().join(&groups, GroupKey::Caller(process.key)).unwrap();
        let about = facts.about(&process, &group);
        let seen = SeenCaller {
            principal: Principal::User(SystemUser::unix(1000)),
            pid: Some(42),
            kind: CallerKind::Process,
            connection: 7,
            group: Some(1),
        };
        assert_eq!((about.caller, &*about.epoch, about.version), (seen, "e", env!("CARGO_PKG_VERSION")));
        assert_eq!(about.limits.max_waiting_per_caller, 64);

        let remote = Caller::remote(8, "laptop".into());
        let seen = facts.about(&remote, &GroupMark::alone()).caller;
        assert_eq!((seen.kind, seen.pid, seen.group), (CallerKind::Connection, None, None));
    }
}
