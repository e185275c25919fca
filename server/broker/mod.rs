//! The broker's interface for requests, independent of gRPC: visible readers, units and sessions.

mod about;
mod admission;
mod diagnosis;
mod reader_watch;
mod resets;
mod resume_token;
mod tasks;
mod trace;
mod turns;
mod visible_readers;

use std::{io, sync::Arc, time::Instant};

use cardbroker_core::{
    apdu::SecretInstructions,
    caller::Caller,
    card::unit::{UnitOutcome, UnitRequest},
    error::Failure,
    journal::ShownRules,
    outcomes::{Outcome, OutcomeLimits, RequestKey},
    pcsclite::chain::{self, Chain},
    policy::{Policy, rule::Operation},
    turns::limits::QueueLimits,
};
use tokio::{sync::watch, time::sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::admission::not_found;
use self::{about::Facts, diagnosis::Snapshots, resume_token::ResumeTokens};
pub use self::{
    about::{About, CallerKind, CallerLimits, SeenCaller},
    diagnosis::{DiagnosedReader, Diagnosis},
    reader_watch::{ReaderWatch, ReadersNews},
    tasks::BrokerTasks,
    trace::Trace,
    turns::{VisibleTurns, WaitingTurn},
    visible_readers::{ReaderList, VisibleReaders},
};
use crate::{
    backend::Backend,
    caller::group::{GroupMark, Groups},
    config::Config,
    journal::Journals,
    outcomes::executions::Executions,
    policy::{access::PolicyInForce, audit::AuditTrail},
    reader::{
        Submission, TurnsMoved,
        session::{Opening, SessionRequest},
    },
    registry::{self, Readers, RegistrySettings},
    trace::TraceHub,
};

/// Maximum bytes of all stored outcomes together; one user has at most a quarter.
const MAX_OUTCOME_BYTES: usize = 64 << 20;

/// The entry point for requests. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    /// The facts about this run, for [`Broker::about`]. Never change.
    facts: Arc<Facts>,
    /// The policy in force. Only [`Broker::set_policy`] writes it; each admission, watch and actor has a receiver.
    policy: watch::Sender<Arc<Policy>>,
    /// The audit trail for denied requests. The server's other parts have clones.
    trail: AuditTrail,
    /// The readers as the registry last published them, and the handles of their actors.
    readers: Readers,
    /// Seals and opens the tokens that continue an earlier watch. The key is new in each run.
    resume_tokens: ResumeTokens,
    /// Wakes the followers of turns. The actors notify it; [`Broker::turns`] hands out receivers.
    turns_moved: TurnsMoved,
    /// The latest snapshots of the readers, for operators.
    snapshots: Arc<Snapshots>,
    /// Passes events of all readers on to the running traces. The journals have clones.
    hub: TraceHub,
    /// The isolation groups that have members. The gRPC edge enters the members.
    groups: Groups,
    /// Runs the units with a `request_id` and keeps their outcomes. [`BrokerTasks`] waits for their end.
    executions: Executions,
    /// The card stack, for [`Broker::chain`]. The registry and the readers use it.
    stack: Arc<dyn Backend>,
}

/// The caller, group and reader of a request.
#[derive(Clone)]
pub struct RequestContext<'a> {
    /// The identified caller of the request.
    pub caller: &'a Caller,
    /// The isolation group of the request.
    pub group: GroupMark,
    /// The name of the reader: `readers/{id}`.
    pub reader: &'a str,
    /// The trace context of the request, see [`cardbroker_core::journal::traceparent`].
    pub traceparent: Option<Arc<str>>,
}

impl Broker {
    /// The epoch of this broker, and those of the brokers that provide its card stack.
    pub fn chain(&self) -> Chain {
        chain::with_own(&self.facts.epoch(), &self.stack.brokers_below())
    }

    /// Starts the broker on `backend` and waits for the first poll of its readers. `epoch` must be unique to this run.
    /// Denials are recorded in `trail`.
    ///
    /// # Errors
    /// The system cannot start a thread or provide random bytes.
    pub async fn start(
        backend: Arc<dyn Backend>,
        config: Config,
        policy: Policy,
        trail: AuditTrail,
        epoch: String,
    ) -> io::Result<(Self, BrokerTasks)> {
        let shutdown = CancellationToken::new();
        let limits = QueueLimits {
            per_caller: config.limits.max_waiting_per_caller,
            per_reader: config.limits.max_waiting_per_reader,
        };
        let outcome_limits = OutcomeLimits {
            per_user: config.limits.max_outcomes_per_user,
            total: 10 * config.limits.max_outcomes_per_user,
            bytes: MAX_OUTCOME_BYTES,
            lifetime: config.limits.outcome_lifetime,
        };
        let turns = config.limits.turns();
        let facts = Arc::new(Facts::new(epoch.clone(), &config.limits));
        let policy = watch::Sender::new(Arc::new(policy));
        let turns_moved = TurnsMoved::default();
        let hub = TraceHub::new(policy.subscribe(), config.log.apdus);
        let secrets = config.log.secret_instructions.iter().map(|instruction| instruction.0);
        let shown = ShownRules::new(SecretInstructions::new(secrets), config.diagnostics.trace_data.clone());
        let recorder = config.diagnostics.recorder;
        let settings = RegistrySettings {
            policy: policy.subscribe(),
            journals: Journals { hub: hub.clone(), recorder, shown: Arc::new(shown) },
            limits,
            turns,
            turns_moved: turns_moved.clone(),
            epoch,
            unfit_entries: Box::new({
                let config = config.clone();
                move |present| config.unfit_entries(present)
            }),
            reader: Box::new(move |name| config.reader(name)),
        };
        let executions = Executions::new(outcome_limits, shutdown.clone())?;
        let actors = TaskTracker::new();
        backend.set_epoch(&facts.epoch());
        let stack = Arc::clone(&backend);
        let (readers, registry) = registry::start(backend, settings, shutdown.clone(), actors.clone()).await?;
        let tasks = BrokerTasks { shutdown, registry: Some(registry), actors, executions: executions.clone() };
        let (groups, resume_tokens) = (Groups::default(), ResumeTokens::new(facts.epoch()));
        let snapshots = Arc::default();
        let broker = Self {
            facts,
            policy,
            trail,
            readers,
            resume_tokens,
            turns_moved,
            hub,
            snapshots,
            groups,
            executions,
            stack,
        };
        Ok((broker, tasks))
    }

