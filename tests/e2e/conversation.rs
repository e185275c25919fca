//! A session over the raw contract: the client's messages, valid or not, and the broker's, as text.

use cardbroker_client::hex;
use cardbroker_proto::v1::{
    CardReset, Failure, OpenSessionRequest, OpenSessionResponse, SessionOpen, SessionReset, SessionTransmit,
    command::Action, open_session_request::Request as Asked, open_session_response::Response as Heard,
};
use prost_types::Duration as WireDuration;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue};

use crate::{
    wire::{self, Stub},
    world::LONG,
};

/// More than the broker reads ahead, so that sending never blocks a story.
const ROOM: usize = 256;
/// The client's library encodes no larger message; see [`Conversation::reset`].
const LARGEST_MESSAGE: usize = 100_000;

/// The metadata key of the isolation group.
pub(crate) const GROUP: &str = cardbroker_proto::GROUP_METADATA;

/// One stream of `OpenSession`. Numbers its messages from 1 upwards.
pub(crate) struct Conversation {
    requests: Option<mpsc::Sender<OpenSessionRequest>>,
    responses: Streaming<OpenSessionResponse>,
    last_id: i64,
}

/// An `open` with the contract's defaults.
pub(crate) fn opening(reader: &str) -> SessionOpen {
    SessionOpen { reader: reader.into(), ..SessionOpen::default() }
}

/// Converts a duration to the contract's type.
pub(crate) fn milliseconds(milliseconds: i32) -> Option<WireDuration> {
    Some(WireDuration { seconds: i64::from(milliseconds / 1000), nanos: milliseconds % 1000 * 1_000_000 })
}

impl Conversation {
    /// Starts a stream without a message.
    pub(crate) async fn start(stub: &Stub, metadata: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let (requests, queue) = mpsc::channel(ROOM);
        let mut request = Request::new(ReceiverStream::new(queue));
        for (name, value) in metadata {
            request.metadata_mut().insert(*name, MetadataValue::try_from(*value)?);
        }
        let mut stub = stub.clone().max_encoding_message_size(LARGEST_MESSAGE);
        let responses = timeout(LONG, stub.open_session(request)).await??.into_inner();
        Ok(Self { requests: Some(requests), responses, last_id: 0 })
    }

    /// Sends `open` and does not wait for the turn.
    pub(crate) async fn ask(stub: &Stub, open: SessionOpen) -> anyhow::Result<Self> {
        let mut conversation = Self::start(stub, &[]).await?;
        conversation.say(Asked::Open(open), false);
        Ok(conversation)
    }

    /// Opens a session and waits for its turn.
    pub(crate) async fn open(stub: &Stub, open: SessionOpen) -> anyhow::Result<Self> {
        let mut conversation = Self::ask(stub, open).await?;
        assert_eq!(conversation.answer().await, "opened");
        Ok(conversation)
    }

    /// Sends any message. A message on an ended stream is lost.
    pub(crate) fn say(&mut self, request: impl Into<Option<Asked>>, restart: bool) {
        let message = OpenSessionRequest { request: request.into(), restart };
        let said = self.requests.as_ref().expect("half-closed").try_send(message);
        assert!(!matches!(said, Err(TrySendError::Full(_))), "the broker reads nothing");
    }

    /// Sends a message with commands.
    pub(crate) fn transmit(&mut self, apdus: &[&str]) {
        let transmit = self.next_transmit(apdus);
        self.say(transmit, false);
    }

    /// Sends commands with `restart`, after a failure.
    pub(crate) fn restart(&mut self, apdus: &[&str]) {
        let transmit = self.next_transmit(apdus);
        self.say(transmit, true);
    }

    /// Sends a reset of the card, warm or cold.
    pub(crate) fn reset_card(&mut self, cold: bool) {
        self.last_id += 1;
        let reset = if cold { CardReset::Cold } else { CardReset::Warm };
        self.say(Asked::Reset(SessionReset { id: self.last_id, reset: reset.into() }), false);
    }

    fn next_transmit(&mut self, apdus: &[&str]) -> Asked {
        self.last_id += 1;
        let commands = wire::request("", apdus).commands;
        Asked::Transmit(SessionTransmit { id: self.last_id, commands })
    }

    /// Runs commands and waits for their answers.
    pub(crate) async fn run(&mut self, apdus: &[&str]) -> String {
        self.transmit(apdus);
        self.answer().await
    }

