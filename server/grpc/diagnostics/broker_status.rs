//! The broker's own part of the status: configuration, listeners, connections, PC/SC and log.

use std::{collections::BTreeMap, process, sync::Arc};

use cardbroker_core::caller::Principal;
use cardbroker_proto::diagnostics::v1::{BrokerStatus, ConnectionCount, Listener, PcscState, PcscStatus, Reload};
use tokio::sync::watch;

use super::Diagnostics;
use crate::{
    config::{ConfigInForce, ReloadAsker},
    grpc::{
        convert::{to_i32, to_i64},
        wall_clock::timestamp,
    },
    listen,
    policy::accounts::own_user,
    process::telemetry::LogControl,
};

/// The most entries of connections by principal.
const MAX_CONNECTION_COUNTS: usize = 64;

/// Facts about this run, from the other parts of the server.
#[derive(Clone)]
pub struct RunFacts {
    /// The configuration in force. The server writes it at each reload.
    pub config: watch::Receiver<ConfigInForce>,
    /// Asks the server for reloads.
    pub reloads: ReloadAsker,
    /// The address of the Unix socket, with its scheme.
    pub local_address: String,
    /// The address of the TCP port, with its scheme, if there is one.
    pub tcp_address: Option<String>,
    /// The open connections of all listeners.
    pub connections: listen::ConnectionCount,
    /// The refused requests so far that came while their user's budget was used up.
    pub over_budget: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Whether the readers are simulated.
    pub is_simulated: bool,
    /// The log of the process; `None` if it has installed none.
    pub log: Option<LogControl>,
}

impl Diagnostics {
    /// Returns the broker's own part of the status.
    pub(super) fn broker_status(&self) -> BrokerStatus {
        let facts = &self.facts;
        let config = facts.config.borrow().clone();
        let (listeners, connections) = connections(facts);
        let filter = facts.log.as_ref().map(LogControl::filter);
        let (denied, unauthenticated) = self.broker.refusals();
        BrokerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process_id: i32::try_from(process::id()).unwrap_or_default(),
            user: Principal::User(own_user()).to_string(),
            start_time: Some(self.broker.started().into()),
            config_file: config.source.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default(),
            config_digest: config.source.map(|file| file.digest).unwrap_or_default(),
            last_reload: config.last_reload.map(|reload| Reload {
                end_time: Some(timestamp(reload.at)),
                problem: reload.problem.unwrap_or_default(),
            }),
            listeners,
            connections,
            pcsc: Some(self.pcsc_status()),
            lost_log_line_count: facts.log.as_ref().map_or(0, |log| to_i64(log.lost_lines())),
            log_filter: filter.as_ref().map(|filter| filter.directives.clone()).unwrap_or_default(),
            log_filter_revert_time: filter.and_then(|filter| filter.until).map(timestamp),
            over_budget_count: to_i64((facts.over_budget)()),
            denied_count: to_i64(denied),
            unauthenticated_count: to_i64(unauthenticated),
        }
    }

    fn pcsc_status(&self) -> PcscStatus {
        let stack = self.broker.stack();
        let state = match (&stack.problem, self.facts.is_simulated) {
            (Some(_), _) => PcscState::Unavailable,
            (None, true) => PcscState::Simulated,
            (None, false) => PcscState::Serving,
        };
        PcscStatus {
            state: state.into(),
            state_time: Some(timestamp(stack.since)),
            problem: stack.problem.unwrap_or_default(),
        }
    }
}

/// The listeners, and the open connections by listener and principal, the largest number first.
fn connections(facts: &RunFacts) -> (Vec<Listener>, Vec<ConnectionCount>) {
    let by_user: BTreeMap<Option<Principal>, usize> = facts.connections.by_user();
    let on_tcp = by_user.get(&None).copied().unwrap_or_default();
    let local: usize = by_user.values().sum::<usize>() - on_tcp;
    let mut listeners = vec![Listener { address: facts.local_address.clone(), connection_count: to_i32(local) }];
    if let Some(address) = &facts.tcp_address {
        listeners.push(Listener { address: address.clone(), connection_count: to_i32(on_tcp) });
    }
    let address = |user: &Option<Principal>| match (user, &facts.tcp_address) {
        (None, Some(address)) => address.clone(),
        _ => facts.local_address.clone(),
    };
    let mut counts: Vec<_> = by_user.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let counts = counts.into_iter().take(MAX_CONNECTION_COUNTS).map(|(user, count)| ConnectionCount {
        address: address(&user),
        principal: user.unwrap_or(Principal::Unknown).to_string(),
        count: to_i32(count),
    });
    (listeners, counts.collect())
}
