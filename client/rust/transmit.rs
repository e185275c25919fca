//! Units of commands: their terms, and how long a call may take.

use std::{fmt, task::Context, time::Duration};

use cardbroker_proto::v1::{TransmitRequest, card_broker_service_client::CardBrokerServiceClient};
use prost::Message;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Status, body::Body};
use tower::ServiceExt;

use crate::{
    Client, Command, Delivery, Disposition, Error, ReaderName, Transmitted,
    body::Guarded,
    command::{check_length, to_wire},
    repeat::{ConnectRetry, fresh_id, is_lost, pauses},
    turn::{CARD_TIME, DEFAULT_WAIT, MAX_DEADLINE, Terms, turn_options},
};

/// A unit before it is sent; see [`Client::transmit`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Transmit {
    client: Client,
    reader: ReaderName,
    commands: Vec<Command>,
    terms: Terms,
    request_id: RequestId,
    disposition: Disposition,
    deadline: Option<Duration>,
    repeatable: bool,
    any_card: bool,
}

/// The id of a unit, by which anybody of the same user gets its answers: never printed.
#[derive(Clone)]
struct RequestId(Vec<u8>);

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

impl Transmit {
    pub(crate) fn new(client: Client, reader: ReaderName) -> Self {
        Self {
            client,
            reader,
            commands: Vec::new(),
            terms: Terms::default(),
            request_id: RequestId(Vec::new()),
            disposition: Disposition::Unspecified,
            deadline: None,
            repeatable: false,
            any_card: false,
        }
    }

    /// Adds a command; a unit has 1–64 in all.
    pub fn command(mut self, command: impl Into<Command>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Adds several commands, in order.
    pub fn commands<C: Into<Command>>(mut self, commands: impl IntoIterator<Item = C>) -> Self {
        self.commands.extend(commands.into_iter().map(Into::into));
        self
    }

    turn_options!();

    /// Sets the deadline of the whole call, counted from the beginning of `send`, at most 48 h. It includes a look-up
    /// of the reader's name, the wait for a broker, and repeats. Default: the wait and 150 s for the card. At the
    /// deadline, a unit that has begun goes on without this program and its delivery is unknown. The wait for the turn
    /// is shortened to end a little earlier, so that "not sent" can still be reported.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets what happens to the card after the last command that runs. Default: it is left as it is. Others need the
    /// permission `reset`.
    pub fn disposition(mut self, disposition: Disposition) -> Self {
        self.disposition = disposition;
        self
    }

    /// Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first.
    pub fn request_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.request_id = RequestId(id.into());
        self
    }

    /// Repeats the unit automatically if the connection is lost before the outcome is known: at most 3 times, within
    /// the deadline, and within half of the time for which the broker keeps outcomes
    /// ([`BrokerLimits::outcome_lifetime`](crate::BrokerLimits::outcome_lifetime)). All have one `request_id` (a fresh
    /// random one if none was given), so that the broker executes the unit once and returns its outcome to the repeats.
    ///
    /// The unit then runs on one insertion only: the one given with [`if_insertion_id`](Transmit::if_insertion_id), or
    /// else the one that the reader has when `send` begins. A broker that was restarted in between, and has lost the
    /// first outcome, therefore refuses the repeat. A unit that is sent to an empty reader is not repeated.
    /// [`on_any_card`](Transmit::on_any_card) lifts this.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Lets a unit that is [`repeatable`](Transmit::repeatable) run on any insertion. A broker that was restarted in
    /// between may then execute it again.
    pub fn on_any_card(mut self) -> Self {
        self.any_card = true;
        self
    }

    /// Runs the unit. While there is no broker, retries for up to
    /// [`connect_timeout`](crate::ConnectOptions::connect_timeout).
    ///
    /// Dropping the future takes a waiting request out of the queue; a unit that has begun runs to its end.
    ///
    /// # Errors
    /// [`Error::Stopped`] if some commands were answered but not all; [`Error::Invalid`], [`Error::Failed`] and
    /// [`Error::NotRunning`] if none was.
    pub async fn send(mut self) -> Result<Transmitted, Error> {
        let began = Instant::now();
        let deadline = self.deadline.unwrap_or_else(|| default_deadline(self.terms.wait())).min(MAX_DEADLINE);
        let end = began + deadline;
        let commands = to_wire(std::mem::take(&mut self.commands))?;
        let prepared = timeout_at(end, self.prepare()).await;
        let (reader, repeat_window) = prepared.map_err(|_| Error::deadline_passed().not_sent())??;
        let request = TransmitRequest {
            reader,
            commands,
            turn: None,
            request_id: self.request_id.0,
            disposition: self.disposition.into(),
        };
        check_length(request.encoded_len())?;
        // Queries before the unit have taken part of the time; less than a millisecond does not count.
        let left = deadline.saturating_sub(Duration::from_millis(began.elapsed().as_millis() as u64));
        if left.is_zero() {
            return Err(Error::deadline_passed().not_sent());
        }
        let unit = Unit { client: self.client, request, terms: self.terms, end };
        let first_send = Instant::now();
        match (unit.attempt(left, None).await, repeat_window) {
            (Err(error), Some(window)) if is_lost(&error) && error.delivery() == Delivery::Unknown => {
                unit.repeat(first_send + window, error).await
            }
            (outcome, _) => outcome,
        }
    }

