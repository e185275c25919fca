//! The actor's state of its reader and of its card thread: two small state machines without clock and channel.
//!
//! ```text
//! ReaderPhase
//!
//!                seen                 stop                 released
//!   Unplugged ─────────▶ Plugged ───────────▶ Draining ─────────────▶ Released
//!      │  ▲  unplugged  │                         ▲                      ▲
//!      │  └─────────────┘                         │                      │
//!      └──────────────── stop ────────────────────┘                      │
//!                                                                        │
//!   the card thread has ended: Draining ─────────────────────────────────┘
//!                              Unplugged, Plugged ──▶ Failed
//!
//! WorkerState
//!
//!           begin                    late
//!   Idle ─────────▶ Busy, OnTime ─────────▶ Busy, Hanging
//!    ▲                  │  ▲                   │  │
//!    │                  │  └──── returned ─────┘  │
//!    └────── take ──────┴─────────────────────────┘
//!   change: other work under the same call, in either of the busy states
//! ```
//!
//! A thread that has no work is in no call, so it cannot hang; a reader that drains is neither plugged nor unplugged,
//! because neither makes a difference any more.

/// Whether the reader is plugged in, and the progress of its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ReaderPhase {
    /// The monitor has not seen the reader yet, or no longer sees it. Requests are refused.
    #[default]
    Unplugged,
    /// The reader is plugged in. Requests wait for their turns.
    Plugged,
    /// The broker stops: requests are refused, and the card is released after the current work.
    Draining,
    /// The card was released, or the card thread has ended. This phase is final.
    Released,
    /// The card thread has ended although the broker runs. Requests are refused, and nothing happens any more.
    Failed,
}

impl ReaderPhase {
    /// The monitor has seen the reader.
    pub(super) fn on_seen(&mut self) {
        if *self == Self::Unplugged {
            *self = Self::Plugged;
        }
    }

    /// The monitor no longer sees the reader.
    pub(super) fn on_unplugged(&mut self) {
        if *self == Self::Plugged {
            *self = Self::Unplugged;
        }
    }

    /// The broker stops: no further turn begins.
    pub(super) fn on_stop(&mut self) {
        if !self.is_ending() {
            *self = Self::Draining;
        }
    }

    /// The card thread has released the card. Without a stop before, that is an ordinary release: the card may be taken
    /// again.
    pub(super) fn on_released(&mut self) {
        if *self == Self::Draining {
            *self = Self::Released;
        }
    }

    /// The card thread has ended, and its slot with it.
    pub(super) fn on_thread_ended(&mut self) {
        *self = match self {
            Self::Unplugged | Self::Plugged | Self::Failed => Self::Failed,
            Self::Draining | Self::Released => Self::Released,
        };
    }

    /// Whether no further turn begins.
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Draining | Self::Released | Self::Failed)
    }

    /// Whether nothing happens any more.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Released | Self::Failed)
    }
}

/// Whether the current call of the card stack may still return in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The call has returned, or its time is not over.
    OnTime,
    /// The call has not returned in time. Its callers were answered; the thread is stuck in the call until it returns.
    Hanging,
}

/// The card thread as its actor sees it; `W` is the current work.
#[derive(Debug)]
pub(super) enum WorkerState<W> {
    /// It waits for a job.
    Idle,
    /// The thread has a job, or serves a session.
    Busy {
        work: W,
        /// The call of the card stack in which the thread may be.
        call: Call,
    },
}

impl<W> WorkerState<W> {
    /// The current work, if there is any.
    pub(super) fn work(&self) -> Option<&W> {
        match self {
            Self::Idle => None,
            Self::Busy { work, .. } => Some(work),
        }
    }

    pub(super) fn work_mut(&mut self) -> Option<&mut W> {
        match self {
            Self::Idle => None,
            Self::Busy { work, .. } => Some(work),
        }
    }

    /// Whether the thread waits for a job.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// Whether the thread is stuck in a call.
    pub(super) fn hangs(&self) -> bool {
        matches!(self, Self::Busy { call: Call::Hanging, .. })
    }

