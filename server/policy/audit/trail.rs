//! Writes records that callers cause into the audit trail, coalesced, so that no caller can flood it.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cardbroker_core::{error::Failure, journal::Origin, policy::rule::Operation};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    SessionRecord, TARGET,
    coalesce::Verdict,
    kinds::{Credential, Denial, Kind, Refusal, Session, Windows},
    record_fields,
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
    /// The number of all denials so far.
    denied: AtomicU64,
    /// All requests without a valid token so far.
    unauthenticated: AtomicU64,
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

    /// The number of denials, and of requests without a valid token, so far.
    pub fn refusals(&self) -> (u64, u64) {
        (self.0.denied.load(Ordering::Relaxed), self.0.unauthenticated.load(Ordering::Relaxed))
    }

    /// Records that the policy has denied an operation. Returns whether it has written the record singly: the first one
    /// of its kind in a window.
    pub fn denied(&self, origin: &Origin, reader: &str, operation: Operation, rule: &Arc<str>) -> bool {
        self.0.denied.fetch_add(1, Ordering::Relaxed);
        let (principal, pid, executable, traceparent) = record_fields(origin);
        let kind = Denial { principal: principal.clone(), reader: reader.into(), operation, rule: Arc::clone(rule) };
        let is_single = self.judge(|windows, now| windows.denials.on_record(kind, now)) == Verdict::Emit;
        if is_single {
            let (operation, rule) = (operation.as_str(), &**rule);
            warn!(
                target: TARGET,
                event = Denial::EVENT, %principal, pid, executable, traceparent, reader, operation, rule
            );
        }
        is_single
    }

    /// Records that an operator has ended a turn, with the operator's words. Never coalesced.
    pub fn released(&self, origin: &Origin, reader: &str, words: &str) {
        let (principal, pid, executable, traceparent) = record_fields(origin);
        warn!(target: TARGET, event = "released", %principal, pid, executable, traceparent, reader, words = ?words);
    }

    /// Records that an operator has changed the log's filter for a time. Never coalesced.
    pub fn log_filter_changed(&self, operator: &Origin, filter: &str, seconds: u64) {
        let (principal, pid, executable, traceparent) = record_fields(operator);
        let event = "log_filter_changed";
        warn!(target: TARGET, event, %principal, pid, executable, traceparent, filter, seconds);
    }

    /// Records that an operator has asked for a reload. Never coalesced.
    pub fn reload_requested(&self, operator: &Origin) {
        let (principal, pid, executable, traceparent) = record_fields(operator);
        warn!(target: TARGET, event = "reload_requested", %principal, pid, executable, traceparent);
    }

    /// Records a TCP request without a valid credential; `source` is its connection.
    pub fn unauthenticated(&self, source: &dyn Display, failure: &Failure) {
        self.0.unauthenticated.fetch_add(1, Ordering::Relaxed);
        let kind = Credential { problem: failure.to_string() };
        if self.judge(|windows, now| windows.credentials.on_record(kind, now)) == Verdict::Emit {
            warn!(target: TARGET, event = Credential::EVENT, %source, problem = %failure);
        }
    }

    /// Records that the PIN guard has refused a command.
    pub fn pin_kept_from_card(&self, origin: &Origin, reader: &str, failure: &Failure) {
        let (principal, pid, executable, traceparent) = record_fields(origin);
        let reason = failure.reason.as_str();
        let kind = Refusal { principal: principal.clone(), reader: reader.into(), reason };
        if self.judge(|windows, now| windows.refusals.on_record(kind, now)) == Verdict::Emit {
            warn!(target: TARGET, event = Refusal::EVENT, %principal, pid, executable, traceparent, reader, reason);
        }
    }

    /// Records that a session began or ended.
    pub fn session(&self, origin: &Origin, reader: &str, record: SessionRecord<'_>) {
        let (principal, pid, executable, traceparent) = record_fields(origin);
        let kind = Session::new(principal.clone(), reader, record);
        if self.judge(|windows, now| windows.sessions.on_record(kind.clone(), now)) == Verdict::Counted {
            return;
        }
        let Session { event, card, reason, cause, .. } = kind;
        match record {
            SessionRecord::EndedByBroker(_) => {
                warn!(target: TARGET, event, %principal, pid, executable, traceparent, reader, reason, cause);
            }
            SessionRecord::HandleConnected | SessionRecord::Began | SessionRecord::Ended { .. } => {
                info!(target: TARGET, event, %principal, pid, executable, traceparent, reader, card);
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

impl Drop for AuditCounts {
    fn drop(&mut self) {
        self.task.abort();
        let counts = self.trail.lock().close(Instant::now().into_std());
        counts.emit();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, sleep};

    use super::*;
    use crate::policy::audit::records::Records;
    use cardbroker_core::{
        caller::{Caller, TokenId},
        error::Reason,
    };

    fn deny(trail: &AuditTrail, times: usize) {
        let caller = Caller::remote(1, TokenId::from("ci"));
        let origin = Origin { caller, group: None, traceparent: None };
        for _ in 0..times {
            trail.denied(&origin, "desk", Operation::Transmit, &"default".into());
        }
    }

    #[test]
    fn records_of_operators_carry_the_trace_context() {
        let records = Records::default();
        let _collecting = records.collect();
        let (trail, caller) = (AuditTrail::default(), Caller::remote(1, TokenId::from("ci")));
        let origin = Origin { caller, group: None, traceparent: Some("00-4b-00-01".into()) };
        trail.released(&origin, "desk", "stuck");
        trail.log_filter_changed(&origin, "debug", 60);
        let who = "principal=token ci traceparent=\"00-4b-00-01\"";
        let released = format!("\"released\" {who} reader=\"desk\" words=\"stuck\"");
        let changed = format!("\"log_filter_changed\" {who} filter=\"debug\" seconds=60");
        assert_eq!(records.take(), [released, changed]);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_emitted_after_each_window_and_on_drop() {
        let records = Records::default();
        let _collecting = records.collect();
        let (trail, counts) = AuditTrail::start();
        sleep(Duration::from_secs(60)).await;
        deny(&trail, 300);
        let first = "\"denied\" principal=token ci reader=\"desk\" operation=\"transmit\" rule=\"default\"";
        assert_eq!(records.take(), [first]);
        sleep(Duration::from_millis(9_990)).await;
        assert_eq!(records.take(), [""; 0]);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(records.take(), [format!("{first} repeated=299 seconds=10")]);

        deny(&trail, 2);
        let failure = Failure::not_sent(Reason::Unauthenticated, "no token");
        (1..4).for_each(|n| trail.unauthenticated(&format!("connection 1 from 127.0.0.{n}:5"), &failure));
        assert_eq!(records.take(), ["\"unauthenticated\" source=connection 1 from 127.0.0.1:5 problem=no token"]);
        advance(Duration::from_secs(4)).await;
        drop(counts);
        let denials = format!("{first} repeated=2 seconds=4");
        assert_eq!(records.take(), [&*denials, "\"unauthenticated\" problem=no token repeated=2 seconds=4"]);

        deny(&trail, 2);
        assert_eq!(records.take(), [first; 2], "records are written singly after the drop");
    }
}
