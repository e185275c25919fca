//! Units of commands: what goes to a card together, and how long it may take.

use std::time::Duration;

use cardbroker_proto::v1::{CardStart, TransmitRequest};
use prost::Message;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Client, Command, Delivery, Error, Transmitted,
    command::{check_length, to_wire},
    repeat::{fresh_id, is_lost, pauses},
};

pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// What the card may take in all when the user names no deadline: above the broker's exchange timeout of 120 s.
pub(crate) const CARD_TIME: Duration = Duration::from_secs(150);

/// The longest deadline; the contract allows waits of 24 h.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(48 * 3600);

/// A unit in the making; see [`Client::transmit`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Transmit {
    client: Client,
    request: TransmitRequest,
    commands: Vec<Command>,
    wait_timeout: Option<Duration>,
    deadline: Option<Duration>,
    repeatable: bool,
}

impl Transmit {
    pub(crate) fn new(client: Client, reader: String) -> Self {
        let request = TransmitRequest { reader, ..TransmitRequest::default() };
        Self { client, request, commands: Vec::new(), wait_timeout: None, deadline: None, repeatable: false }
    }

    /// Adds a command; 1–64 in all.
    pub fn command(mut self, command: impl Into<Command>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Adds commands, in order.
    pub fn commands<C: Into<Command>>(mut self, commands: impl IntoIterator<Item = C>) -> Self {
        self.commands.extend(commands.into_iter().map(Into::into));
        self
    }

    /// How long to wait for the turn, at most 24 h. Default: 30 s; zero means now or never. Shortened where `deadline`
    /// asks for it.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = Some(timeout);
        self
    }

    /// When to give up on the whole call, from now, at most 48 h. Default: the wait and 150 s for the card. A unit that
    /// has begun then goes on without this program and its fate is unknown; the waiting ends a little earlier, so that
    /// "not sent" can still be told.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits, as long as `wait_timeout`, for a usable card instead of failing without one.
    pub fn wait_for_card(mut self) -> Self {
        self.request.wait_for_card = true;
        self
    }

    /// Sends the commands exactly as given and hands back every answer as it comes: no GET RESPONSE, no correction of
    /// Le.
    pub fn raw(mut self) -> Self {
        self.request.raw = true;
        self
    }

    /// Resets the card (warm) before the first command.
    pub fn start_reset(mut self) -> Self {
        self.request.set_start(CardStart::Reset);
        self
    }

    /// Fails, not sent, unless the card is still in this insertion
    /// ([`Reader::insertion_id`](crate::Reader::insertion_id)).
    pub fn if_insertion_id(mut self, id: impl Into<String>) -> Self {
        self.request.if_insertion_id = id.into();
        self
    }

    /// Fails, not sent, if anybody used or reset the card since ([`Transmitted::state_tag`]).
    pub fn if_state_tag(mut self, tag: impl Into<String>) -> Self {
        self.request.if_state_tag = tag.into();
        self
    }

    /// Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first.
    pub fn request_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.request.request_id = id.into();
        self
    }

    /// Repeats the unit by itself if the connection is lost before the outcome is known: at most 3 times, within the
    /// deadline, and under one `request_id` (a fresh random one if none was given), so that the broker executes it once
    /// and tells the first outcome again.
    ///
    /// A broker that was itself restarted in between has forgotten the first outcome. With
    /// [`if_insertion_id`](Transmit::if_insertion_id) it refuses the repeat; without, it may execute the unit again.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Runs the unit.
    ///
    /// Dropping the future takes the request out of the queue if it still waits there; a unit that has begun runs to
    /// its end.
    ///
    /// # Errors
    /// [`Error::Stopped`] if some commands were answered but not all; [`Error::Failed`] and [`Error::NotRunning`] if
    /// none was.
    pub async fn send(self) -> Result<Transmitted, Error> {
        let Self { client, mut request, commands, wait_timeout, deadline, repeatable } = self;
        let (deadline, wait) = times(wait_timeout, deadline);
        request.commands = to_wire(commands)?;
        request.wait_timeout = prost_types::Duration::try_from(wait).ok();
        if !repeatable {
            return attempt(&client, request, deadline).await;
        }

        if request.request_id.is_empty() {
            request.request_id = fresh_id()?;
        }
        let end = Instant::now() + deadline;
        let first = match attempt(&client, request.clone(), deadline).await {
            Err(error) if is_lost(&error) => error,
            outcome => return outcome,
        };
        for pause in pauses() {
            sleep(pause).await;
            let (deadline, wait) = times(Some(wait), Some(end.saturating_duration_since(Instant::now())));
            if deadline.is_zero() {
                break;
            }
            request.wait_timeout = prost_types::Duration::try_from(wait).ok();
            match attempt(&client, request.clone(), deadline).await {
                Err(error) if is_lost(&error) || matches!(error, Error::NotRunning { .. }) => {}
                // An outcome, whatever became of the command at which the unit has stopped.
                Err(error @ Error::Stopped { .. }) => return Err(error),
                // True of this attempt, but the first one may have reached the card.
                Err(error) if error.delivery() == Delivery::NotSent => break,
                outcome => return outcome,
            }
        }
        Err(first)
    }
}

async fn attempt(client: &Client, request: TransmitRequest, deadline: Duration) -> Result<Transmitted, Error> {
    check_length(request.encoded_len())?;
    let mut call = client.request(request);
    call.set_timeout(deadline);
    let mut stub = client.stub();
    // tonic's own timer stops at the response's headers.
    match timeout(deadline, stub.transmit(call)).await {
        Ok(Ok(response)) => Transmitted::or_stopped(response.into_inner()),
        Ok(Err(status)) => Err(Error::of_commands(client.endpoint(), &status)),
        Err(_) => Err(Error::deadline_passed()),
    }
}

/// Which deadline the call gets, and how long the request may wait for its turn below it.
fn times(wait: Option<Duration>, deadline: Option<Duration>) -> (Duration, Duration) {
    let wait = wait.unwrap_or(DEFAULT_WAIT).min(MAX_DEADLINE);
    // A wait of many minutes needs more than CARD_TIME behind it to keep its full length below the deadline.
    let deadline = deadline.unwrap_or_else(|| wait + CARD_TIME.max(wait / 8)).min(MAX_DEADLINE);
    // Room for "not sent" to come back before the client's library ends the call by itself.
    let margin = Duration::from_millis(50).max(deadline / 10);
    (deadline, wait.min(deadline.saturating_sub(margin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn the_wait_ends_before_the_deadline_by_a_tenth_but_at_least_50_ms() {
        assert_eq!(times(seconds(30), seconds(10)), (Duration::from_secs(10), Duration::from_secs(9)));
        let short = Duration::from_millis(100);
        assert_eq!(times(None, Some(short)), (short, Duration::from_millis(50)));
        assert_eq!(times(None, Some(Duration::from_millis(20))).1, Duration::ZERO);
    }

    #[test]
    fn without_a_deadline_a_wait_keeps_its_length_and_the_card_gets_its_time() {
        assert_eq!(times(None, None), (Duration::from_secs(180), Duration::from_secs(30)));
        for wait in [0, 30, 600, 24 * 3600] {
            let (deadline, shortened) = times(seconds(wait), None);
            assert_eq!(Some(shortened), seconds(wait));
            assert!(deadline >= shortened + CARD_TIME);
        }
    }

    #[test]
    fn absurd_times_are_cut_to_what_the_wire_can_carry() {
        assert_eq!(times(Some(Duration::MAX), Some(Duration::MAX)).0, MAX_DEADLINE);
    }
}
