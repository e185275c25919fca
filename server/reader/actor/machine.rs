//! What the actor knows of its reader and of its card thread: two small machines. Pure: no clock and no channel.
//!
//! ```text
//! ReaderPhase
//!
//!                seen                 stop                 released
//!   Unplugged ─────────▶ Plugged ───────────▶ Draining ─────────────▶ Released
//!      │  ▲  unplugged  │                         ▲                      ▲
//!      │  └─────────────┘                         │   the card thread    │
//!      └──────────────── stop ────────────────────┘   has ended: from any
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
//! because neither matters any more.

/// Whether the reader is there, and how far its end has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ReaderPhase {
    /// The monitor has not seen the reader, or no longer sees it. Requests are refused.
    #[default]
    Unplugged,
    /// The reader is there. Requests wait for their turns.
    Plugged,
    /// The broker stops: requests are refused, and the card is let go when the work under way is done.
    Draining,
    /// The card was let go, or the card thread has ended. Nothing happens any more.
    Released,
}

impl ReaderPhase {
    /// The monitor sees the reader.
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

    /// The broker stops.
    pub(super) fn on_stop(&mut self) {
        if !self.is_ending() {
            *self = Self::Draining;
        }
    }

    /// The card thread has let the card go. Without a stop before, that is an ordinary release: it may be taken again.
    pub(super) fn on_released(&mut self) {
        if *self == Self::Draining {
            *self = Self::Released;
        }
    }

    /// The card thread has ended, and the slot with it.
    pub(super) fn on_thread_ended(&mut self) {
        *self = Self::Released;
    }

    /// Whether no turn is given any more.
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Draining | Self::Released)
    }
}

/// Whether the call of the card stack under way may still return in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// It has returned, or its time is not over.
    OnTime,
    /// It has not returned in time. Its callers were told; the thread is stuck in it until it returns.
    Hanging,
}

/// The card thread as its actor sees it; `W` says what the thread works at.
#[derive(Debug)]
pub(super) enum WorkerState<W> {
    /// It waits for a job.
    Idle,
    /// It has a job, or serves a session.
    Busy {
        /// What it works at.
        work: W,
        /// The call of the card stack that it may be in.
        call: Call,
    },
}

impl<W> WorkerState<W> {
    /// The work under way, if there is any.
    pub(super) fn work(&self) -> Option<&W> {
        match self {
            Self::Idle => None,
            Self::Busy { work, .. } => Some(work),
        }
    }

    /// As [`WorkerState::work`], to be changed in place.
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

    /// New work for a thread that has done all that it was given; its first call is yet to come.
    pub(super) fn begin(&mut self, work: W) {
        *self = Self::Busy { work, call: Call::OnTime };
    }

    /// Other work under the same call: what hangs goes on hanging. No effect on an idle thread.
    pub(super) fn change(&mut self, change: impl FnOnce(W) -> W) {
        if let Self::Busy { work, call } = std::mem::replace(self, Self::Idle) {
            *self = Self::Busy { work: change(work), call };
        }
    }

    /// The work is done. Returns it.
    pub(super) fn take(&mut self) -> Option<W> {
        match std::mem::replace(self, Self::Idle) {
            Self::Idle => None,
            Self::Busy { work, .. } => Some(work),
        }
    }

    /// The call under way has not returned in time. Returns the work if that is news.
    pub(super) fn on_late(&mut self) -> Option<&mut W> {
        match self {
            Self::Busy { work, call: call @ Call::OnTime } => {
                *call = Call::Hanging;
                Some(work)
            }
            _ => None,
        }
    }

    /// The thread has reported: a call that hung has returned.
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
    fn a_reader_moves_along_the_drawing_and_nowhere_else() {
        let events = [SEEN, UNPLUGGED, STOP, RELEASED, THREAD_ENDED];
        for (phase, expected) in [
            (Unplugged, [Plugged, Unplugged, Draining, Unplugged, Released]),
            (Plugged, [Plugged, Unplugged, Draining, Plugged, Released]),
            (Draining, [Draining, Draining, Draining, Released, Released]),
            (Released, [Released; 5]),
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
        assert_eq!([Unplugged, Plugged, Draining, Released].map(ReaderPhase::is_ending), [false, false, true, true]);
    }

    #[test]
    fn a_call_hangs_once_and_until_it_returns() {
        let mut worker = WorkerState::Idle;
        assert_eq!(worker.on_late(), None, "no work, no call");
        worker.begin(1);
        assert!(!worker.hangs());
        assert_eq!(worker.on_late(), Some(&mut 1));
        assert!(worker.hangs());
        assert_eq!(worker.on_late(), None, "no news");
        worker.on_returned();
        assert!(!worker.hangs());
        assert_eq!(worker.work(), Some(&1), "the work goes on");
    }

    #[test]
    fn other_work_under_a_call_that_hangs_hangs_too() {
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
