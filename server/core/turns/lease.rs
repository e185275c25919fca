//! Leases: the right to send to one reader's card, for one unit or one session. The actor grants and ends leases; the
//! card thread checks the lease before **each** APDU. This check keeps two holders apart.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The number of a lease, unique in one run of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseNumber(pub u64);

/// The granting side: one per reader, owned by its actor.
#[derive(Debug, Default)]
pub struct Leases {
    /// The number of the latest lease; one more after its end. Holders have clones.
    latest: Arc<AtomicU64>,
    /// The time from which the holder of the latest lease is requested to stop, if it is. The holder has a clone.
    stop: Arc<Mutex<Option<Instant>>>,
    /// Whether an operator has ended the latest lease. The holder has a clone.
    is_released: Arc<AtomicBool>,
}

impl Leases {
    /// The leases of a reader whose numbers come after `first`, so that they are unique in one run of the broker.
    pub fn after(first: u64) -> Self {
        Self { latest: Arc::new(AtomicU64::new(first)), ..Self::default() }
    }

    /// Grants the next lease. The previous one ends at this moment.
    pub fn grant(&mut self) -> Lease {
        let number = self.latest.fetch_add(1, Ordering::AcqRel) + 1;
        (self.stop, self.is_released) = (Arc::default(), Arc::default());
        Lease {
            number,
            latest: Arc::clone(&self.latest),
            stop: Arc::clone(&self.stop),
            is_released: Arc::clone(&self.is_released),
        }
    }

    /// Records that an operator ends the current lease: its holder sends nothing more.
    pub fn release(&mut self) {
        self.is_released.store(true, Ordering::Release);
    }

    /// Requests that the holder of the current lease stops before its next command, as [`super::bounds::stops`]
    /// permits. Returns the time of the first request.
    pub fn request_stop(&mut self, now: Instant) -> Instant {
        *self.stop().get_or_insert(now)
    }

    /// Withdraws the request to stop. A holder that has stopped already is not affected.
    pub fn withdraw_stop(&mut self) {
        *self.stop() = None;
    }

    /// Whether the holder of the current lease was requested to stop.
    pub fn is_stop_requested(&self) -> bool {
        self.stop().is_some()
    }

    fn stop(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the current lease, if any: its holder sends nothing more.
    pub fn end(&mut self) {
        self.latest.fetch_add(1, Ordering::AcqRel);
    }
}

/// The holder's side. Each job for the card thread carries it; clones are the same lease.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The number of this lease. Never changes.
    number: u64,
    /// The number of the latest lease. The granting side writes it.
    latest: Arc<AtomicU64>,
    /// As in [`Leases`], for this lease alone.
    stop: Arc<Mutex<Option<Instant>>>,
    /// As in [`Leases`], for this lease alone.
    is_released: Arc<AtomicBool>,
}

impl Lease {
    /// The number of the lease, unique in one run of the broker.
    pub fn number(&self) -> LeaseNumber {
        LeaseNumber(self.number)
    }

    /// The time from which the holder is requested to stop, if it is.
    pub fn stop_requested(&self) -> Option<Instant> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an operator has ended the lease.
    pub fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Acquire)
    }

    /// Whether the holder may still send.
    pub fn is_valid(&self) -> bool {
        self.latest.load(Ordering::Acquire) == self.number && !self.is_released()
    }
}

/// Whether a session has running tasks, and how long it may have none: its holder reports new tasks, the card thread
/// reports finished ones.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    pending: AtomicU32,
    /// Milliseconds from `began` to the end of the last task.
    idle_since: AtomicU64,
    /// Whether the last command is a link of a chain, or its answer offers more.
    is_pair_open: AtomicBool,
    /// The terms of the session, as [`packed`].
    terms: AtomicU64,
}

impl Activity {
    /// Creates the activity of a session that begins now, idle.
    pub fn new(now: Instant, terms: Terms) -> Self {
        Self {
            began: now,
            pending: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            is_pair_open: AtomicBool::new(false),
            terms: AtomicU64::new(packed(terms)),
        }
    }

    /// Changes the terms from now on.
    pub fn set_terms(&self, terms: Terms) {
        self.terms.store(packed(terms), Ordering::Release);
    }

    /// The terms of the session now.
    pub fn terms(&self) -> Terms {
        let packed = self.terms.load(Ordering::Acquire);
        let [idle_timeout, notice] = [packed >> 32, packed & u64::from(u32::MAX)].map(Duration::from_millis);
        Terms { idle_timeout, notice }
    }

