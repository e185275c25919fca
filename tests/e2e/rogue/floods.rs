//! Floods of well-formed requests: what they cost the hostile user, and what they cost the others.

use std::{
    io::{self, Write},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_core::budget::{BURST, PER_SECOND};
use cardbroker_proto::v1::{
    GetReaderRequest, ListReadersRequest, OpenSessionRequest, SessionOpen, SessionTransmit, TransmitRequest,
    open_session_request::Request as SessionRequest, open_session_response::Response as SessionResponse,
};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    http2::{END_STREAM, GREETING, HEADERS, call, headers, literal},
    memory::resident_bytes,
    users::may_be_several_users,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tonic::{Code, Request};

use super::{READER, SECONDS, TURN, client, median};
use crate::{
    talkers::Talker,
    wire::{self, Stub, field, stub, told},
    world::{LONG, tell, tell_within, wait_for},
};

const RULES: &str = r#"
listen.socket_mode = "0666"
[[rule]]
name = "member"
principals = ["uid:4003", "token:tests"]
allow = ["all"]
[[rule]]
name = "own"
principals = ["self"]
allow = ["all"]
"#;

/// A user that no rule mentions, and one with all rights.
const STRANGER: u32 = 4002;
const MEMBER: u32 = 4003;

const MIB: u64 = 1 << 20;
/// The daemon's allowed growth, and that of its log in a second.
const MOST_MEMORY: u64 = 32 * MIB;
const MOST_LOG: u64 = 10 * 1024;

async fn broker() -> anyhow::Result<Broker> {
    let setup = Setup::simulated(1)?.plain_tcp(&["tests"])?.open_folder()?.configuration(RULES).log_level("info");
    let broker = setup.start()?;
    wait_for(&broker, READER, cardbroker_client::ReaderState::Ready).await?;
    Ok(broker)
}

/// Starts a flood; `user` is a user's number, or a wrong token.
fn flooder(broker: &Broker, kind: &str, user: Result<u32, Option<&str>>) -> anyhow::Result<Talker> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flooder"));
    match user {
        Ok(uid) => command.args([&broker.endpoint(), kind, READER, "--uid", &uid.to_string()]),
        Err(token) => {
            command.args([&broker.tcp_address()?, kind, READER]);
            command.args(token.map(|token| format!("--token={token}")))
        }
    };
    Talker::start(&mut command, "attacking")
}

/// A request that is refused: its reader does not exist.
pub(super) async fn refused(stub: &mut Stub) -> anyhow::Result<()> {
    let asked = GetReaderRequest { name: "readers/none".into() };
    let status = timeout(LONG, stub.get_reader(asked)).await?.map(drop).unwrap_err();
    ensure!(status.code() == Code::NotFound, "{status:?}");
    Ok(())
}

#[test]
fn refused_requests_are_served_twenty_a_second_after_a_burst() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let (mut hostile, mut same_user) = (stub(&broker).await?, stub(&broker).await?);
        let other = broker.tcp_client("tests").await?;
        for _ in 0..BURST {
            refused(&mut hostile).await?;
        }
        let (begin, mut answered) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_secs(3) {
            refused(&mut hostile).await?;
            answered += 1;
            // Another user is not read more slowly, whatever happens.
            let asked = Instant::now();
            other.readers().await?;
            ensure!(asked.elapsed() < Duration::from_secs(1), "another user waits for {:?}", asked.elapsed());
        }
        // The bucket has also filled a little during the burst.
        let most = u32::try_from(begin.elapsed().as_secs() + 1)? * PER_SECOND + BURST / 2;
        ensure!((20..most).contains(&answered), "{answered} were answered, at most {most} may be");
        timeout(LONG, same_user.list_readers(ListReadersRequest {})).await??;
        let log = broker.settled_log();
        ensure!(log.matches("and new ones, are read slowly").count() == 1, "{log}");
        ensure!(log.contains("user=\"user "), "{log}");
        Ok(())
    })
}

#[test]
fn served_requests_cost_nothing() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stub = stub(&broker).await?;
        let begin = Instant::now();
        for _ in 0..5 * BURST {
            timeout(LONG, stub.list_readers(ListReadersRequest {})).await??;
        }
        ensure!(begin.elapsed() < Duration::from_secs((4 * BURST / PER_SECOND).into()), "{:?}", begin.elapsed());
        ensure!(!broker.settled_log().contains("read slowly"));
        Ok(())
    })
}

