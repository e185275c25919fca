//! Writes records that callers cause into the audit trail, coalesced, so that no caller can flood it.

use std::{
    fmt::Display,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cardbroker_core::{
    caller::{Caller, Principal},
    error::{Cause, Failure},
    policy::rule::Operation,
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    SessionRecord, TARGET,
    coalesce::{Coalescer, Count, Verdict},
    who,
};

/// The audit trail of one server. Clones share their counts, which [`AuditCounts`] emits.
#[derive(Debug, Clone, Default)]
pub struct AuditTrail(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Locked for short moments only, never while a record is written.
    windows: Mutex<Windows>,
    /// Notified when the first window opens.
    opened: Notify,
}

/// The records of one kind about commands and sessions that are written singly, before they are counted. Programs that
/// behave have fewer in the time of a window.
const SINGLES: u64 = 30;

/// Each event has its own windows, so that callers without a credential cannot use up the windows of denials.
#[derive(Debug)]
struct Windows {
    denials: Coalescer<Denial>,
    credentials: Coalescer<Credential>,
    refusals: Coalescer<Refusal>,
    sessions: Coalescer<Session>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            denials: Coalescer::default(),
            credentials: Coalescer::default(),
            refusals: Coalescer::with_singles(SINGLES),
            sessions: Coalescer::with_singles(SINGLES),
        }
    }
}

/// The counts of the windows that have ended.
struct Counts {
    denials: Vec<Count<Denial>>,
    credentials: Vec<Count<Credential>>,
    refusals: Vec<Count<Refusal>>,
    sessions: Vec<Count<Session>>,
}

/// The kind of a denial: denials with equal fields are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Denial {
    principal: Principal,
    /// The id of the reader.
    reader: String,
    operation: Operation,
    /// The name of the rule that denied it.
    rule: Arc<str>,
}

/// The kind of a refused credential. It does not contain the client's address: on loopback a client can choose among 16
/// million addresses and could use up all windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Credential {
    problem: String,
}

/// The kind of a command that the PIN guard has refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Refusal {
    principal: Principal,
    /// The id of the reader.
    reader: String,
    reason: &'static str,
}

/// The kind of an event of a session: its name, and how it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Session {
    event: &'static str,
    principal: Principal,
    /// The id of the reader.
    reader: String,
    /// The state of the card, after a normal end.
    card: Option<&'static str>,
    /// The reason and the cause of the broker.
    reason: Option<&'static str>,
    cause: Option<&'static str>,
}

/// A kind of records that the trail counts.
trait Kind {
    /// The value of the field `event`.
    const EVENT: &'static str;

    /// Writes the record of a count of `repeated` records in `seconds`.
    fn emit(&self, repeated: u64, seconds: u64);
}

/// The task that emits the counts. Owned by the server. Dropping it ends the task and emits all open counts; later
/// records are emitted singly.
#[derive(Debug)]
pub struct AuditCounts {
    trail: AuditTrail,
    task: JoinHandle<()>,
}

impl AuditTrail {
    /// Starts a trail and the task that emits its counts. Requires a tokio runtime.
    pub fn start() -> (Self, AuditCounts) {
        let trail = Self::default();
        let task = tokio::spawn(trail.clone().emit_counts());
        (trail.clone(), AuditCounts { trail, task })
    }

    /// Records that the policy has denied an operation.
    pub fn denied(&self, caller: &Caller, reader: &str, operation: Operation, rule: &Arc<str>) {
        let (principal, pid, executable) = who(caller);
        let kind = Denial { principal: principal.clone(), reader: reader.into(), operation, rule: Arc::clone(rule) };
        if self.judge(|windows, now| windows.denials.on_record(kind, now)) == Verdict::Emit {
            let (operation, rule) = (operation.as_str(), &**rule);
            warn!(target: TARGET, event = Denial::EVENT, %principal, pid, executable, reader, operation, rule);
        }
    }

    /// Records a TCP request without a valid credential; `source` is its connection.
    pub fn unauthenticated(&self, source: &dyn Display, failure: &Failure) {
        let kind = Credential { problem: failure.to_string() };
        if self.judge(|windows, now| windows.credentials.on_record(kind, now)) == Verdict::Emit {
            warn!(target: TARGET, event = Credential::EVENT, %source, problem = %failure);
        }
    }

