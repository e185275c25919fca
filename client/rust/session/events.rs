//! Reports about a session between its answers: how many wait for the card, and the session's end.

use tokio::sync::watch;

use crate::Error;

/// A report about a session; from [`SessionEvents::next`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The number of callers that wait for the card has changed.
    Waiters(u32),
    /// The session has ended, for example because it was revoked; nothing that begins now is sent.
    Ended(Error),
}

/// The reports about a session; made by [`Session::events`](crate::Session::events). Independent of the session's
/// handle: another task may hold it.
#[derive(Debug, Clone)]
pub struct SessionEvents {
    progress: watch::Receiver<Progress>,
    known_waiters: u32,
    is_over: bool,
}

impl SessionEvents {
    /// Returns the next report, or `None` after the session's end. A slow program gets the latest number of waiters,
    /// not every one. Waits without limit; cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        loop {
            if self.is_over {
                return None;
            }
            let Progress { waiters, ended } = self.progress.borrow_and_update().clone();
            if let Some(error) = ended {
                self.is_over = true;
                return Some(SessionEvent::Ended(error));
            }
            if waiters != self.known_waiters {
                self.known_waiters = waiters;
                return Some(SessionEvent::Waiters(waiters));
            }
            self.is_over = self.progress.changed().await.is_err();
        }
    }
}

/// The session's state as last reported by the broker.
#[derive(Debug, Clone, Default)]
struct Progress {
    waiters: u32,
    ended: Option<Error>,
}

/// The session's state for all callers. Made by the session, which reads it; the task writes.
#[derive(Debug, Default)]
pub(super) struct SessionStatus {
    progress: watch::Sender<Progress>,
}

impl SessionStatus {
    pub(super) fn waiters(&self) -> u32 {
        self.progress.borrow().waiters
    }

    pub(super) fn ended(&self) -> Option<Error> {
        self.progress.borrow().ended.clone()
    }

    pub(super) fn events(&self) -> SessionEvents {
        SessionEvents { progress: self.progress.subscribe(), known_waiters: 0, is_over: false }
    }

    pub(super) fn set_waiters(&self, waiters: u32) {
        self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.waiters, waiters) != waiters);
    }

    /// Called before the task ends, after which no order is taken.
    pub(super) fn end(&self, error: Error) {
        self.progress.send_modify(|progress| progress.ended = Some(error));
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[tokio::test]
    async fn waiters_are_reported_by_change_and_the_end_once() {
        let status = SessionStatus::default();
        let mut events = status.events();
        status.set_waiters(1);
        status.set_waiters(2);
        assert!(matches!(events.next().await, Some(SessionEvent::Waiters(2))), "the latest number counts");
        status.set_waiters(0);
        assert!(matches!(events.next().await, Some(SessionEvent::Waiters(0))));
        status.end(Error::of_status(&Status::aborted("others wait")));
        assert!(matches!(events.next().await, Some(SessionEvent::Ended(_))));
        assert!(events.next().await.is_none() && !status.ended().unwrap().is_permanent());
    }
}