    /// Begins new work of an idle thread; its first call is still to come.
    pub(super) fn begin(&mut self, work: W) {
        *self = Self::Busy { work, call: Call::OnTime };
    }

    /// Replaces the work under the same call: a hanging call stays hanging. No effect on an idle thread.
    pub(super) fn change(&mut self, change: impl FnOnce(W) -> W) {
        if let Self::Busy { work, call } = std::mem::replace(self, Self::Idle) {
            *self = Self::Busy { work: change(work), call };
        }
    }

    /// The work is done: removes and returns it.
    pub(super) fn take(&mut self) -> Option<W> {
        match std::mem::replace(self, Self::Idle) {
            Self::Idle => None,
            Self::Busy { work, .. } => Some(work),
        }
    }

    /// The current call has not returned in time. Returns the work if that was not known before.
    pub(super) fn on_late(&mut self) -> Option<&mut W> {
        match self {
            Self::Busy { work, call: call @ Call::OnTime } => {
                *call = Call::Hanging;
                Some(work)
            }
            _ => None,
        }
    }

    /// The thread has reported: a hanging call has returned.
    pub(super) fn on_returned(&mut self) {
        if let Self::Busy { call, .. } = self {
            *call = Call::OnTime;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ReaderPhase::*, *};

    type Event = fn(&mut ReaderPhase);

    const SEEN: Event = ReaderPhase::on_seen;
    const UNPLUGGED: Event = ReaderPhase::on_unplugged;
    const STOP: Event = ReaderPhase::on_stop;
    const RELEASED: Event = ReaderPhase::on_released;
    const THREAD_ENDED: Event = ReaderPhase::on_thread_ended;

    #[test]
    fn a_reader_makes_only_the_drawn_transitions() {
        let events = [SEEN, UNPLUGGED, STOP, RELEASED, THREAD_ENDED];
        for (phase, expected) in [
            (Unplugged, [Plugged, Unplugged, Draining, Unplugged, Failed]),
            (Plugged, [Plugged, Unplugged, Draining, Plugged, Failed]),
            (Draining, [Draining, Draining, Draining, Released, Released]),
            (Released, [Released; 5]),
            (Failed, [Failed; 5]),
        ] {
            let after = events.map(|event| {
                let mut next = phase;
                event(&mut next);
                next
            });
            assert_eq!(after, expected, "from {phase:?}");
        }
    }

    #[test]
    fn turns_end_with_the_stop() {
        let phases = [Unplugged, Plugged, Draining, Released, Failed];
        assert_eq!(phases.map(ReaderPhase::is_ending), [false, false, true, true, true]);
    }

    #[test]
    fn a_call_hangs_once_until_it_returns() {
        let mut worker = WorkerState::Idle;
        assert_eq!(worker.on_late(), None, "no work means no call");
        worker.begin(1);
        assert!(!worker.hangs());
        assert_eq!(worker.on_late(), Some(&mut 1));
        assert!(worker.hangs());
        assert_eq!(worker.on_late(), None, "it hangs already");
        worker.on_returned();
        assert!(!worker.hangs());
        assert_eq!(worker.work(), Some(&1), "the work continues");
    }

    #[test]
    fn replaced_work_under_a_hanging_call_hangs() {
        let mut worker = WorkerState::Idle;
        worker.begin(1);
        worker.on_late();
        worker.change(|work| work + 1);
        assert!(worker.hangs());
        assert_eq!(worker.take(), Some(2));
        assert!(worker.is_idle() && !worker.hangs());
    }

    #[test]
    fn new_work_begins_on_time() {
        let mut worker = WorkerState::Idle;
        worker.begin(1);
        worker.on_late();
        worker.take();
        worker.begin(2);
        assert!(!worker.hangs());
    }

    #[test]
    fn an_idle_thread_has_nothing_to_change() {
        let mut worker: WorkerState<u8> = WorkerState::Idle;
        worker.change(|work| work + 1);
        worker.on_returned();
        assert!(worker.is_idle());
        assert_eq!(worker.work_mut(), None);
        assert_eq!(worker.take(), None);
    }
}