    /// Records that the PIN guard has refused a command.
    pub fn pin_kept_from_card(&self, caller: &Caller, reader: &str, failure: &Failure) {
        let (principal, pid, executable) = who(caller);
        let reason = failure.reason.as_str();
        let kind = Refusal { principal: principal.clone(), reader: reader.into(), reason };
        if self.judge(|windows, now| windows.refusals.on_record(kind, now)) == Verdict::Emit {
            warn!(target: TARGET, event = Refusal::EVENT, %principal, pid, executable, reader, reason);
        }
    }

    /// Records that a session began or ended.
    pub fn session(&self, caller: &Caller, reader: &str, record: SessionRecord<'_>) {
        let (principal, pid, executable) = who(caller);
        let kind = Session::new(principal.clone(), reader, record);
        if self.judge(|windows, now| windows.sessions.on_record(kind.clone(), now)) == Verdict::Counted {
            return;
        }
        let Session { event, card, reason, cause, .. } = kind;
        match record {
            SessionRecord::EndedByBroker(_) => {
                warn!(target: TARGET, event, %principal, pid, executable, reader, reason, cause);
            }
            SessionRecord::Began | SessionRecord::Ended { .. } => {
                info!(target: TARGET, event, %principal, pid, executable, reader, card);
            }
        }
    }

    /// Records that a connection on TCP is closed because its requests had no valid token.
    pub fn distrusted(&self, source: &dyn Display) {
        let kind =
            Credential { problem: "the connection is closed after too many requests without a valid token".into() };
        let problem = kind.problem.clone();
        if self.judge(|windows, now| windows.credentials.on_record(kind, now)) == Verdict::Emit {
            warn!(target: TARGET, event = Credential::EVENT, %source, problem);
        }
    }

    fn judge(&self, judge: impl FnOnce(&mut Windows, std::time::Instant) -> Verdict) -> Verdict {
        let mut windows = self.lock();
        let was_idle = windows.next_end().is_none();
        let verdict = judge(&mut windows, Instant::now().into_std());
        drop(windows);
        if was_idle {
            self.0.opened.notify_one();
        }
        verdict
    }

    /// Emits the counts at the end of their windows; sleeps while no window is open.
    async fn emit_counts(self) {
        loop {
            let next = self.lock().next_end();
            match next {
                Some(end) => sleep_until(end.into()).await,
                None => self.0.opened.notified().await,
            }
            let ended = self.lock().end_windows(Instant::now().into_std());
            ended.emit();
        }
    }

    /// Ignores poisoning: every change is a single call, so a panic elsewhere leaves the windows consistent.
    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    fn next_end(&self) -> Option<std::time::Instant> {
        let ends =
            [self.denials.next_end(), self.credentials.next_end(), self.refusals.next_end(), self.sessions.next_end()];
        ends.into_iter().flatten().min()
    }

    /// Ends the windows that are due.
    fn end_windows(&mut self, now: std::time::Instant) -> Counts {
        Counts {
            denials: self.denials.end_windows(now),
            credentials: self.credentials.end_windows(now),
            refusals: self.refusals.end_windows(now),
            sessions: self.sessions.end_windows(now),
        }
    }

    /// Ends all windows for good.
    fn close(&mut self, now: std::time::Instant) -> Counts {
        Counts {
            denials: self.denials.close(now),
            credentials: self.credentials.close(now),
            refusals: self.refusals.close(now),
            sessions: self.sessions.close(now),
        }
    }
}

impl Counts {
    fn emit(&self) {
        self.denials.iter().for_each(emit);
        self.credentials.iter().for_each(emit);
        self.refusals.iter().for_each(emit);
        self.sessions.iter().for_each(emit);
    }
}

fn emit<K: Kind>(count: &Count<K>) {
    let (repeated, seconds) = (count.repeated, seconds(count.time));
    match &count.kind {
        Some(kind) => kind.emit(repeated, seconds),
        None => {
            warn!(target: TARGET, event = K::EVENT, repeated, seconds, "records of further kinds, counted together")
        }
    }
}

impl Kind for Denial {
    const EVENT: &'static str = "denied";