#[test]
fn served_requests_of_a_stranger_are_not_charged() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.plain_tcp(&["tests"])?.log_level("info").start()?;
        let (endpoint, token) = (broker.tcp_endpoint()?, crate::tcp::token(&broker, "tests")?);
        let channel = tonic::transport::Endpoint::from_shared(endpoint)?.connect().await?;
        let mut stub = Stub::new(channel);
        for _ in 0..2 * BURST {
            let mut request = Request::new(ListReadersRequest {});
            request.metadata_mut().insert("authorization", crate::tcp::bearer(&token).parse()?);
            ensure!(timeout(LONG, stub.list_readers(request)).await??.into_inner().readers.is_empty());
        }
        ensure!(!broker.settled_log().contains("read slowly"));
        Ok(())
    })
}

#[test]
fn messages_that_a_session_refuses_are_charged() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stub = stub(&broker).await?;
        let say = |request| OpenSessionRequest { request: Some(request), restart: false };
        let open = SessionOpen { reader: READER.into(), ..SessionOpen::default() };
        let (sender, messages) = tokio::sync::mpsc::channel(8);
        sender.send(say(SessionRequest::Open(open))).await?;
        let session = stub.open_session(tokio_stream::wrappers::ReceiverStream::new(messages));
        let mut answers = timeout(LONG, session).await??.into_inner();
        let mut begin = Instant::now();
        for id in 0..3 * i64::from(BURST) {
            if id == i64::from(BURST) {
                begin = Instant::now();
            }
            let commands = vec![wire::command(vec![0x80])];
            let transmit = SessionRequest::Transmit(SessionTransmit { id: id + 1, commands });
            // Without a restart, all but the first fail because of the one before.
            sender.send(OpenSessionRequest { request: Some(transmit), restart: true }).await?;
            let failed = async {
                loop {
                    let answer = answers.message().await?.context("it has ended")?.response;
                    if let Some(SessionResponse::Failed(failed)) = answer {
                        return anyhow::Ok(failed.id);
                    }
                }
            };
            ensure!(timeout(LONG, failed).await?? == id + 1);
        }
        ensure!(broker.settled_log().contains("read slowly"), "after {:?}", begin.elapsed());
        Ok(())
    })
}

/// The number of calls that were answered until the connection is closed, or until there are `most`.
async fn answered(stream: &mut TcpStream, most: usize) -> anyhow::Result<usize> {
    let (mut bytes, mut answers) = (Vec::new(), 0);
    let read = async {
        while answers < most {
            let mut chunk = [0; 4096];
            let Ok(read @ 1..) = stream.read(&mut chunk).await else { break };
            bytes.extend_from_slice(&chunk[..read]);
            while let Some([a, b, c, kind, flags, ..]) = bytes.get(..9)
                && let end = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize
                && end <= bytes.len()
            {
                answers += usize::from(*kind == HEADERS && flags & END_STREAM != 0);
                bytes.drain(..end);
            }
        }
    };
    timeout(LONG, read).await.context("the connection stays open")?;
    Ok(answers)
}

#[test]
fn a_connection_is_closed_after_five_bad_tokens() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let address = broker.tcp_address()?;
        let wrong = [headers("ListReaders"), literal("authorization", &format!("Bearer {}", "A".repeat(64)))].concat();
        for head in [headers("ListReaders"), wrong] {
            let mut stream = TcpStream::connect(&address).await?;
            stream.write_all(GREETING).await?;
            for number in 0..5 {
                stream.write_all(&call(2 * number + 1, &head, &[Vec::new()], true)).await?;
            }
            let begin = Instant::now();
            ensure!(answered(&mut stream, usize::MAX).await? == 5, "each has its answer");
            ensure!(begin.elapsed() < Duration::from_secs(8), "only the time for the first request has closed it");
        }
        ensure!(broker.settled_log().contains("closed after too many requests without a valid token"));
        broker.tcp_client("tests").await?.readers().await?;
        Ok(())
    })
}

#[test]
fn a_valid_token_forgives_the_bad_ones_before_it() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let token = crate::tcp::token(&broker, "tests")?;
        let channel = tonic::transport::Endpoint::from_shared(broker.tcp_endpoint()?)?.connect().await?;
        let mut stub = Stub::new(channel);
        for _ in 0..4 {
            for _ in 0..4 {
                let status = stub.list_readers(ListReadersRequest {}).await.unwrap_err();
                ensure!(status.code() == Code::Unauthenticated, "{status:?}");
            }
            let mut request = Request::new(ListReadersRequest {});
            request.metadata_mut().insert("authorization", crate::tcp::bearer(&token).parse()?);
            stub.list_readers(request).await?;
        }
        Ok(())
    })
}

