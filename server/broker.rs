//! The broker's inner interface, which knows nothing of gRPC: readers to see, units to run.

use std::{io, sync::Arc, time::Instant};

use tokio::{sync::watch, task::JoinHandle, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    audit::AuditTrail,
    backend::Backend,
    caller::{Caller, Identity},
    config::{Config, Operation},
    error::{Failure, Reason},
    executions::Executions,
    group::{GroupMark, Groups},
    outcomes::{OutcomeLimits, RequestKey},
    permit::{Permit, PolicyInForce},
    policy::{Policy, ReaderNames},
    reader::{
        ReaderHandle, Submission,
        queue::Limits,
        session::{Disposition, Opening, SessionRequest},
        ticket::{UnitOutcome, UnitRequest},
        turn::TurnRequest,
        unit::headers,
    },
    registry::{self, ReaderView, RegistrySettings, View},
};

/// Response bytes of all outcomes that are kept together.
const MAX_OUTCOME_BYTES: usize = 64 << 20;

/// What front doors ask. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    epoch: Arc<str>,
    policy: watch::Sender<Arc<Policy>>,
    /// Where permits put their denials.
    trail: AuditTrail,
    view: watch::Receiver<Arc<View>>,
    groups: Groups,
    executions: Executions,
}

/// Who asks, on whose behalf, for which reader.
#[derive(Clone)]
pub struct Asker<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// The isolation group that it belongs to.
    pub group: GroupMark,
    /// The reader's name: `readers/{id}`.
    pub reader: &'a str,
}

/// The broker's tasks. Dropping it leaves them alone; [`BrokerTasks::stop`] ends them.
pub struct BrokerTasks {
    shutdown: CancellationToken,
    registry: JoinHandle<()>,
    executions: Executions,
}

