//! Any conversation of `OpenSession` with the real server on a simulated card, over a Unix socket. In every case
//! answers come in order, and the next client gets the card freshly reset.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target reports a fault by a panic")]

use std::{sync::LazyLock, time::Duration};

use cardbroker_proto::{
    GROUP_METADATA,
    v1::{
        ApduCommand, CardRequirement, CardReset, Command, Disposition, ErrorReason, OpenSessionRequest,
        OpenSessionResponse, SessionHeartbeat, SessionOpen, SessionReset, SessionTransmit, TurnOptions,
        card_broker_service_client::CardBrokerServiceClient, command::Action, command_result::Outcome,
        open_session_request::Request as Asked, open_session_response::Response as Heard,
    },
};
use cardbroker_server::{
    caller::tokens::Tokens,
    config::Config,
    listen::Bound,
    server::{Server, backend},
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use prost::Message;
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use tonic_prost::{ProstCodec, ProstDecoder};

const READER: &str = "readers/simulated-reader-00";
/// The limit for every answer.
const LONG: Duration = Duration::from_secs(10);
const MOST_MESSAGES: usize = 64;

#[derive(Debug, Arbitrary)]
struct Case {
    says: Vec<Say>,
    end: End,
}

#[derive(Debug, Arbitrary)]
enum Say {
    Open {
        reader: Option<String>,
        wait: bool,
        leave: bool,
        if_state_tag: Option<String>,
    },
    Transmit {
        step: i8,
        commands: Vec<Apdu>,
        raw: bool,
        restart: bool,
    },
    Reset {
        step: i8,
        cold: bool,
        restart: bool,
    },
    Nothing,
    Bytes(Vec<u8>),
    /// Waits for the next message.
    Listen,
    Heartbeat,
}

#[derive(Debug, Arbitrary)]
enum Apdu {
    Select,
    Verify,
    Protected,
    Increment,
    Object,
    Echo(u16),
    Any(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum End {
    HalfClose,
    ResetStream,
    Disconnect,
}

impl Apdu {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Select => b"\x00\xA4\x04\x00\x06\xF0CARD\x01".to_vec(),
            Self::Verify => b"\x00\x20\x00\x80\x0812345678".to_vec(),
            Self::Protected => PROTECTED.to_vec(),
            Self::Increment => vec![0x80, 0x12, 0, 0, 4],
            Self::Object => vec![0, 0xCA, 1, 0, 0],
            Self::Echo(length) => {
                let length = (*length).max(1);
                let [high, low] = length.to_be_bytes();
                [&[0x80, 0x14, 0, 0, 0, high, low][..], &vec![0x5A; length.into()], &[0, 0]].concat()
            }
            // The card's commands for slow or broken exchanges would only cost time; and any PIN but the right one
            // could block it.
            Self::Any(bytes) if matches!(bytes[..], [_, 0x16 | 0xF0 | 0x20, ..]) => Vec::new(),
            Self::Any(bytes) => bytes.clone(),
        }
    }
}

const PROTECTED: &[u8] = &[0, 0xB0, 0x81, 0, 5];

/// The server, in this process, and a well-behaved client.
struct World {
    runtime: Runtime,
    endpoint: Endpoint,
    next: Channel,
    _folder: tempfile::TempDir,
    _server: Server,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.readers.simulate = 1;
    config.listen.socket = folder.path().join("cardbroker.sock");
    let endpoint = Endpoint::from_shared(format!("unix://{}", config.listen.socket.display())).unwrap();
    let (server, next) = runtime.block_on(async {
        let bound = Bound::bind(&config.listen).unwrap();
        let backend = backend(&config).unwrap();
        (
            Server::start(config, Ok(Tokens::default()), bound, backend, "fuzz".into(), None).await.unwrap(),
            endpoint.connect().await.unwrap(),
        )
    });
    World { runtime, endpoint, next, _folder: folder, _server: server }
});

/// Requests as bytes, valid or not.
#[derive(Default)]
struct Verbatim;

impl Encoder for Verbatim {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &message);
        Ok(())
    }
}