#[test]
fn very_many_empty_commands_are_refused_before_decoding() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let before = resident_bytes(broker.pid()?)?;
        let commands = vec![cardbroker_proto::v1::Command::default(); 500_000];
        let mut stub = stub(&broker).await?;
        let request =
            TransmitRequest { reader: READER.into(), commands: commands.clone(), ..TransmitRequest::default() };
        let status = wire::transmit(&mut stub, request).await.unwrap_err();
        ensure!(told(&status) == "InvalidArgument INVALID_REQUEST not_sent", "{status:?}");
        ensure!(field(&status).as_deref() == Some("commands"), "{status:?}");

        let mut pattern = wire::command(vec![0, 0xA4, 0, 0]);
        pattern.continue_on = vec![cardbroker_proto::v1::StatusWordPattern::default(); 300_000];
        let request = TransmitRequest { reader: READER.into(), commands: vec![pattern], ..TransmitRequest::default() };
        let status = wire::transmit(&mut stub, request).await.unwrap_err();
        ensure!(field(&status).as_deref() == Some("commands"), "{status:?}");

        let mut longest = wire::command(vec![0x80, 0x10, 0, 0, 4]);
        longest.continue_on = vec![cardbroker_proto::v1::StatusWordPattern { value: 0x6982, mask: Some(0xFFFF) }; 16];
        let request =
            TransmitRequest { reader: READER.into(), commands: vec![longest; 64], ..TransmitRequest::default() };
        // It stops after its first command, whose status word is not among the patterns.
        ensure!(wire::transmit(&mut stub, request).await?.results.len() == 1);
        let grown = resident_bytes(broker.pid()?)?.saturating_sub(before);
        ensure!(grown < 16 * MIB, "the daemon grew by {grown} bytes");
        Ok(())
    })
}

/// Starts Transmit and OpenSession as the token's holder, whose messages are announced and never sent.
async fn refused_before_the_body(broker: &Broker) -> anyhow::Result<()> {
    let token = crate::tcp::token(broker, "tests")?;
    let mut stream = TcpStream::connect(broker.tcp_address()?).await?;
    let bearer = literal("authorization", &format!("Bearer {token}"));
    for (number, method) in ["Transmit", "OpenSession"].into_iter().enumerate() {
        let head = [headers(method), bearer.clone()].concat();
        let opening = if number == 0 { GREETING } else { &[] };
        let begun = call(2 * number as u32 + 1, &head, &[], false);
        stream.write_all(&[opening, &begun].concat()).await?;
    }
    let refused =
        timeout(Duration::from_secs(8), answered(&mut stream, 2)).await.context("it waits for the body")??;
    ensure!(refused == 2, "{refused}");
    Ok(())
}

#[test]
fn a_stranger_is_refused_before_the_body_is_read() -> anyhow::Result<()> {
    tell(async {
        // Without a rule for it, the token's holder is a stranger too.
        let broker = Setup::simulated(1)?.plain_tcp(&["tests"])?.log_level("info").start()?;
        wait_for(&broker, READER, cardbroker_client::ReaderState::Ready).await?;
        refused_before_the_body(&broker).await?;
        let log = broker.settled_log();
        ensure!(log.contains("reader=\"*\" operation=\"see\" rule=\"default\""), "{log}");
        Ok(())
    })
}

#[test]
fn a_user_who_may_only_look_is_refused_before_the_body_is_read() -> anyhow::Result<()> {
    let rules = "rule = [{ name = 'own', principals = ['self'], allow = ['all'] },
                         { name = 'no units', principals = ['anyone'], deny = ['transmit'] },
                         { name = 'look', principals = ['token:tests'], allow = ['see', 'watch'] }]";
    tell(async {
        let broker = Setup::simulated(1)?.plain_tcp(&["tests"])?.configuration(rules).log_level("info").start()?;
        wait_for(&broker, READER, cardbroker_client::ReaderState::Ready).await?;
        refused_before_the_body(&broker).await?;
        let client = broker.tcp_client("tests").await?;
        ensure!(client.readers().await?.len() == 1);
        let told = crate::world::unit(&client, READER, &[crate::world::COUNT]).send().await.unwrap_err().to_string();
        ensure!(told.contains("denied by rule \"no units\" (transmit)"), "{told}");
        let log = broker.settled_log();
        for denied in ["operation=\"transmit\" rule=\"no units\"", "operation=\"session\" rule=\"default\""] {
            ensure!(log.contains(&format!("reader=\"*\" {denied}")), "{log}");
        }
        Ok(())
    })
}

