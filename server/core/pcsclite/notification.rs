//! The one message to a client that waits for a change of the readers: a machine of four states.
//!
//! A client registers (WAIT), and later stops waiting (STOP). It reads exactly one message in between: the signal of a
//! change, or the answer to STOP. Two messages, or none, would put its stream out of step for good.
//!
//! ```text
//!             WAIT, 4:4 and 4:5               change: signal
//!   Idle ──────────────────────▶ Registered ────────────────▶ Idle
//!    │                            ▲    │       STOP: answer
//!    │ WAIT, 4:6            array │    └────────────────────▶ Idle
//!    └──────────────▶ Reading ────┘
//!                        │ change
//!                        ▼         array: signal
//!                     Delayed ─────────────────────────────▶ Idle
//! ```
//!
//! A client of version 4:6 reads the array of readers by requests of its own after WAIT. A signal in front of their
//! answers would be taken for one of them, so it is delayed until the array was sent.

/// Whether a client waits for a change, and which message it gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Notification {
    /// The client does not wait now.
    #[default]
    Idle,
    /// The client waits, and has not read the array yet.
    Reading,
    /// As [`Notification::Reading`], and something has changed or was cancelled since.
    Delayed(Signal),
    /// The client waits for a change.
    Registered,
}

/// The reason to wake a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Something about a reader has changed.
    Changed,
    /// Another connection of the process has cancelled the wait.
    Cancelled,
}

/// A message of 8 bytes for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The client's wait ends early.
    Signal(Signal),
    /// The answer to the client's STOP.
    Stopped,
}

impl Notification {
    /// The client sends WAIT. `reads_array`: it reads the array afterwards by other requests (4:6).
    pub fn on_wait(&mut self, reads_array: bool) {
        *self = match (*self, reads_array) {
            (Self::Delayed(signal), true) => Self::Delayed(signal),
            (_, true) => Self::Reading,
            (_, false) => Self::Registered,
        };
    }

    /// The array was sent to the client.
    #[must_use]
    pub fn on_array_sent(&mut self) -> Option<Message> {
        match *self {
            Self::Reading => {
                *self = Self::Registered;
                None
            }
            Self::Delayed(signal) => {
                *self = Self::Idle;
                Some(Message::Signal(signal))
            }
            Self::Idle | Self::Registered => None,
        }
    }

    /// A reader has changed, or the wait is cancelled.
    #[must_use]
    pub fn on_signal(&mut self, signal: Signal) -> Option<Message> {
        match *self {
            Self::Registered => {
                *self = Self::Idle;
                Some(Message::Signal(signal))
            }
            Self::Reading => {
                *self = Self::Delayed(signal);
                None
            }
            Self::Delayed(_) if signal == Signal::Cancelled => {
                *self = Self::Delayed(signal);
                None
            }
            Self::Idle | Self::Delayed(_) => None,
        }
    }

    /// The client sends STOP. No message answers it if the signal was sent: the client takes the signal for the answer.
    #[must_use]
    pub fn on_stop(&mut self) -> Option<Message> {
        (std::mem::take(self) != Self::Idle).then_some(Message::Stopped)
    }

    /// Whether a change matters to the client.
    pub fn is_waiting(self) -> bool {
        self != Self::Idle
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};

    use super::*;
    use crate::properties::{holds, is_broken};

    /// A step of the history of one client. A client sends its requests in the order of the protocol, whatever happens
    /// around them.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Client,
        Changed,
        Cancelled,
    }

    fn steps() -> impl Strategy<Value = (bool, Vec<Step>)> {
        let step = prop_oneof![Just(Step::Client), Just(Step::Changed), Just(Step::Cancelled)];
        (any::<bool>(), vec(step, 0..60))
    }

    /// Plays a client that reads exactly one message per registration. `plant` may change each message on its way.
    fn play(reads_array: bool, steps: &[Step], plant: impl Fn(Option<Message>) -> Option<Message>) -> TestCaseResult {
        // The client's place in the protocol: 0 before WAIT, 1 before ARRAY, 2 before STOP.
        let (mut machine, mut place, mut unread, mut expects_answer) = (Notification::default(), 0, 0_u32, false);
        for step in steps {
            let message = match step {
                Step::Client if place == 0 => {
                    machine.on_wait(reads_array);
                    place = if reads_array { 1 } else { 2 };
                    None
                }
                Step::Client if place == 1 => {
                    place = 2;
                    machine.on_array_sent()
                }
                Step::Client => {
                    expects_answer = true;
                    machine.on_stop()
                }
                Step::Changed => machine.on_signal(Signal::Changed),
                Step::Cancelled => machine.on_signal(Signal::Cancelled),
            };
            let message = plant(message);
            prop_assert!(message.is_none() || place == 2, "no message before the array");
            unread += u32::from(message.is_some());
            if expects_answer {
                prop_assert_eq!(unread, 1, "exactly one message");
                (place, unread, expects_answer) = (0, 0, false);
                prop_assert_eq!(machine, Notification::Idle);
            }
            prop_assert!(unread <= 1, "never two messages");
        }
        Ok(())
    }

    #[test]
    fn a_waiting_client_gets_exactly_one_message() {
        holds(2000, steps(), |(reads_array, steps)| play(reads_array, &steps, |message| message));
    }

    #[test]
    fn a_lost_message_is_found() {
        let lose = |message: Option<Message>| message.filter(|message| *message != Message::Stopped);
        let played = |(reads_array, steps): (bool, Vec<Step>)| play(reads_array, &steps, lose);
        is_broken(2000, steps(), played, "no answer to STOP", "exactly one message");
    }

    #[test]
    fn a_change_while_the_array_is_read_comes_after_it() {
        let mut machine = Notification::default();
        machine.on_wait(true);
        assert_eq!(machine.on_signal(Signal::Changed), None);
        assert_eq!(machine.on_signal(Signal::Cancelled), None);
        assert_eq!(machine.on_array_sent(), Some(Message::Signal(Signal::Cancelled)));
        assert_eq!((machine.on_stop(), machine.is_waiting()), (None, false));
    }
}
