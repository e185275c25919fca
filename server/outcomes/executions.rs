//! Units that run at most once: each with a task of its own, so that an outcome is recorded whatever becomes of those who asked for it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use cardbroker_core::{
    card::unit::UnitRequest,
    error::{Delivery, Failure, Reason},
    keyed_hash::HashKey,
    outcomes::{Begin, Fingerprint, Outcome, OutcomeLimits, Outcomes, RequestKey},
    slot::ResetKind,
    turns::turn::{Disposition, TurnRequest},
};
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    process::random::hash_key,
    reader::{Submission, ticket::Ticket},
};

/// How long a unit that is given up may take to say whether it has begun.
const LAST_WORD: Duration = Duration::from_millis(10);
/// How often a request starts over that met one which was just given up.
const MAX_STARTS: usize = 3;

/// Runs units under the ids of their requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Executions {
    outcomes: Arc<Mutex<Outcomes<UnderWay>>>,
    /// For fingerprints.
    key: HashKey,
    lifetime: Duration,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A unit that is under way, for those who join it.
#[derive(Clone)]
struct UnderWay {
    outcome: watch::Receiver<Option<Arc<Outcome>>>,
    /// Set before anyone can join.
    ticket: Arc<OnceLock<Weak<Ticket>>>,
    /// Held by all who await the outcome; when the last one has gone, a unit that still waits is given up.
    awaiters: Weak<DropGuard>,
}

impl UnderWay {
    /// Lets a repeat join that waits on these terms.
    fn join(&self, terms: &TurnRequest) -> Result<(), Failure> {
        // Without a ticket it has ended.
        self.ticket.get().and_then(Weak::upgrade).map_or(Ok(()), |ticket| ticket.join(terms))
    }
}

/// What came of a request, and whether it is the kept outcome of an earlier one.
pub(crate) struct JoinedOutcome {
    pub(crate) outcome: Outcome,
    pub(crate) replayed: bool,
}

impl Executions {
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(limits: OutcomeLimits, shutdown: CancellationToken) -> io::Result<Self> {
        let executions = Self {
            outcomes: Arc::new(Mutex::new(Outcomes::new(limits))),
            key: hash_key()?,
            lifetime: limits.lifetime,
            tasks: TaskTracker::new(),
            shutdown,
        };
        executions.tasks.spawn(executions.clone().forget_in_time());
        Ok(executions)
    }

    /// Ends when the last unit has, after the shutdown.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs a unit, joins one like it, or hands out what one has brought. At `give_up` the answer is what can be said then.
    /// The conditions of `terms` bind a unit that is joined while it waits.
    ///
    /// # Errors
    /// The id was used otherwise, there is no room, or what `submit` says.
    pub(crate) async fn run(
        &self,
        key: RequestKey,
        fingerprint: &Fingerprint,
        terms: &TurnRequest,
        give_up: Option<Instant>,
        submit: impl Fn() -> Result<Submission, Failure>,
    ) -> Result<JoinedOutcome, Failure> {
        for _ in 0..MAX_STARTS {
            let (under_way, awaiter, replayed) = match self.begin(&key, fingerprint, terms, &submit)? {
                Begun::Done(outcome) => return Ok(JoinedOutcome { outcome: Outcome::clone(&outcome), replayed: true }),
                Begun::UnderWay(under_way, awaiter, replayed) => (under_way, awaiter, replayed),
            };
            let outcome = await_outcome(under_way, awaiter, give_up).await;
            if !matches!(&outcome, Err(failure) if is_withdrawn(failure)) {
                return Ok(JoinedOutcome { outcome, replayed });
            }
        }
        Err(withdrawn())
    }