    fn emit(&self, repeated: u64, seconds: u64) {
        let Self { principal, reader, operation, rule } = self;
        let (reader, operation, rule) = (&**reader, operation.as_str(), &**rule);
        warn!(target: TARGET, event = Self::EVENT, %principal, reader, operation, rule, repeated, seconds);
    }
}

impl Kind for Credential {
    const EVENT: &'static str = "unauthenticated";

    fn emit(&self, repeated: u64, seconds: u64) {
        warn!(target: TARGET, event = Self::EVENT, problem = %self.problem, repeated, seconds);
    }
}

impl Kind for Refusal {
    const EVENT: &'static str = "refused";

    fn emit(&self, repeated: u64, seconds: u64) {
        let Self { principal, reader, reason } = self;
        warn!(target: TARGET, event = Self::EVENT, %principal, reader = &**reader, reason, repeated, seconds);
    }
}

impl Session {
    fn new(principal: Principal, reader: &str, record: SessionRecord<'_>) -> Self {
        let (event, card, failure) = match record {
            SessionRecord::Began => ("session_began", None, None),
            SessionRecord::Ended { left } => ("session_ended", Some(if left { "left" } else { "reset" }), None),
            SessionRecord::EndedByBroker(failure) => ("session_ended_by_broker", None, Some(failure)),
        };
        let (reason, cause) = (failure.map(|failure| failure.reason.as_str()), failure.and_then(Failure::cause));
        Self { event, principal, reader: reader.into(), card, reason, cause: cause.map(Cause::as_str) }
    }
}

impl Kind for Session {
    const EVENT: &'static str = "session";

    fn emit(&self, repeated: u64, seconds: u64) {
        let Self { event, principal, reader, card, reason, cause } = self;
        info!(target: TARGET, event, %principal, reader = &**reader, card, reason, cause, repeated, seconds);
    }
}

/// Rounds to whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs().max(1)
}

impl Drop for AuditCounts {
    fn drop(&mut self) {
        self.task.abort();
        let counts = self.trail.lock().close(Instant::now().into_std());
        counts.emit();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::time::{advance, sleep};
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use cardbroker_core::{caller::TokenId, error::Reason};

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Text {
        /// Collects the records of this thread from now on.
        fn collect(&self) -> DefaultGuard {
            let text = self.clone();
            let builder = tracing_subscriber::fmt().with_writer(move || text.clone()).with_ansi(false).without_time();
            tracing::subscriber::set_default(builder.finish())
        }

        /// Returns the records since the last call, each from its field `event` on.
        fn take(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
            text.lines().map(|line| line.split_once("event=").unwrap().1.to_owned()).collect()
        }
    }

    fn deny(trail: &AuditTrail, times: usize) {
        let caller = Caller::remote(1, TokenId::from("ci"));
        (0..times).for_each(|_| trail.denied(&caller, "desk", Operation::Transmit, &"default".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_emitted_after_each_window_and_on_drop() {
        let text = Text::default();
        let _collecting = text.collect();
        let (trail, counts) = AuditTrail::start();
        sleep(Duration::from_secs(60)).await;
        deny(&trail, 300);
        let first = "\"denied\" principal=token ci reader=\"desk\" operation=\"transmit\" rule=\"default\"";
        assert_eq!(text.take(), [first]);
        sleep(Duration::from_millis(9_990)).await;
        assert_eq!(text.take(), [""; 0]);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(text.take(), [format!("{first} repeated=299 seconds=10")]);

        deny(&trail, 2);
        let failure = Failure::not_sent(Reason::Unauthenticated, "no token");
        (1..4).for_each(|n| trail.unauthenticated(&format!("connection 1 from 127.0.0.{n}:5"), &failure));
        assert_eq!(text.take(), ["\"unauthenticated\" source=connection 1 from 127.0.0.1:5 problem=no token"]);
        advance(Duration::from_secs(4)).await;
        drop(counts);
        let denials = format!("{first} repeated=2 seconds=4");
        assert_eq!(text.take(), [&*denials, "\"unauthenticated\" problem=no token repeated=2 seconds=4"]);

        deny(&trail, 2);
        assert_eq!(text.take(), [first; 2], "records are written singly after the drop");
    }
}
