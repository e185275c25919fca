//! A caller's view of its own waiting requests, at each reader that it may see, queried from the readers' actors.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::Caller,
    error::{Failure, Reason},
    turns::waiting::{Holder, TurnKind, Turns, Waiter},
};
use tokio::{
    sync::watch,
    time::{Instant as Moment, timeout_at},
};

use super::{VisibleReaders, not_found};
use crate::registry::Routes;

/// The maximum time for the answers of all readers to one query.
const QUERY_TIME: Duration = Duration::from_millis(500);

/// A waiting request of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingTurn {
    /// The name of the reader: `readers/{id}`.
    pub reader: String,
    /// The kind of work for its turn.
    pub kind: TurnKind,
    /// The number of turns before its own, the current one included: an estimate, because requests come and go.
    pub turns_ahead: usize,
    /// When the reader received the request.
    pub since: Instant,
    /// The end of its wait: it is then refused with `QUEUE_TIMEOUT`.
    pub deadline: Instant,
    /// The holder of the turn at the reader, if there is one.
    pub holder: Option<Holder>,
}

/// The waiting requests of one caller, at one reader or at all visible ones.
pub struct VisibleTurns {
    /// The readers that the caller may see now.
    visible: VisibleReaders,
    /// The handles of all readers, from the registry.
    routes: watch::Receiver<Arc<Routes>>,
    /// Changes when a turn at any reader may have moved.
    moved: watch::Receiver<()>,
    /// The caller whose requests it shows.
    caller: Caller,
    /// The only reader to show; `None` for all.
    reader: Option<String>,
}

impl VisibleTurns {
    pub(super) fn new(
        visible: VisibleReaders,
        routes: watch::Receiver<Arc<Routes>>,
        moved: watch::Receiver<()>,
        caller: Caller,
        reader: Option<&str>,
    ) -> Self {
        Self { visible, routes, moved, caller, reader: reader.map(str::to_owned) }
    }

    /// Returns the requests that wait now, by reader and then in the order of their turns. Queries all readers at the
    /// same time, and waits for half a second at most.
    ///
    /// # Errors
    /// [`Reason::ReaderNotFound`] if the caller may not see the named reader, [`Reason::ReaderUnresponsive`] if a
    /// reader has not answered.
    pub async fn query(&mut self) -> Result<Vec<WaitingTurn>, Failure> {
        let deadline = Moment::now() + QUERY_TIME;
        self.moved.mark_unchanged();
        let queries: Vec<_> = {
            let (readers, routes) = (self.visible.list(), self.routes.borrow());
            if self.reader.as_ref().is_some_and(|name| readers.get(name).is_none()) {
                return Err(not_found());
            }
            let is_wanted = |name: &str| self.reader.as_ref().is_none_or(|wanted| wanted == name);
            let names = readers.iter().map(|reader| &reader.name).filter(|name| is_wanted(name));
            let queries = names.filter_map(|name| Some((Arc::clone(name), routes.get(name)?.turns(&self.caller))));
            queries.collect()
        };
        let mut found = Vec::new();
        for (name, turns) in queries {
            let turns = timeout_at(deadline, turns).await.ok().flatten().ok_or_else(unanswered)?;
            found.extend(at_reader(&name, turns));
        }
        Ok(found)
    }

    /// Waits until the list may have changed since the last query. Returns at every change of a busy reader, so a
    /// watcher sleeps between two queries and reports only differences. Cancel-safe.
    ///
    /// # Errors
    /// The broker has stopped.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.moved.changed() => changed,
            changed = self.visible.changed() => changed,
        }
    }
}

fn unanswered() -> Failure {
    Failure::not_sent(Reason::ReaderUnresponsive, "a reader's task has not answered: retry")
}

fn at_reader(name: &str, turns: Turns) -> impl Iterator<Item = WaitingTurn> {
    let Turns { holder, waiting } = turns;
    waiting.into_iter().map(move |waiter| {
        let Waiter { kind, turns_ahead, since, deadline } = waiter;
        WaitingTurn { reader: name.to_owned(), kind, turns_ahead, since, deadline, holder }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::simulated::Simulated,
        broker::{Broker, RequestContext, diagnosis::origin_of},
        caller::group::GroupMark,
        config::Config,
        policy::audit::{AuditTrail, SessionRecords},
        reader::session::{DEFAULT_IDLE, Opening, OpeningEvent, SessionRequest},
    };
    use cardbroker_core::{
        caller::Caller,
        policy::Policy,
        turns::turn::{CardRequirement, DEFAULT_WAIT, Disposition, TurnRequest},
        user::{example, example_account},
    };

    const READER: &str = "readers/simulated-reader-00";

    fn open(broker: &Broker, caller: &Caller) -> Opening {
        let turn = TurnRequest {
            reset_before: None,
            if_insertion_id: None,
            if_state_tag: None,
            if_not_raised: false,
            wait_timeout: DEFAULT_WAIT,
            card: CardRequirement::Awaited,
        };
        let request = SessionRequest {
            turn,
            idle_timeout: DEFAULT_IDLE,
            disposition: Disposition::Reset,
            records: SessionRecords::Each,
        };
        broker
            .open_session(
                RequestContext { caller, group: GroupMark::alone(), reader: READER, traceparent: None },
                request,
            )
            .unwrap()
    }

    #[tokio::test]
    async fn a_caller_sees_its_own_requests_and_readers_only() {
        let policy = Policy::new(Vec::new(), example(1001));
        let (backend, trail) = (Arc::new(Simulated::new(2)), AuditTrail::default());
        let (broker, tasks) = Broker::start(backend, Config::default(), policy, trail, "e".into()).await.unwrap();
        let [holder, waiter, stranger] =
            [1, 2, 3].map(|number| Caller::local(number, example_account(1001), None, None));
        let mut opening = open(&broker, &holder);
        let session = loop {
            if let OpeningEvent::Begun(session) = opening.next().await.unwrap() {
                break session;
            }
        };

        let mut sights = [Some(READER), None].map(|reader| broker.turns(&waiter, reader));
        for visible in &mut sights {
            assert_eq!(visible.query().await, Ok(Vec::new()));
        }
        let second = open(&broker, &waiter);
        for visible in &mut sights {
            let found = loop {
                visible.changed().await.unwrap();
                let found = visible.query().await.unwrap();
                if !found.is_empty() {
                    break found;
                }
            };
            let [turn] = &*found else { panic!("{found:?}") };
            assert_eq!((&*turn.reader, turn.kind, turn.turns_ahead), (READER, TurnKind::Session, 1));
            assert_eq!(turn.holder.map(|holder| (holder.kind, holder.is_caller)), Some((TurnKind::Session, false)));
        }
        assert_eq!(broker.turns(&stranger, None).query().await, Ok(Vec::new()));

        let other_user = Caller::local(4, example_account(1003), None, None);
        let hidden = broker.turns(&other_user, Some(READER)).query().await.unwrap_err();
        assert_eq!(hidden.reason, Reason::ReaderNotFound);
        assert_eq!(broker.reader(origin_of(&other_user), READER).err().unwrap().reason, Reason::ReaderNotFound);
        assert_eq!(&*broker.reader(origin_of(&waiter), READER).unwrap().name, READER);
        drop((session, second));
        tasks.stop().await;
    }
}
