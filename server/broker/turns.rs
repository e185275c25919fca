//! What a caller sees of its own requests that wait: at each reader that it may see, pulled from the reader's actor at
//! each look.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardbroker_core::{
    caller::CallerKey,
    error::{Failure, Reason},
    turns::waiting::{Holder, TurnKind, Turns, Waiter},
};
use tokio::{
    sync::watch,
    time::{Instant as Moment, timeout_at},
};

use super::{VisibleReaders, not_found};
use crate::registry::Routes;

/// How long all readers together may take to answer a look.
const LOOK_TIME: Duration = Duration::from_millis(500);

/// A request of the caller's own that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingTurn {
    /// The reader's name: `readers/{id}`.
    pub reader: String,
    /// What it wants a turn for.
    pub kind: TurnKind,
    /// How many turns come before its own, the one under way included: an estimate, for others come and go.
    pub turns_ahead: usize,
    /// When it came.
    pub since: Instant,
    /// When it is refused with `QUEUE_TIMEOUT`.
    pub deadline: Instant,
    /// Who has the turn at the reader, if anyone has.
    pub holder: Option<Holder>,
}

/// The waiting requests of one caller, at one reader or at all that it may see.
pub struct VisibleTurns {
    visible: VisibleReaders,
    routes: watch::Receiver<Arc<Routes>>,
    moved: watch::Receiver<()>,
    caller: CallerKey,
    reader: Option<String>,
}

impl VisibleTurns {
    pub(super) fn new(
        visible: VisibleReaders,
        routes: watch::Receiver<Arc<Routes>>,
        moved: watch::Receiver<()>,
        caller: CallerKey,
        reader: Option<&str>,
    ) -> Self {
        Self { visible, routes, moved, caller, reader: reader.map(str::to_owned) }
    }

    /// The requests as they wait now, by reader and then in the order of their turns. Readers are asked at the same
    /// time and for half a second at most.
    ///
    /// # Errors
    /// [`Reason::ReaderNotFound`] if the reader that was named may not be seen, [`Reason::ReaderUnresponsive`] if one
    /// has not answered.
    pub async fn look(&mut self) -> Result<Vec<WaitingTurn>, Failure> {
        let deadline = Moment::now() + LOOK_TIME;
        self.moved.mark_unchanged();
        let asked: Vec<_> = {
            let (readers, routes) = (self.visible.look(), self.routes.borrow());
            if self.reader.as_ref().is_some_and(|name| readers.get(name).is_none()) {
                return Err(not_found());
            }
            let is_wanted = |name: &str| self.reader.as_ref().is_none_or(|wanted| wanted == name);
            let names = readers.iter().map(|reader| &reader.name).filter(|name| is_wanted(name));
            let asked = names.filter_map(|name| Some((Arc::clone(name), routes.get(name)?.turns(self.caller))));
            asked.collect()
        };
        let mut found = Vec::new();
        for (name, turns) in asked {
            let turns = timeout_at(deadline, turns).await.ok().flatten().ok_or_else(unanswered)?;
            found.extend(at_reader(&name, turns));
        }
        Ok(found)
    }

    /// Waits until there may be something new to see since the last look. It returns at every change of a busy reader:
    /// whoever follows sleeps for a while between two looks, compares what is seen, and says nothing if it is the same.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The broker has ended.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.moved.changed() => changed,
            changed = self.visible.changed() => changed,
        }
    }
}

fn unanswered() -> Failure {
    Failure::not_sent(Reason::ReaderUnresponsive, "a reader's task has not answered: look again")
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
        broker::{Broker, RequestContext},
        caller::group::GroupMark,
        config::Config,
        policy::audit::AuditTrail,
        reader::session::{DEFAULT_IDLE, Opening, OpeningEvent, SessionRequest},
    };
    use cardbroker_core::{
        caller::Caller,
        policy::Policy,
        turns::turn::{CardRequirement, DEFAULT_WAIT, Disposition, TurnRequest},
    };

    const READER: &str = "readers/simulated-reader-00";

    fn open(broker: &Broker, caller: &Caller) -> Opening {
        let turn = TurnRequest {
            reset_before: None,
            if_insertion_id: None,
            if_state_tag: None,
            wait_timeout: DEFAULT_WAIT,
            card: CardRequirement::Awaited,
        };
        let request = SessionRequest { turn, idle_timeout: DEFAULT_IDLE, disposition: Disposition::Reset };
        broker.open_session(RequestContext { caller, group: GroupMark::alone(), reader: READER }, request).unwrap()
    }

    #[tokio::test]
    async fn a_caller_follows_its_own_requests_and_sees_no_other_readers() {
        let policy = Policy::new(Vec::new(), 1000);
        let (backend, trail) = (Arc::new(Simulated::new(2)), AuditTrail::default());
        let (broker, tasks) = Broker::start(backend, Config::default(), policy, trail, "e".into()).await.unwrap();
        let [holder, waiter, stranger] = [1, 2, 3].map(|number| Caller::local(number, 1000, 0, None, None));
        let mut opening = open(&broker, &holder);
        let session = loop {
            if let OpeningEvent::Begun(session) = opening.next().await.unwrap() {
                break session;
            }
        };

        let mut sights = [Some(READER), None].map(|reader| broker.turns(&waiter, reader));
        for visible in &mut sights {
            assert_eq!(visible.look().await, Ok(Vec::new()));
        }
        let second = open(&broker, &waiter);
        for visible in &mut sights {
            let found = loop {
                visible.changed().await.unwrap();
                let found = visible.look().await.unwrap();
                if !found.is_empty() {
                    break found;
                }
            };
            let [turn] = &*found else { panic!("{found:?}") };
            assert_eq!((&*turn.reader, turn.kind, turn.turns_ahead), (READER, TurnKind::Session, 1));
            assert_eq!(turn.holder.map(|holder| (holder.kind, holder.is_caller)), Some((TurnKind::Session, false)));
        }
        assert_eq!(broker.turns(&stranger, None).look().await, Ok(Vec::new()));

        let other_user = Caller::local(4, 1001, 0, None, None);
        let hidden = broker.turns(&other_user, Some(READER)).look().await.unwrap_err();
        assert_eq!(hidden.reason, Reason::ReaderNotFound);
        assert_eq!(broker.reader(&other_user, READER).err().unwrap().reason, Reason::ReaderNotFound);
        assert_eq!(&*broker.reader(&waiter, READER).unwrap().name, READER);
        drop((session, second));
        tasks.stop().await;
    }
}