impl Broker {
    /// Starts the broker on `backend` and waits for the first look at its readers. `epoch` must be unique to
    /// this run. Denials go into `trail`.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub async fn start(
        backend: Arc<dyn Backend>,
        config: Config,
        policy: Policy,
        trail: AuditTrail,
        epoch: String,
    ) -> io::Result<(Self, BrokerTasks)> {
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
        let policy = watch::Sender::new(Arc::new(policy));
        let settings = RegistrySettings {
            policy: policy.subscribe(),
            limits,
            max_contended_lease,
            epoch: epoch.clone(),
            reader: Box::new(move |name| config.reader(name)),
        };
        let executions = Executions::new(outcome_limits, shutdown.clone())?;
        let (view, registry) = registry::start(backend, settings, shutdown.clone()).await?;
        let tasks = BrokerTasks { shutdown, registry, executions: executions.clone() };
        Ok((Self { epoch: epoch.into(), policy, trail, view, groups: Groups::default(), executions }, tasks))
    }

    /// Names this run of the broker.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The readers as `caller` may see them now.
    pub fn readers(&self, caller: &Caller) -> Arc<View> {
        self.sight(caller, &[Operation::See]).look()
    }

    /// The readers as `caller` may follow them, now and at every change.
    pub fn watch(&self, caller: &Caller) -> Sight {
        self.sight(caller, &[Operation::See, Operation::Watch])
    }

    fn sight(&self, caller: &Caller, needed: &'static [Operation]) -> Sight {
        Sight { view: self.view.clone(), policy: self.policy.subscribe(), identity: caller.identity.clone(), needed }
    }

    /// Returns the policy that is in force, now and at every change.
    pub fn policy(&self) -> PolicyInForce {
        self.policy.subscribe()
    }

    /// Puts other rules in force, at once. Sessions that they forbid end.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.send_replace(Arc::new(policy));
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
        asker: Asker<'_>,
        request: UnitRequest,
        give_up: Option<Instant>,
        id: Vec<u8>,
    ) -> Result<(UnitOutcome, bool), Failure> {
        // An outcome outlives its reader, but not the right to ask for it.
        if self.view.borrow().contains_key(asker.reader) {
            self.admit_unit(&asker, &request)?;
        }
        let key = RequestKey { principal: asker.caller.principal(), id };
        let fingerprint = self.executions.fingerprint(asker.reader, &request);
        let submit = || self.submit(asker.clone(), request.clone());
        let brought = self.executions.run(key, &fingerprint, give_up, submit).await?;
        brought.outcome.map(|outcome| (outcome, brought.replayed))
    }

    /// Runs a unit when its turn comes. At `give_up` the answer is what there is then. Dropping the future gives up a unit that has
    /// not begun.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered.
    pub async fn transmit(
        &self,
        asker: Asker<'_>,
        request: UnitRequest,
        give_up: Option<Instant>,
    ) -> Result<UnitOutcome, Failure> {
        let mut submission = self.submit(asker, request)?;
        if let Some(give_up) = give_up {
            tokio::select! {
                biased;
                outcome = submission.outcome() => return outcome,
                () = sleep_until(give_up.into()) => submission.give_up(Instant::now()),
            }
        }
        submission.outcome().await
    }

    /// Asks for a session that is to end with `disposition`. Dropping it gives it up.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such reader, policy denies it, or there is no room to wait.
    pub fn open_session(
        &self,
        asker: Asker<'_>,
        request: SessionRequest,
        disposition: Disposition,
    ) -> Result<Opening, Failure> {
        let leaves = (disposition == Disposition::Leave).then_some(Operation::Leave);
        let (handle, permit) = self.admit(&asker, Operation::Session, &request.turn, leaves)?;
        handle.open_session(permit, asker.group, request, Instant::now())
    }

    fn submit(&self, asker: Asker<'_>, request: UnitRequest) -> Result<Submission, Failure> {
        let (handle, permit) = self.admit_unit(&asker, &request)?;
        handle.submit(permit, asker.group, request, Instant::now())
    }

    fn admit_unit(&self, asker: &Asker<'_>, request: &UnitRequest) -> Result<(ReaderHandle, Permit), Failure> {
        let (handle, permit) = self.admit(asker, Operation::Transmit, &request.turn, None)?;
        permit.check_headers(headers(&request.commands))?;
        Ok((handle, permit))
    }

    /// The reader, if the asker may know of it and do there what he asks for. One that he may not see is to him as one that is not
    /// there.
    fn admit(
        &self,
        asker: &Asker<'_>,
        operation: Operation,
        turn: &TurnRequest,
        leaves: Option<Operation>,
    ) -> Result<(ReaderHandle, Permit), Failure> {
        let resets = turn.reset_first.then_some(Operation::Reset);
        let shares = asker.group.is_shared().then_some(Operation::SharedGroup);
        let also = [resets, shares, leaves].into_iter().flatten().collect();
        let view = self.view.borrow().clone();
        let permit = |reader: &Arc<ReaderView>| {
            let (policy, trail, names) = (self.policy.subscribe(), self.trail.clone(), Arc::clone(&reader.names));
            Permit::new(policy, trail, asker.caller.clone(), names, operation, also)
        };
        let known = view.get(asker.reader).map(|reader| (reader.handle.clone(), permit(reader)));
        let (handle, permit) = known.filter(|(_, permit)| permit.check(Operation::See).is_ok()).ok_or_else(|| {
            let message = "there is no reader of this name: list the readers to see which there are";
            Failure::not_sent(Reason::ReaderNotFound, message)
        })?;
        permit.holds()?;
        Ok((handle, permit))
    }
}

/// The readers as one caller may see them. A value is replaced when something has changed, so that two can be compared by pointer, reader
/// by reader.
pub struct Sight {
    view: watch::Receiver<Arc<View>>,
    policy: PolicyInForce,
    identity: Identity,
    needed: &'static [Operation],
}

impl Sight {
    /// The readers as they are now.
    pub fn look(&mut self) -> Arc<View> {
        let view = self.view.borrow_and_update().clone();
        let policy = self.policy.borrow_and_update().clone();
        if policy.allows_everything(&self.identity) {
            return view;
        }
        let may = |names: &ReaderNames| {
            self.needed.iter().all(|operation| policy.decide(&self.identity, names, *operation).allowed)
        };
        let visible = view.iter().filter(|(_, reader)| may(&reader.names));
        Arc::new(visible.map(|(name, reader)| (name.clone(), Arc::clone(reader))).collect())
    }

    /// Waits until there may be something new to see. Cancel-safe.
    ///
    /// # Errors
    /// The broker has ended.
    pub async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            changed = self.view.changed() => changed,
            changed = self.policy.changed() => changed,
        }
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