    /// Like `run`, with one raw command.
    pub(crate) async fn run_raw(&mut self, apdu: &str) -> String {
        let mut asked = self.next_transmit(&[apdu]);
        if let Asked::Transmit(transmit) = &mut asked
            && let Some(Action::Apdu(apdu)) = &mut transmit.commands[0].action
        {
            apdu.raw = true;
        }
        self.say(asked, false);
        self.answer().await
    }

    /// Ends the client's half of the stream.
    pub(crate) fn half_close(&mut self) {
        self.requests = None;
    }

    /// Resets the stream, not the card: a message that cannot be encoded breaks the request's body, which HTTP/2
    /// answers with a reset. (Dropping the call would only end the body, like a half-close.)
    pub(crate) fn reset(mut self) {
        let too_long = SessionOpen { reader: "x".repeat(LARGEST_MESSAGE + 1), ..SessionOpen::default() };
        self.say(Asked::Open(too_long), false);
    }

    /// Waits for the broker's next message; `None` at the end.
    pub(crate) async fn message(&mut self) -> Result<Option<Heard>, Status> {
        let message = timeout(LONG, self.responses.message()).await.expect("the broker says nothing")?;
        Ok(message.map(|message| message.response.expect("an empty message")))
    }

    /// The next message as text; at the end of the stream its status as text.
    pub(crate) async fn hear(&mut self) -> String {
        match self.message().await {
            Ok(Some(message)) => text(message),
            Ok(None) => "over: OK".into(),
            Err(status) if status.code() == Code::Cancelled => "over: Cancelled".into(),
            Err(status) => format!("over: {}", wire::told(&status)),
        }
    }

    /// The next message as text, without queue positions, waiters and heartbeats.
    pub(crate) async fn answer(&mut self) -> String {
        loop {
            let heard = self.hear().await;
            if !["ahead", "waiters", "heartbeat"].iter().any(|unasked| heard.starts_with(unasked)) {
                return heard;
            }
        }
    }

    /// The failure in the answer to the next message.
    pub(crate) async fn failure(&mut self) -> Failure {
        loop {
            match self.message().await {
                Ok(Some(Heard::Failed(failed))) => return failed.failure.expect("no failure"),
                Ok(Some(Heard::QueuePosition(_) | Heard::Waiters(_) | Heard::Heartbeat(_))) => {}
                other => panic!("no failure: {other:?}"),
            }
        }
    }

    /// The next `count` answers as text.
    pub(crate) async fn answers(&mut self, count: usize) -> Vec<String> {
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(self.answer().await);
        }
        answers
    }

    /// Half-closes and returns the remaining answers.
    pub(crate) async fn close(mut self) -> Vec<String> {
        self.half_close();
        self.rest().await
    }

    /// All answers up to the end of the stream; the last entry is its status.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        while answers.last().is_none_or(|last: &String| !last.starts_with("over")) {
            answers.push(self.answer().await);
        }
        answers
    }
}

fn text(message: Heard) -> String {
    match message {
        Heard::QueuePosition(position) => format!("ahead {}", position.turns_ahead_count),
        Heard::Opened(_) => "opened".into(),
        Heard::Transmitted(transmitted) => {
            let results: Vec<_> = {
                let apdus = transmitted.results.iter().map(wire::apdu);
                apdus
                    .map(|apdu| format!("{} {:04X}", hex::format(&apdu.data), apdu.status_word).trim_start().to_owned())
                    .collect()
            };
            let stopped = transmitted.stopped.map_or(String::new(), |stop| {
                format!("; stopped at {}: {}", stop.index, reason(&stop.failure.unwrap_or_default()))
            });
            format!("{}: {}{stopped}", transmitted.id, results.join(", "))
        }
        Heard::ResetDone(reset) => format!("{}: reset {}", reset.id, hex::format(&reset.atr)),
        Heard::Failed(failed) => format!("{}: failed {}", failed.id, reason(&failed.failure.unwrap_or_default())),
        Heard::Waiters(waiters) => format!("waiters {}", waiters.caller_count),
        Heard::Heartbeat(_) => "heartbeat".into(),
    }
}

fn reason(failure: &Failure) -> String {
    format!("{} {}", failure.reason().short_name(), failure.delivery().short_name())
}