    fn begin(
        &self,
        key: &RequestKey,
        fingerprint: &Fingerprint,
        terms: &TurnRequest,
        submit: impl Fn() -> Result<Submission, Failure>,
    ) -> Result<Begun, Failure> {
        let mut outcomes = self.lock();
        let (outcome, outcome_seen) = watch::channel(None);
        let nobody_waits = CancellationToken::new();
        let awaiter = Arc::new(nobody_waits.clone().drop_guard());
        let awaiters = Arc::downgrade(&awaiter);
        let under_way = UnderWay { outcome: outcome_seen, ticket: Arc::default(), awaiters };
        match outcomes.begin(key, fingerprint, Instant::now(), || under_way.clone())? {
            Begin::Replay(outcome) => Ok(Begun::Done(outcome)),
            Begin::Join(under_way) => {
                under_way.join(terms)?;
                let awaiter = under_way.awaiters.upgrade();
                Ok(Begun::UnderWay(under_way, awaiter, true))
            }
            Begin::Run => match submit() {
                Ok(submission) => {
                    // The lock is still held.
                    let _ = under_way.ticket.set(submission.ticket());
                    self.tasks.spawn(self.clone().execute(key.clone(), submission, nobody_waits, outcome));
                    Ok(Begun::UnderWay(under_way, Some(awaiter), false))
                }
                Err(failure) => {
                    outcomes.finish(key, Arc::new(Err(failure.clone())), Instant::now());
                    Err(failure)
                }
            },
        }
    }