    /// Records that the card thread was sent a task.
    pub fn on_task(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Records that a task ended at `now`.
    pub fn done(&self, now: Instant) {
        self.idle_since.store(milliseconds(now.saturating_duration_since(self.began)), Ordering::Release);
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    /// Records whether the last command is a link of a chain, or its answer offers more.
    pub fn set_pair_open(&self, is_open: bool) {
        self.is_pair_open.store(is_open, Ordering::Release);
    }

    /// Whether the session's next command completes a chain or an answer.
    pub fn is_pair_open(&self) -> bool {
        self.is_pair_open.load(Ordering::Acquire)
    }

    /// The time from which no task has run; `None` while a task runs.
    pub fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.pending.load(Ordering::Acquire) == 0;
        is_idle.then(|| self.began + Duration::from_millis(self.idle_since.load(Ordering::Acquire)))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The terms in one number, so that they change together: milliseconds, the idle timeout in the upper half. Times are
/// cut to 49 days.
fn packed(terms: Terms) -> u64 {
    let half = |time: Duration| u64::from(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    half(terms.idle_timeout) << 32 | half(terms.notice)
}

/// The terms on which an idle session must give way to waiters. [`super::bounds`] bounds a busy session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The maximum time without a task.
    pub idle_timeout: Duration,
    /// The minimum time for which others have waited before.
    pub notice: Duration,
}

/// The decision of the terms at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The session continues. Check again at this time at the latest, if there is one.
    GoOn(Option<Instant>),
    /// The session has idled for too long.
    Idles,
}

impl Terms {
    /// The terms of a session whose idle time counts only while others wait.
    pub fn while_others_wait(idle_timeout: Duration) -> Self {
        Self { idle_timeout, notice: idle_timeout }
    }

    /// Decides whether the session may continue, given the times from which others have waited and it has idled.
    pub fn judge(&self, now: Instant, contended: Option<Instant>, idle: Option<Instant>) -> Verdict {
        let Some(contended) = contended else { return Verdict::GoOn(None) };
        match idle.map(|idle| (idle + self.idle_timeout).max(contended + self.notice)) {
            Some(end) if end <= now => Verdict::Idles,
            Some(end) => Verdict::GoOn(Some(end)),
            // The session may begin to idle at any moment, without notice.
            None => Verdict::GoOn(Some(now + self.idle_timeout)),
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
        let activity = Activity::new(now, Terms::while_others_wait(SECOND));
        assert_eq!(activity.idle_since(), Some(now));
        activity.on_task();
        activity.on_task();
        activity.done(now + SECOND);
        assert_eq!(activity.idle_since(), None);
        activity.done(now + 2 * SECOND);
        assert_eq!(activity.idle_since(), Some(now + 2 * SECOND));
        assert_eq!(activity.terms(), Terms { idle_timeout: SECOND, notice: SECOND });
        let terms = Terms { idle_timeout: 5 * SECOND, notice: SECOND };
        activity.set_terms(terms);
        assert_eq!(activity.terms(), terms);
    }

    #[test]
    fn a_stop_counts_once_and_not_for_the_next_holder() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        let first = leases.grant();
        assert_eq!(first.stop_requested(), None);
        assert_eq!([leases.request_stop(now), leases.request_stop(now + SECOND)], [now; 2]);
        leases.withdraw_stop();
        assert_eq!((first.stop_requested(), leases.is_stop_requested()), (None, false));
        leases.request_stop(now);
        let second = leases.grant();
        assert_eq!((first.stop_requested(), second.stop_requested()), (Some(now), None));
    }

    #[test]
    fn an_idle_session_gives_way_only_while_others_wait() {
        let began = Instant::now();
        let terms = Terms::while_others_wait(10 * SECOND);
        let at = |seconds| began + seconds * SECOND;
        assert_eq!(terms.judge(at(9999), None, Some(began)), Verdict::GoOn(None));
        assert_eq!(terms.judge(at(5), Some(at(1)), Some(at(2))), Verdict::GoOn(Some(at(12))));
        assert_eq!(terms.judge(at(12), Some(at(1)), Some(at(2))), Verdict::Idles);
        assert_eq!(terms.judge(at(500), Some(at(500)), Some(at(2))), Verdict::GoOn(Some(at(510))), "it idled alone");
        assert_eq!(terms.judge(at(60), Some(at(1)), None), Verdict::GoOn(Some(at(70))), "it is busy");
    }

    #[test]
    fn idle_time_before_others_wait_counts_after_their_notice() {
        let began = Instant::now();
        let terms = Terms { idle_timeout: 10 * SECOND, notice: SECOND };
        let at = |seconds| began + seconds * SECOND;
        assert_eq!(terms.judge(at(9999), None, Some(began)), Verdict::GoOn(None));
        assert_eq!(terms.judge(at(5), Some(at(1)), Some(at(2))), Verdict::GoOn(Some(at(12))));
        assert_eq!(terms.judge(at(500), Some(at(500)), Some(at(2))), Verdict::GoOn(Some(at(501))));
        assert_eq!(terms.judge(at(501), Some(at(500)), Some(at(2))), Verdict::Idles);
        assert_eq!(terms.judge(at(501), Some(at(500)), Some(at(495))), Verdict::GoOn(Some(at(505))));
    }
}
