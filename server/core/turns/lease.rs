//! Leases: the right to send to one reader's card, for one unit or one session. The actor grants and ends leases; the
//! card thread checks the lease before **each** APDU. This one comparison keeps two holders apart.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The granting side: one per reader, owned by its actor.
#[derive(Debug, Default)]
pub struct Leases {
    valid_epoch: Arc<AtomicU64>,
}

impl Leases {
    /// Grants the next lease. The previous one ends at this moment.
    pub fn grant(&mut self) -> Lease {
        let epoch = self.valid_epoch.fetch_add(1, Ordering::AcqRel) + 1;
        Lease { epoch, valid_epoch: Arc::clone(&self.valid_epoch) }
    }

    /// Ends the current lease, if any: its holder sends nothing more.
    pub fn end(&mut self) {
        self.valid_epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// The holder's side. Travels with each job to the card thread; clones are the same lease.
#[derive(Debug, Clone)]
pub struct Lease {
    epoch: u64,
    valid_epoch: Arc<AtomicU64>,
}

impl Lease {
    /// Whether the holder may still send.
    pub fn is_valid(&self) -> bool {
        self.valid_epoch.load(Ordering::Acquire) == self.epoch
    }
}

/// Whether a session has running tasks: its holder reports new tasks, the card thread reports finished ones.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    pending: AtomicU32,
    /// Milliseconds from `began` to the end of the last task.
    idle_since: AtomicU64,
}

impl Activity {
    /// Creates the activity of a session that begins now, idle.
    pub fn new(now: Instant) -> Self {
        Self { began: now, pending: AtomicU32::new(0), idle_since: AtomicU64::new(0) }
    }

    /// A task was handed to the card thread.
    pub fn on_task(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// A task has ended at `now`.
    pub fn done(&self, now: Instant) {
        let since = now.saturating_duration_since(self.began).as_millis();
        self.idle_since.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Release);
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    /// Since when no task runs; `None` while one does.
    pub fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.pending.load(Ordering::Acquire) == 0;
        is_idle.then(|| self.began + Duration::from_millis(self.idle_since.load(Ordering::Acquire)))
    }
}

/// When a session must give way to waiters. The limits have no effect while nobody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The beginning of the session.
    pub began: Instant,
    /// The maximum idle time while others wait.
    pub idle_timeout: Duration,
    /// The maximum time with waiters, from the session's first waiter on.
    pub max_contended_lease: Duration,
}

/// The decision of the terms at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The session continues. Check again at this time at the latest, if there is one.
    GoOn(Option<Instant>),
    /// The session idles for too long.
    Idles,
    /// The session has used up its time with waiters.
    TooLong,
}

impl Terms {
    /// Whether the session may continue, given since when others wait and since when it idles.
    pub fn judge(&self, now: Instant, contended: Option<Instant>, idle: Option<Instant>) -> Verdict {
        let Some(contended) = contended else { return Verdict::GoOn(None) };
        let too_long = contended.max(self.began) + self.max_contended_lease;
        let idle_end = idle.map(|idle| idle.max(contended) + self.idle_timeout);
        if too_long <= now {
            return Verdict::TooLong;
        }
        match idle_end {
            Some(end) if end <= now => Verdict::Idles,
            Some(end) => Verdict::GoOn(Some(end.min(too_long))),
            // The session may begin to idle at any moment, without notice.
            None => Verdict::GoOn(Some(too_long.min(now + self.idle_timeout))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_the_latest_lease_is_valid_until_it_ends() {
        let mut leases = Leases::default();
        let first = leases.grant();
        assert!(first.is_valid());
        let second = leases.grant();
        assert!(!first.is_valid() && second.is_valid());
        leases.end();
        assert!(!second.is_valid());
    }

    #[test]
    fn a_session_idles_while_none_of_its_tasks_runs() {
        let now = Instant::now();
        let activity = Activity::new(now);
        assert_eq!(activity.idle_since(), Some(now));
        activity.on_task();
        activity.on_task();
        activity.done(now + SECOND);
        assert_eq!(activity.idle_since(), None);
        activity.done(now + 2 * SECOND);
        assert_eq!(activity.idle_since(), Some(now + 2 * SECOND));
    }

    #[test]
    fn a_session_gives_way_only_to_waiters() {
        let began = Instant::now();
        let terms = Terms { began, idle_timeout: 10 * SECOND, max_contended_lease: 60 * SECOND };
        let at = |seconds| began + seconds * SECOND;
        assert_eq!(terms.judge(at(9999), None, Some(began)), Verdict::GoOn(None));
        assert_eq!(terms.judge(at(5), Some(at(1)), Some(at(2))), Verdict::GoOn(Some(at(12))));
        assert_eq!(terms.judge(at(12), Some(at(1)), Some(at(2))), Verdict::Idles);
        assert_eq!(terms.judge(at(500), Some(at(500)), Some(at(2))), Verdict::GoOn(Some(at(510))), "it idled alone");
        assert_eq!(terms.judge(at(60), Some(at(1)), None), Verdict::GoOn(Some(at(61))));
        assert_eq!(terms.judge(at(61), Some(at(1)), None), Verdict::TooLong);
    }
}