impl Codec for Verbatim {
    type Encode = Vec<u8>;
    type Decode = OpenSessionResponse;
    type Encoder = Self;
    type Decoder = ProstDecoder<OpenSessionResponse>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<OpenSessionRequest, OpenSessionResponse>::default().decoder()
    }
}

/// The messages that a conversation may still receive.
#[derive(Default)]
struct Expected {
    opened: bool,
    /// The valid messages without an answer, each with whether it restarts.
    asked: std::collections::VecDeque<(i64, bool)>,
    failed: bool,
}

impl Expected {
    fn hear(&mut self, heard: &Heard) {
        let (id, failure) = match heard {
            Heard::QueuePosition(_) => return assert!(!self.opened, "a place in the queue for a holder"),
            Heard::Opened(_) => return assert!(!std::mem::replace(&mut self.opened, true), "opened twice"),
            Heard::Waiters(_) => return assert!(self.opened),
            Heard::Transmitted(done) => (done.id, None),
            Heard::ResetDone(done) => (done.id, None),
            Heard::Failed(failed) => (failed.id, Some(failed.failure.as_ref().expect("a reason").reason())),
            Heard::Heartbeat(_) => return,
        };
        let (asked, restart) = self.asked.pop_front().expect("an answer to nothing");
        assert_eq!(id, asked, "out of order");
        self.failed &= !restart;
        let preceding = failure == Some(ErrorReason::PrecedingFailed);
        assert_eq!(preceding, self.failed, "{heard:?} to {id}, restart {restart}");
        self.failed |= failure.is_some();
    }
}

fn command(bytes: Vec<u8>, raw: bool) -> Command {
    let apdu = ApduCommand { bytes, raw, ..ApduCommand::default() };
    Command { action: Some(Action::Apdu(apdu)), ..Command::default() }
}

/// The messages of a case as bytes, each with whether it has an answer, and the expected answers. A message that ends
/// the conversation is the last one.
fn speech(case: &Case, expected: &mut Expected) -> Vec<Option<(Vec<u8>, bool)>> {
    let mut speech = Vec::new();
    let (mut last_id, mut opened) = (0_i64, false);
    for say in case.says.iter().take(MOST_MESSAGES) {
        let next_id = last_id.wrapping_add(i64::from(match say {
            Say::Transmit { step, .. } | Say::Reset { step, .. } => *step,
            _ => 0,
        }));
        let (request, restart) = match say {
            Say::Open { reader, wait, leave, if_state_tag } => {
                let turn = TurnOptions {
                    wait_timeout: (!wait).then(prost_types::Duration::default),
                    if_state_tag: if_state_tag.clone().unwrap_or_default(),
                    ..TurnOptions::default()
                };
                let open = SessionOpen {
                    reader: reader.clone().unwrap_or_else(|| READER.into()),
                    turn: Some(turn),
                    disposition: if *leave { Disposition::Leave } else { Disposition::Unspecified }.into(),
                    ..SessionOpen::default()
                };
                (Some(Asked::Open(open)), false)
            }
            Say::Transmit { commands, raw, restart, .. } => {
                let commands = commands.iter().take(8).map(|apdu| command(apdu.bytes(), *raw)).collect();
                (Some(Asked::Transmit(SessionTransmit { id: next_id, commands })), *restart)
            }
            Say::Reset { cold, restart, .. } => {
                let reset = if *cold { CardReset::Cold } else { CardReset::Warm }.into();
                (Some(Asked::Reset(SessionReset { id: next_id, reset })), *restart)
            }
            Say::Heartbeat => (Some(Asked::Heartbeat(SessionHeartbeat::default())), false),
            Say::Nothing => (None, false),
            Say::Bytes(bytes) => {
                speech.push(Some((bytes.clone(), true)));
                return speech;
            }
            Say::Listen => {
                speech.push(None);
                continue;
            }
        };
        let in_order = match &request {
            Some(Asked::Open(_)) => !std::mem::replace(&mut opened, true),
            Some(Asked::Transmit(_) | Asked::Reset(_)) => opened && next_id > last_id,
            Some(Asked::Heartbeat(_)) => opened,
            None => false,
        };
        if in_order && matches!(request, Some(Asked::Transmit(_) | Asked::Reset(_))) {
            expected.asked.push_back((next_id, restart));
            last_id = next_id;
        }
        let is_answered = !in_order || !matches!(request, Some(Asked::Heartbeat(_)));
        speech.push(Some((OpenSessionRequest { request, restart }.encode_to_vec(), is_answered)));
        if !in_order {
            break;
        }
    }
    speech
}

