//! Gathers the facts: asks the broker and looks at this machine. Nothing here waits longer than a few seconds.

use std::{future::Future, path::PathBuf, sync::mpsc, thread, time::Duration};

use cardbroker_client::{Broker, BrokerLimits, Client, Endpoint, EndpointError, Error};
use tokio::time::timeout;

use super::{
    facts::{Answer, BrokerFacts, Door, Facts, Found, Pcsc},
    machine,
};

/// How long one question may take: to the broker, or to the system.
const LIMIT: Duration = Duration::from_secs(2);

/// Gathers all facts. `endpoint` is the named one.
pub(crate) async fn gather(endpoint: Result<Option<Endpoint>, EndpointError>, token_file: Option<PathBuf>) -> Facts {
    let candidates = match &endpoint {
        Ok(Some(named)) => vec![named.clone()],
        Ok(None) => Endpoint::defaults(),
        Err(_) => Vec::new(),
    };
    let is_remote = candidates.iter().all(|place| matches!(place, Endpoint::Tcp { .. } | Endpoint::PlainTcp { .. }));
    let searched = timeout(LIMIT, crate::connect(endpoint, token_file, Duration::ZERO)).await;
    let (client, found) = match searched {
        Ok(Ok(client)) => {
            let found = Found::At { endpoint: client.endpoint().clone(), other: client.other_broker() };
            (Some(client), found)
        }
        Ok(Err(error)) => (None, Found::Nothing(Box::new(error))),
        Err(_) => (None, Found::Silence),
    };
    let broker = ask(client.as_ref(), |client| async move { client.broker().await }).await;
    // A broker that does not answer one question does not answer the others.
    let client = client.filter(|_| broker.given().is_some());
    let readers = ask(client.as_ref(), |client| async move { client.readers().await }).await;
    let status = ask(client.as_ref(), |client| async move { client.diagnostics().status().get().await }).await;
    let broker = described(broker);
    // Each connection is a caller of its own behind sshd: then the broker may be on another machine. On Windows it
    // always is one, and the pipe is this machine's.
    let is_behind_sshd = !cfg!(windows) && broker.given().is_some_and(|broker| broker.is_connection);
    let is_remote = is_remote || is_behind_sshd;
    Facts {
        version: env!("CARGO_PKG_VERSION"),
        me: within_limit(machine::me).unwrap_or_default(),
        places: within_limit(move || machine::places(candidates)).unwrap_or_default(),
        found,
        broker,
        readers,
        status,
        pcsc: if is_remote { None } else { pcsc() },
        windows: if is_remote { None } else { within_limit(machine::windows).flatten() },
    }
}

fn pcsc() -> Option<Pcsc> {
    let door = within_limit(machine::door).unwrap_or(Door::Stuck);
    within_limit(move || machine::pcsc(door)).flatten()
}

/// Asks the broker, if there is one.
async fn ask<T, F>(client: Option<&Client>, question: impl FnOnce(Client) -> F) -> Answer<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let Some(client) = client else { return Answer::NotAsked };
    match timeout(LIMIT, question(client.clone())).await {
        Ok(Ok(answer)) => Answer::Given(answer),
        Ok(Err(error)) => Answer::Failed(Box::new(error)),
        Err(_) => Answer::Silent,
    }
}

/// Runs `look` on a thread of its own, which is left alone if it takes too long: a look-up of a name or a file system
/// may hang.
pub(crate) fn within_limit<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    // The receiver may have given up.
    let look = move || drop(sender.send(look()));
    thread::Builder::new().name("look".into()).spawn(look).ok()?;
    receiver.recv_timeout(LIMIT).ok()
}

fn described(broker: Answer<Broker>) -> Answer<BrokerFacts> {
    match broker {
        Answer::Given(broker) => Answer::Given(BrokerFacts {
            limits: limits(&broker.limits),
            version: broker.version,
            principal: broker.caller.principal,
            process_id: broker.caller.process_id,
            is_connection: broker.caller.is_connection,
        }),
        Answer::Failed(error) => Answer::Failed(error),
        Answer::Silent => Answer::Silent,
        Answer::NotAsked => Answer::NotAsked,
    }
}

fn limits(limits: &BrokerLimits) -> Vec<(&'static str, u64)> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut all = vec![
        ("max_message_bytes", limits.max_message_bytes.into()),
        ("max_commands", limits.max_commands.into()),
        ("max_session_messages", limits.max_session_messages.into()),
        ("max_waiting_per_caller", limits.max_waiting_per_caller.into()),
        ("max_waiting_per_reader", limits.max_waiting_per_reader.into()),
        ("max_outcomes_per_user", limits.max_outcomes_per_user.into()),
        ("outcome_lifetime_ms", millis(limits.outcome_lifetime)),
        ("max_contended_lease_ms", millis(limits.max_contended_lease)),
        ("max_contended_unit_ms", millis(limits.max_contended_unit)),
    ];
    all.extend(limits.turn_quantum.map(|quantum| ("turn_quantum_ms", millis(quantum))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_hangs_is_left_alone() {
        let (keep, hang) = mpsc::channel::<()>();
        assert_eq!(within_limit(move || hang.recv().is_ok()), None);
        drop(keep);
        assert_eq!(within_limit(|| 7), Some(7));
    }
}