    /// Makes the queries that the unit needs first. Returns the reader's name, and how long after the first attempt the
    /// unit may be repeated, if at all.
    async fn prepare(&mut self) -> Result<(String, Option<Duration>), Error> {
        let reader = self.reader.clone().resolve(&self.client).await?;
        if !self.repeatable {
            return Ok((reader, None));
        }
        if self.request_id.0.is_empty() {
            self.request_id = RequestId(fresh_id()?);
        }
        if !self.any_card && self.terms.if_insertion_id.is_empty() {
            self.terms.if_insertion_id = self.client.reader(reader.clone()).await?.insertion_id;
            // Without a card there is no insertion to require.
            if self.terms.if_insertion_id.is_empty() {
                return Ok((reader, None));
            }
        }
        // A later repeat might reach a broker that has dropped the outcome, and run twice.
        let window = self.client.broker().await?.limits.outcome_lifetime / 2;
        Ok((reader, Some(window.min(MAX_DEADLINE))))
    }
}

/// A unit as it goes to the broker, perhaps more than once.
struct Unit {
    client: Client,
    request: TransmitRequest,
    terms: Terms,
    /// The end of the whole call.
    end: Instant,
}

impl Unit {
    /// Sends the unit once, and not after `latest`; retries only if there was no broker at the endpoint.
    async fn attempt(&self, mut left: Duration, latest: Option<Instant>) -> Result<Transmitted, Error> {
        let sendable = latest.map_or(left, |latest| left.min(latest.saturating_duration_since(Instant::now())));
        let retry = ConnectRetry::of(self.client.connect_timeout().min(sendable));
        loop {
            match self.send(left, latest).await {
                Err(error) if retry.pause(&error).await => left = self.left(),
                outcome => return outcome,
            }
        }
    }

    async fn send(&self, deadline: Duration, latest: Option<Instant>) -> Result<Transmitted, Error> {
        let mut request = self.request.clone();
        request.turn = Terms { wait: wait_below(deadline, self.terms.wait), ..self.terms.clone() }.to_wire();
        let mut call = self.client.request(request)?;
        call.set_timeout(deadline);
        let in_time = move |request: http::Request<Body>| Guarded::request(request, punctual(latest));
        let mut stub = CardBrokerServiceClient::new(self.client.route().map_request(in_time));
        // tonic's own timer stops at the response's headers.
        match timeout(deadline, stub.transmit(call)).await {
            Ok(Ok(response)) => Transmitted::or_stopped(response.into_inner()),
            Ok(Err(status)) => Err(Error::of_commands(self.client.endpoint(), &status)),
            Err(_) => Err(Error::deadline_passed()),
        }
    }

    /// Repeats after a lost connection, until `latest`; `first` is the error of the first attempt.
    async fn repeat(&self, latest: Instant, first: Error) -> Result<Transmitted, Error> {
        for pause in pauses() {
            if Instant::now() + pause >= latest.min(self.end) {
                break;
            }
            sleep(pause).await;
            match self.attempt(self.left(), Some(latest)).await {
                Err(error) if is_lost(&error) || matches!(error, Error::NotRunning { .. }) => {}
                // An outcome, even if the unit stopped.
                Err(error @ Error::Stopped { .. }) => return Err(error),
                // True of this attempt, but the first one may have reached the card.
                Err(error) if error.delivery() == Delivery::NotSent => break,
                outcome => return outcome,
            }
        }
        Err(first)
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// The guard of a request's body that fails if it is not sent until `latest`, for example after a long wait for a
/// connection.
fn punctual(mut latest: Option<Instant>) -> impl FnMut(&mut Context<'_>) -> Option<Status> + Send + Unpin {
    // Checked once: a body that has begun goes on.
    move |_| {
        let is_late = latest.take().is_some_and(|latest| Instant::now() > latest);
        is_late.then(|| Status::cancelled("too late for a repeat"))
    }
}

/// A wait of many minutes needs more than [`CARD_TIME`] after it to keep its full length below the deadline.
fn default_deadline(wait: Duration) -> Duration {
    wait + CARD_TIME.max(wait / 8)
}

/// How long the request may wait for its turn within the call's deadline; `None` for the broker's default.
fn wait_below(deadline: Duration, wait: Option<Duration>) -> Option<Duration> {
    // Time for "not sent" to arrive before the client's library ends the call itself.
    let margin = Duration::from_millis(50).max(deadline / 10);
    let longest = deadline.saturating_sub(margin);
    match wait {
        None if longest >= DEFAULT_WAIT => None,
        wait => Some(wait.unwrap_or(DEFAULT_WAIT).min(longest)),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::Pin};

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_ends_at_least_50_ms_before_the_deadline() {
        assert_eq!(wait_below(seconds(10), Some(seconds(30))), Some(seconds(9)));
        assert_eq!(wait_below(Duration::from_millis(100), None), Some(Duration::from_millis(50)));
        assert_eq!(wait_below(Duration::from_millis(20), None), Some(Duration::ZERO));
    }

    #[test]
    fn without_a_deadline_wait_and_card_time_add_up() {
        assert_eq!(wait_below(default_deadline(DEFAULT_WAIT), None), None, "the broker's default");
        for wait in [0, 30, 600, 24 * 3600].map(seconds) {
            let deadline = default_deadline(wait);
            assert_eq!(wait_below(deadline, Some(wait)), Some(wait));
            assert!(deadline >= wait + CARD_TIME);
        }
    }

    #[tokio::test]
    async fn a_repeat_that_would_leave_too_late_is_not_sent() {
        let now = Instant::now();
        for (latest, is_sent) in [(None, true), (Some(now + seconds(60)), true), (Some(now - seconds(1)), false)] {
            let mut body = Guarded::new(Body::empty(), punctual(latest));
            let frame = poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context)).await;
            assert_eq!(frame.is_none_or(|frame| frame.is_ok()), is_sent);
        }
    }
}