async fn hear(answers: &mut Streaming<OpenSessionResponse>, expected: &mut Expected) -> Option<Result<(), Code>> {
    match timeout(LONG, answers.message()).await.expect("the broker says nothing") {
        Ok(Some(message)) => {
            expected.hear(&message.response.expect("an empty message"));
            None
        }
        Ok(None) => Some(Ok(())),
        Err(status) => {
            assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{status:?}");
            Some(Err(status.code()))
        }
    }
}

async fn start(channel: &Channel) -> (mpsc::Sender<Vec<u8>>, Streaming<OpenSessionResponse>) {
    let (requests, queue) = mpsc::channel(MOST_MESSAGES);
    let mut request = Request::new(ReceiverStream::new(queue));
    // A group of its own, so that nothing may pass to the next one.
    request.metadata_mut().insert(GROUP_METADATA, "a-group-of-its-own".parse().unwrap());
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/cardbroker.v1.CardBrokerService/OpenSession");
    let answers = timeout(LONG, client.streaming(request, path, Verbatim)).await.expect("no headers").unwrap();
    (requests, answers.into_inner())
}

async fn converse(case: &Case) {
    let channel = WORLD.endpoint.connect().await.unwrap();
    let mut expected = Expected::default();
    let speech = speech(case, &mut expected);
    let (requests, mut answers) = start(&channel).await;
    let (mut ended, mut said) = (None, 0);
    for message in speech {
        match message {
            Some((message, is_answered)) => {
                said += usize::from(is_answered);
                // The broker may have closed the connection.
                let _ = requests.send(message).await;
            }
            // A minimum of answers is certain: the first message by `opened` or the end, each of the others but
            // heartbeats by its answer.
            None if said > 0 && ended.is_none() => {
                said -= 1;
                ended = hear(&mut answers, &mut expected).await;
            }
            None => {}
        }
    }
    if case.end == End::HalfClose {
        drop(requests);
        while ended.is_none() {
            ended = hear(&mut answers, &mut expected).await;
        }
        let all_answered = expected.opened && expected.asked.is_empty();
        assert!(ended != Some(Ok(())) || all_answered, "a good end with {} unanswered", expected.asked.len());
    } else if case.end == End::ResetStream {
        drop((requests, answers));
        // The connection outlives the stream.
        drop(timeout(LONG, start(&channel)).await.expect("the connection is stuck"));
    }
}

/// The next client: the card is ready in time, has no verified PIN, and the session ends well.
async fn next_client() {
    let mut client = CardBrokerServiceClient::new(WORLD.next.clone());
    let turn = TurnOptions { card: CardRequirement::Awaited.into(), ..TurnOptions::default() };
    let open = SessionOpen { reader: READER.into(), turn: Some(turn), ..SessionOpen::default() };
    let transmit = SessionTransmit { id: 1, commands: vec![command(PROTECTED.to_vec(), false)] };
    let messages = [Asked::Open(open), Asked::Transmit(transmit)];
    let messages = messages.map(|request| OpenSessionRequest { request: Some(request), restart: false });
    let answers = timeout(LONG, client.open_session(tokio_stream::iter(messages))).await.expect("no headers");
    let mut answers = answers.unwrap().into_inner();
    let (mut opened, mut word) = (false, None);
    while let Some(message) = timeout(LONG, answers.message()).await.expect("the next client waits in vain").unwrap() {
        match message.response.unwrap() {
            Heard::Opened(_) => opened = true,
            Heard::Transmitted(done) => match &done.results[0].outcome {
                Some(Outcome::Apdu(answer)) => word = Some(answer.status_word),
                other => panic!("{other:?}"),
            },
            Heard::QueuePosition(_) | Heard::Waiters(_) | Heard::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((opened, word), (true, Some(0x6982)), "the card was not reset");
}

fuzz_target!(|case: Case| {
    WORLD.runtime.block_on(async {
        converse(&case).await;
        next_client().await;
    });
});