#[test]
fn repeats_that_nobody_reads_share_their_answer() -> anyhow::Result<()> {
    const REPEATS: u32 = 80;
    tell(async {
        let broker = broker().await?;
        let echo = [&[0x80, 0x14, 0, 0, 0, 0x1F, 0x00][..], &vec![0x5A; 0x1F00], &[0, 0]].concat();
        let commands = vec![wire::command(echo); 64];
        let unit =
            TransmitRequest { reader: READER.into(), commands, request_id: vec![7; 32], ..TransmitRequest::default() };
        let first = wire::transmit(&mut stub(&broker).await?, unit.clone()).await?;
        ensure!(!first.replayed && first.results.len() == 64, "{first:?}");
        let again = wire::transmit(&mut stub(&broker).await?, unit.clone()).await?;
        ensure!(again.replayed && again.results == first.results);

        let before = resident_bytes(broker.pid()?)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(1_024)
            .handshake::<_, bytes::Bytes>(UnixStream::connect(broker.socket()).await?)
            .await?;
        tokio::spawn(connection);
        let message = cardbroker_tests::harness::http2::message(&prost::Message::encode_to_vec(&unit));
        let mut unread = Vec::new();
        for _ in 0..REPEATS {
            let request = http::Request::post("http://localhost/cardbroker.v1.CardBrokerService/Transmit")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())?;
            let (response, mut body) = sender.clone().ready().await?.send_request(request, false)?;
            let mut rest = bytes::Bytes::from(message.clone());
            while !rest.is_empty() {
                body.reserve_capacity(rest.len());
                let room = timeout(LONG, std::future::poll_fn(|context| body.poll_capacity(context))).await?;
                let part = rest.split_to(room.context("ended")??.min(rest.len()));
                body.send_data(part, rest.is_empty())?;
            }
            unread.push(timeout(LONG, response).await??);
        }
        let grown = resident_bytes(broker.pid()?)?.saturating_sub(before);
        writeln!(io::stderr(), "{REPEATS} unread repeats: +{} KiB", grown >> 10)?;
        ensure!(grown < 24 * MIB, "the daemon grew by {grown} bytes for {} unread repeats", unread.len());
        Ok(())
    })
}

/// The floods, and who makes them.
const FLOODS: [(&str, Result<u32, Option<&str>>); 14] = [
    ("lists", Err(None)),
    ("transmits", Err(Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))),
    ("transmits", Ok(STRANGER)),
    ("malformed", Ok(STRANGER)),
    ("empties", Ok(STRANGER)),
    ("announced", Ok(STRANGER)),
    ("lists", Ok(STRANGER)),
    ("sessions", Ok(STRANGER)),
    ("unknown", Ok(STRANGER)),
    ("invalid", Ok(MEMBER)),
    ("malformed", Ok(MEMBER)),
    ("empties", Ok(MEMBER)),
    ("patterns", Ok(MEMBER)),
    ("lists", Ok(MEMBER)),
];

#[test]
fn a_flood_takes_no_turns_from_a_good_client() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell_within(Duration::from_secs(240), async {
        for (kind, user) in FLOODS {
            let broker = broker().await?;
            let before = resident_bytes(broker.pid()?)?;
            let (mut without, mut with, mut log, mut sent) = (Vec::new(), Vec::new(), 0, 0);
            for _ in 0..super::ROUNDS {
                without.push(client(&broker)?.end()?);
                let victim = client(&broker)?;
                let flood = flooder(&broker, kind, user)?;
                let (length, begin) = (broker.log().len(), Instant::now());
                with.push(victim.end()?);
                sent += flood.end()?;
                let grown = (broker.log().len() - length) as u64;
                log = log.max(grown / begin.elapsed().as_secs().max(1));
            }
            let memory = resident_bytes(broker.pid()?)?.saturating_sub(before);
            let told = format!(
                "{kind} of {user:?}: turns of {TURN} ms in {SECONDS} s without {without:?}, with {with:?}; {sent} \
                 requests; +{} KiB; log {log} bytes/s",
                memory >> 10
            );
            writeln!(io::stderr(), "{told}")?;
            // In a release build, on a quiet machine, it keeps at least 0.9: see the benchmark `floods`. The best of
            // the rounds counts, because a busy machine takes turns away, too.
            let best = with.iter().max().copied().unwrap_or_default();
            ensure!(2 * best >= median(without), "{told}");
            ensure!(memory < MOST_MEMORY && log < MOST_LOG, "{told}");
            ensure!(!broker.settled_log().contains("panicked"), "{told}");
        }
        Ok(())
    })
}