    /// The task of one unit.
    async fn execute(
        self,
        key: RequestKey,
        mut submission: Submission,
        nobody_waits: CancellationToken,
        told: watch::Sender<Option<Arc<Outcome>>>,
    ) {
        let outcome = tokio::select! {
            biased;
            outcome = submission.outcome() => outcome,
            () = nobody_waits.cancelled() => {
                submission.withdraw(withdrawn());
                submission.outcome().await
            }
        };
        let is_unknown = match &outcome {
            Ok(outcome) => outcome.stopped.as_ref().is_some_and(|stop| stop.failure.delivery == Delivery::Unknown),
            Err(failure) => failure.delivery == Delivery::Unknown,
        };
        let outcome = Arc::new(outcome);
        self.lock().finish(&key, Arc::clone(&outcome), Instant::now());
        told.send_replace(Some(outcome));
        if is_unknown {
            // A call that hangs may return yet, and then there is something to know.
            tokio::select! {
                late = timeout(self.lifetime, submission.late_outcome()) => {
                    if let Ok(Some(known)) = late {
                        self.lock().finish(&key, Arc::new(known), Instant::now());
                    }
                }
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Wipes outcomes whose time is over even if nobody asks any more.
    async fn forget_in_time(self) {
        loop {
            let next = self.lock().next_expiry().unwrap_or_else(|| Instant::now() + self.lifetime);
            tokio::select! {
                () = sleep_until(next.into()) => self.lock().expire(Instant::now()),
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// What a unit for `reader` looks like from outside.
    pub(crate) fn fingerprint(&self, reader: &str, request: &UnitRequest) -> Fingerprint {
        let mut hasher = self.key.hasher();
        hasher.part(reader.as_bytes());
        let reset_before = request.turn.reset_before.map_or(0, |kind| match kind {
            ResetKind::Warm => 1,
            ResetKind::Cold => 2,
        });
        let disposition = match request.disposition {
            Disposition::Leave => 0,
            Disposition::Reset => 1,
            Disposition::Unpower => 2,
        };
        hasher.part(&[reset_before, disposition]);
        for command in &request.commands {
            hasher.part(command.bytes());
            let chosen = |byte: Option<u8>| [u8::from(byte.is_some()), byte.unwrap_or_default()];
            let switches = [command.is_raw(), command.allow_last_try].map(u8::from);
            let continues = [command.continue_class(), command.continue_instruction].map(chosen);
            hasher.part(&[&switches[..], continues.as_flattened(), &[command.stop_rule as u8]].concat());
            let patterns =
                command.continue_on.iter().map(|pattern| [pattern.value, pattern.mask].map(u16::to_be_bytes));
            hasher.part(patterns.collect::<Vec<_>>().as_flattened().as_flattened());
        }
        hasher.finish()
    }

    /// The store changes by single calls, so a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Outcomes<UnderWay>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Begun {
    Done(Arc<Outcome>),
    UnderWay(UnderWay, Option<Arc<DropGuard>>, bool),
}

async fn await_outcome(mut under_way: UnderWay, awaiter: Option<Arc<DropGuard>>, give_up: Option<Instant>) -> Outcome {
    let never = Instant::now() + Duration::from_secs(1 << 30);
    tokio::select! {
        biased;
        outcome = wait_outcome(&mut under_way.outcome) => return outcome,
        () = sleep_until(give_up.unwrap_or(never).into()) => {}
    }
    drop(awaiter);
    match timeout(LAST_WORD, wait_outcome(&mut under_way.outcome)).await {
        Ok(Err(failure)) if is_withdrawn(&failure) => {
            let late = "the turn did not come before the call's deadline: retry with a later one";
            Err(Failure::not_sent(Reason::QueueTimeout, late))
        }
        Ok(outcome) => outcome,
        Err(_) => {
            let late = "the call's deadline is near and the unit goes on: repeat with the same request_id";
            Err(Failure::unknown(Reason::DeadlineNear, late))
        }
    }
}

async fn wait_outcome(outcome: &mut watch::Receiver<Option<Arc<Outcome>>>) -> Outcome {
    let told = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    told.map_or_else(
        || Err(Failure::unknown(Reason::Internal, "the unit's task has ended: report this")),
        |outcome| Outcome::clone(&outcome),
    )
}

const WITHDRAWN: &str = "everyone who asked for this unit has gone: ask again";

fn withdrawn() -> Failure {
    Failure::not_sent(Reason::LeaseEnded, WITHDRAWN)
}

fn is_withdrawn(failure: &Failure) -> bool {
    *failure == withdrawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardbroker_core::{
        apdu::{CommandApdu, StatusPattern, StopRule},
        card::unit::UnitCommand,
        turns::turn::{CardRequirement, TurnRequest},
    };

    #[tokio::test]
    async fn whatever_changes_what_a_unit_does_changes_its_fingerprint() {
        let limits = OutcomeLimits { per_user: 1, total: 1, bytes: 1, lifetime: Duration::from_secs(1) };
        let executions = Executions::new(limits, CancellationToken::new()).unwrap();
        let bytes = [0x00, 0xA4, 0x00, 0x00];
        let plain = || UnitCommand::from(CommandApdu::parse(bytes).unwrap());
        let with = |change: fn(&mut UnitCommand, StatusPattern)| {
            let mut command = plain();
            change(&mut command, StatusPattern { value: 0x00A4, mask: 0x0000 });
            vec![command]
        };
        let units = [
            vec![],
            vec![plain()],
            vec![plain(), plain()],
            vec![UnitCommand::raw(bytes).unwrap()],
            vec![plain().continue_in(0x00).unwrap()],
            vec![plain().continue_in(0x04).unwrap()],
            with(|command, _| command.continue_instruction = Some(0xC0)),
            with(|command, _| command.allow_last_try = true),
            with(|command, _| command.stop_rule = StopRule::Sim),
            with(|command, _| command.stop_rule = StopRule::Any),
            with(|command, _| command.stop_rule = StopRule::Only9000),
            with(|command, pattern| command.continue_on = vec![pattern]),
            with(|command, pattern| command.continue_on = vec![pattern; 2]),
        ];
        let turn = |reset_before| TurnRequest {
            reset_before,
            if_insertion_id: None,
            if_state_tag: None,
            wait_timeout: Duration::ZERO,
            card: CardRequirement::Required,
        };
        let request = |commands| UnitRequest { commands, turn: turn(None), disposition: Disposition::Leave };
        let requests: Vec<_> = units.into_iter().map(request).collect();
        let mut fingerprints: Vec<_> = requests.iter().map(|unit| executions.fingerprint("a", unit)).collect();
        fingerprints.push(executions.fingerprint("b", &requests[1]));
        for kind in [ResetKind::Warm, ResetKind::Cold] {
            fingerprints
                .push(executions.fingerprint("a", &UnitRequest { turn: turn(Some(kind)), ..requests[1].clone() }));
        }
        for disposition in [Disposition::Reset, Disposition::Unpower] {
            fingerprints.push(executions.fingerprint("a", &UnitRequest { disposition, ..requests[1].clone() }));
        }
        for (number, one) in fingerprints.iter().enumerate() {
            assert_eq!(fingerprints.iter().filter(|other| *other == one).count(), 1, "{number}");
        }
        assert_eq!(executions.fingerprint("a", &requests[1].clone()), fingerprints[1]);
    }
}