    /// Returns the readers that `caller` may see now.
    pub fn readers(&self, caller: &Caller) -> ReaderList {
        self.visible_readers(caller, &[Operation::See]).list()
    }

    /// Follows the readers that `caller` may see.
    pub fn follow_readers(&self, caller: &Caller) -> VisibleReaders {
        self.visible_readers(caller, &[Operation::See])
    }

    /// Whether there is a reader of this name that `caller` may see. Leaves no audit record.
    pub fn shows(&self, caller: &Caller, name: &str) -> bool {
        self.readers(caller).get(name).is_some()
    }

    /// Follows the waiting requests of `caller`, at the named reader or at all visible ones.
    pub fn turns(&self, caller: &Caller, reader: Option<&str>) -> VisibleTurns {
        let visible = self.visible_readers(caller, &[Operation::See]);
        VisibleTurns::new(visible, self.readers.routes.clone(), self.turns_moved.follow(), caller.clone(), reader)
    }

    /// Watches the readers that `caller` may see. Continues an earlier watch if its `resume_token` is given and still
    /// valid.
    pub fn watch(&self, caller: &Caller, resume_token: &str) -> ReaderWatch {
        let visible = self.visible_readers(caller, &[Operation::See, Operation::Watch]);
        ReaderWatch::new(visible, self.resume_tokens.clone(), resume_token)
    }

    fn visible_readers(&self, caller: &Caller, needed: &'static [Operation]) -> VisibleReaders {
        VisibleReaders::new(self.readers.view.clone(), self.policy.subscribe(), caller.identity.clone(), needed)
    }

    /// Returns the policy in force, now and after every change.
    pub fn policy(&self) -> PolicyInForce {
        self.policy.subscribe()
    }

    /// Replaces the policy in force, at once. Sessions that the new rules forbid end.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.send_modify(|current| {
            let revision = current.revision() + 1;
            *current = Arc::new(policy.with_revision(revision).in_force_since(Instant::now()));
        });
    }

    /// Returns the isolation groups that have members.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Runs a unit at most once under the id `key`: a repeat joins it or gets its outcome, see
    /// [`cardbroker_core::outcomes`]. Otherwise like [`Broker::transmit`]. Returns the outcome, which is a failure if
    /// no command was answered, and whether it is that of an earlier request.
    ///
    /// # Errors
    /// A [`Failure`] if the unit was not run.
    pub async fn transmit_once(
        &self,
        context: RequestContext<'_>,
        request: UnitRequest,
        give_up: Option<Instant>,
        id: Vec<u8>,
    ) -> Result<(Arc<Outcome>, bool), Failure> {
        // An outcome survives its reader, but not the caller's permission.
        if self.readers.view.borrow().get(context.reader).is_some() {
            self.admit_unit(&context, &request)?;
        }
        let key = RequestKey::new(context.caller, id);
        let fingerprint = self.executions.fingerprint(context.reader, &request);
        let submit = || self.submit(context.clone(), request.clone());
        let joined = self.executions.run(key, &fingerprint, &request.turn, give_up, submit).await?;
        Ok((joined.outcome, joined.replayed))
    }

    /// Runs a unit when its turn comes. At `give_up` it returns what is known by then. Dropping the future cancels a
    /// unit that has not begun.
    ///
    /// # Errors
    /// A [`Failure`] if no command was answered.
    pub async fn transmit(
        &self,
        context: RequestContext<'_>,
        request: UnitRequest,
        give_up: Option<Instant>,
    ) -> Result<UnitOutcome, Failure> {
        let mut submission = self.submit(context, request)?;
        if let Some(give_up) = give_up {
            tokio::select! {
                biased;
                outcome = submission.outcome() => return outcome,
                () = sleep_until(give_up.into()) => submission.give_up(Instant::now()),
            }
        }
        submission.outcome().await
    }

    /// Requests a session. Dropping the result cancels the request.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such reader, policy denies it, or the queue is full.
    pub fn open_session(&self, context: RequestContext<'_>, request: SessionRequest) -> Result<Opening, Failure> {
        let (handle, access) = self.admit_session(&context, &request)?;
        handle.open_session(access, context.group, request, Instant::now())
    }

    /// Checks whether policy allows a session, without a request for it.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such reader, or policy denies it.
    pub fn check_session(&self, context: &RequestContext<'_>, request: &SessionRequest) -> Result<(), Failure> {
        self.admit_session(context, request).map(drop)
    }

    fn submit(&self, context: RequestContext<'_>, request: UnitRequest) -> Result<Submission, Failure> {
        let (handle, access) = self.admit_unit(&context, &request)?;
        handle.submit(access, context.group, request, Instant::now())
    }
}
