//! Denials and refused credentials on their way into the audit trail: coalesced, so that no caller can flood it.

use std::{
    fmt::Display,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{
    TARGET,
    coalesce::{Coalescer, Count, Verdict},
    who,
};
use crate::{
    caller::{Caller, Principal},
    config::Operation,
    error::Failure,
};

/// The trail of one server. Clones share their counts, which [`AuditCounts`] tells.
#[derive(Debug, Clone, Default)]
pub struct AuditTrail(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held for moments only, never while a record is written.
    windows: Mutex<Windows>,
    /// Told when a window opens and none was open.
    opened: Notify,
}

/// Of each event its own, so that callers without a credential cannot use up the room of the others' denials.
#[derive(Debug, Default)]
struct Windows {
    denials: Coalescer<Denial>,
    refusals: Coalescer<Refusal>,
}

/// Denials of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Denial {
    principal: Principal,
    /// The reader's id.
    reader: String,
    operation: Operation,
    /// The name of the rule.
    rule: Arc<str>,
}

/// Refused credentials of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Refusal {
    client: IpAddr,
    problem: String,
}

/// The task that tells the counts. Owned by the server; dropping it ends the task and tells all counts that are open.
#[derive(Debug)]
pub struct AuditCounts {
    trail: AuditTrail,
    task: JoinHandle<()>,
}

impl AuditTrail {
    /// A trail, and what tells its counts. Call it inside a runtime.
    pub fn start() -> (Self, AuditCounts) {
        let trail = Self::default();
        let task = tokio::spawn(trail.clone().tell_counts());
        (trail.clone(), AuditCounts { trail, task })
    }

    /// Policy has denied something.
    pub fn denied(&self, caller: &Caller, reader: &str, operation: Operation, rule: &Arc<str>) {
        let (principal, pid, executable) = who(caller);
        let kind = Denial { principal: principal.clone(), reader: reader.into(), operation, rule: Arc::clone(rule) };
        if self.judge(|windows, now| windows.denials.on_record(kind, now)) == Verdict::Tell {
            let (operation, rule) = (operation.as_str(), &**rule);
            warn!(target: TARGET, event = "denied", %principal, pid, executable, reader, operation, rule);
        }
    }

    /// A request on TCP from `client` has shown no valid credential; `source` says more of where it comes from.
    pub fn unauthenticated(&self, client: IpAddr, source: &dyn Display, failure: &Failure) {
        let kind = Refusal { client, problem: failure.to_string() };
        if self.judge(|windows, now| windows.refusals.on_record(kind, now)) == Verdict::Tell {
            warn!(target: TARGET, event = "unauthenticated", %source, problem = %failure);
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

    /// Tells counts as their windows end; sleeps while none is open.
    async fn tell_counts(self) {
        loop {
            let next = self.lock().next_end();
            match next {
                Some(end) => sleep_until(end.into()).await,
                None => self.0.opened.notified().await,
            }
            self.tell(Coalescer::ended, Coalescer::ended);
        }
    }

    fn tell(
        &self,
        denials: impl FnOnce(&mut Coalescer<Denial>, std::time::Instant) -> Vec<Count<Denial>>,
        refusals: impl FnOnce(&mut Coalescer<Refusal>, std::time::Instant) -> Vec<Count<Refusal>>,
    ) {
        let mut windows = self.lock();
        let now = Instant::now().into_std();
        let (denials, refusals) = (denials(&mut windows.denials, now), refusals(&mut windows.refusals, now));
        drop(windows);
        denials.iter().for_each(tell_denials);
        refusals.iter().for_each(tell_refusals);
    }

    /// Every change is a single call, so a panic elsewhere leaves the windows whole.
    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    fn next_end(&self) -> Option<std::time::Instant> {
        [self.denials.next_end(), self.refusals.next_end()].into_iter().flatten().min()
    }
}

fn tell_denials(count: &Count<Denial>) {
    let (repeated, seconds) = (count.repeated, seconds(count.time));
    let Some(Denial { principal, reader, operation, rule }) = &count.kind else {
        warn!(target: TARGET, event = "denied", repeated, seconds, "further kinds, counted together");
        return;
    };
    let (reader, operation, rule) = (&**reader, operation.as_str(), &**rule);
    warn!(target: TARGET, event = "denied", %principal, reader, operation, rule, repeated, seconds);
}

fn tell_refusals(count: &Count<Refusal>) {
    let (repeated, seconds) = (count.repeated, seconds(count.time));
    let Some(Refusal { client, problem }) = &count.kind else {
        warn!(target: TARGET, event = "unauthenticated", repeated, seconds, "further kinds, counted together");
        return;
    };
    warn!(target: TARGET, event = "unauthenticated", %client, %problem, repeated, seconds);
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs().max(1)
}

impl Drop for AuditCounts {
    fn drop(&mut self) {
        self.task.abort();
        self.trail.tell(Coalescer::end, Coalescer::end);
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::time::{advance, sleep};
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::{caller::TokenId, error::Reason};

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
        /// Takes the records of this thread from now on.
        fn collect(&self) -> DefaultGuard {
            let text = self.clone();
            let builder = tracing_subscriber::fmt().with_writer(move || text.clone()).with_ansi(false).without_time();
            tracing::subscriber::set_default(builder.finish())
        }

        /// The records since the last time, from their event on.
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
    async fn counts_are_told_when_their_window_ends_and_at_the_end() {
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
        (0..3).for_each(|_| trail.unauthenticated([127, 0, 0, 1].into(), &"connection 1 from 127.0.0.1:5", &failure));
        assert_eq!(text.take(), ["\"unauthenticated\" source=connection 1 from 127.0.0.1:5 problem=no token"]);
        advance(Duration::from_secs(4)).await;
        drop(counts);
        let told = text.take();
        assert_eq!(told[0], format!("{first} repeated=2 seconds=4"));
        assert_eq!(told[1], "\"unauthenticated\" client=127.0.0.1 problem=no token repeated=2 seconds=4");
    }
}
