//! The broker's inner interface, which knows nothing of gRPC: readers to see, units to run.

use std::{io, sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinHandle, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Backend,
    caller::Caller,
    config::Config,
    error::{Failure, Reason},
    executions::Executions,
    group::{GroupMark, Groups},
    outcomes::{OutcomeLimits, RequestKey},
    reader::{
        ReaderHandle,
        queue::Limits,
        session::{Opening, SessionRequest},
        ticket::{UnitOutcome, UnitRequest},
    },
    registry::{self, RegistrySettings, View},
};

/// Response bytes of all outcomes that are kept together.
const MAX_OUTCOME_BYTES: usize = 64 << 20;

/// What front doors ask. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    epoch: Arc<str>,
    view: watch::Receiver<Arc<View>>,
    groups: Groups,
    executions: Executions,
}

/// The broker's tasks. Dropping it leaves them alone; [`BrokerTasks::stop`] ends them.
pub struct BrokerTasks {
    shutdown: CancellationToken,
    registry: JoinHandle<()>,
    executions: Executions,
}

impl Broker {
    /// Starts the broker on `backend` and waits for the first look at its readers. `epoch` must be unique to this run.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub async fn start(backend: Arc<dyn Backend>, config: Config, epoch: String) -> io::Result<(Self, BrokerTasks)> {
        let shutdown = CancellationToken::new();
        let limits = Limits {
            per_caller: config.limits.max_waiting_per_caller,
            per_reader: config.limits.max_waiting_per_reader,
        };
        let outcome_limits = OutcomeLimits {
            per_user: config.limits.max_outcomes_per_user,
            total: 10 * config.limits.max_outcomes_per_user,
            bytes: MAX_OUTCOME_BYTES,
            lifetime: config.limits.outcome_lifetime,
        };
        let max_contended_lease = config.limits.max_contended_lease;
        let settings = RegistrySettings {
            limits,
            max_contended_lease,
            epoch: epoch.clone(),
            reader: Box::new(move |name| config.reader(name)),
        };
        let executions = Executions::new(outcome_limits, shutdown.clone())?;
        let (view, registry) = registry::start(backend, settings, shutdown.clone()).await?;
        let tasks = BrokerTasks { shutdown, registry, executions: executions.clone() };
        Ok((Self { epoch: epoch.into(), view, groups: Groups::default(), executions }, tasks))
    }

    /// Names this run of the broker.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The readers as they are now.
    pub fn readers(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The readers, now and at every change.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// The isolation groups that have members.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Runs a unit at most once under the id `key`: a repeat joins it or gets its outcome, see [`crate::outcomes`]. Otherwise as
    /// [`Broker::transmit`]. Returns the outcome, and whether it is that of an earlier request.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered, now or then.
    pub async fn transmit_once(
        &self,
        caller: &Caller,
        group: GroupMark,
        reader: &str,
        request: UnitRequest,
        give_up: Option<Instant>,
        key: RequestKey,
    ) -> Result<(UnitOutcome, bool), Failure> {
        let fingerprint = self.executions.fingerprint(reader, &request);
        let submit = || self.handle(reader)?.submit(caller.key, group.clone(), request.clone(), Instant::now());
        let brought = self.executions.run(key, fingerprint, give_up, submit).await?;
        brought.outcome.map(|outcome| (outcome, brought.replayed))
    }

    /// Runs a unit on the reader called `reader` when the turn of `caller` comes, on behalf of `group`. At `give_up` the answer is what there is then.
    /// Dropping the future gives up a unit that has not begun.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered.
    pub async fn transmit(
        &self,
        caller: &Caller,
        group: GroupMark,
        reader: &str,
        request: UnitRequest,
        give_up: Option<Instant>,
    ) -> Result<UnitOutcome, Failure> {
        let mut submission = self.handle(reader)?.submit(caller.key, group, request, Instant::now())?;
        if let Some(give_up) = give_up {
            tokio::select! {
                biased;
                outcome = submission.outcome() => return outcome,
                () = sleep_until(give_up.into()) => submission.give_up(Instant::now()),
            }
        }
        submission.outcome().await
    }
}

impl Broker {
    /// Asks for a session on the reader called `reader`, on behalf of `group`. Dropping it gives it up.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such reader, or no room to wait.
    pub fn open_session(
        &self,
        caller: &Caller,
        group: GroupMark,
        reader: &str,
        request: SessionRequest,
    ) -> Result<Opening, Failure> {
        self.handle(reader)?.open_session(caller.key, group, request, Instant::now())
    }

    fn handle(&self, reader: &str) -> Result<ReaderHandle, Failure> {
        self.view.borrow().get(reader).map(|reader| reader.handle.clone()).ok_or_else(|| {
            let message = "there is no reader of this name: list the readers to see which there are";
            Failure::not_sent(Reason::ReaderNotFound, message)
        })
    }
}

impl BrokerTasks {
    /// Refuses those who wait, lets units that have begun run to their end, lets all cards go, and returns when that is done. The caller
    /// bounds the wait.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.executions.ended().await;
        // It fails only if the task has panicked, and then it is over too.
        let _ = self.registry.await;
    }
}
