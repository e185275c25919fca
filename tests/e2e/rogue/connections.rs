//! Floods by many connections: one after the other, side by side, and some that only make handshakes.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_core::budget::{BURST, PER_SECOND};
use cardbroker_proto::v1::ListReadersRequest;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    http2::{END_STREAM, GREETING, HEADERS, call, headers, literal},
    tls,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{READER, floods::refused};
use crate::{
    wire::stub,
    world::{LONG, tell, tell_within, wait_for},
};

const RULES: &str = "rule = [{ name = 'tests', principals = ['anyone'], allow = ['all'] }]";

/// The time of a flood.
const TIME: Duration = Duration::from_secs(5);

/// The connections of a user side by side.
const CONNECTIONS: u32 = 100;

/// The most refused requests in a time: two in each reading, because the shortest readings hold more than one request.
fn most(time: Duration) -> u32 {
    BURST + 2 * PER_SECOND * (time.as_secs() as u32 + 1)
}

/// Reads the answers until nothing comes for `silence`, or the connection is closed. Counts the ended calls.
async fn count_answers(stream: &mut (impl AsyncRead + Unpin), silence: Duration, answers: &AtomicU32) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(read @ 1..)) = timeout(silence, stream.read(&mut chunk)).await {
        bytes.extend_from_slice(&chunk[..read]);
        while let Some([a, b, c, kind, flags, ..]) = bytes.get(..9)
            && let end = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize
            && end <= bytes.len()
        {
            answers.fetch_add(u32::from(*kind == HEADERS && flags & END_STREAM != 0), Ordering::Relaxed);
            bytes.drain(..end);
        }
    }
}

/// Sends 60 requests that are refused, the opening of the connection before them.
async fn flood(stream: &mut (impl AsyncWrite + Unpin), head: &[u8]) {
    let requests = (0..60).flat_map(|number| call(2 * number + 1, head, &[Vec::new()], true));
    let _ = stream.write_all(&GREETING.iter().copied().chain(requests).collect::<Vec<_>>()).await;
}

/// Spends all tokens of the user.
async fn exhaust(broker: &Broker) -> anyhow::Result<()> {
    let mut hostile = stub(broker).await?;
    for _ in 0..BURST {
        refused(&mut hostile).await?;
    }
    Ok(())
}

#[test]
fn a_user_who_reconnects_after_each_flood_stays_slow() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        let mut earlier = stub(&broker).await?;
        timeout(LONG, earlier.list_readers(ListReadersRequest {})).await??;
        exhaust(&broker).await?;
        let (begin, answers, mut floods) = (Instant::now(), Arc::new(AtomicU32::new(0)), JoinSet::new());
        for _ in 0..4 {
            let (answers, socket) = (Arc::clone(&answers), broker.socket());
            floods.spawn(async move {
                while begin.elapsed() < TIME {
                    let Ok(mut stream) = UnixStream::connect(&socket).await else { continue };
                    flood(&mut stream, &headers("Nope")).await;
                    count_answers(&mut stream, Duration::from_millis(100), &answers).await;
                }
            });
        }
        let mut slowest = Duration::ZERO;
        while begin.elapsed() < TIME {
            let asked = Instant::now();
            timeout(LONG, earlier.list_readers(ListReadersRequest {})).await??;
            slowest = slowest.max(asked.elapsed());
            sleep(Duration::from_millis(50)).await;
        }
        floods.join_all().await;
        let (answers, most) = (answers.load(Ordering::Relaxed), most(begin.elapsed()));
        writeln!(io::stderr(), "{answers} were answered; the earlier connection waited for at most {slowest:?}")?;
        ensure!(answers <= most, "{answers} were answered, at most {most} may be");
        ensure!(slowest < Duration::from_secs(1), "an earlier connection waits for {slowest:?}");
        // A new connection of the user waits, and is served.
        timeout(LONG, stub(&broker).await?.list_readers(ListReadersRequest {})).await??;
        Ok(())
    })
}

#[test]
fn connections_of_a_user_without_budget_share_one_rate() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        exhaust(&broker).await?;
        let (begin, answers, mut floods) = (Instant::now(), Arc::new(AtomicU32::new(0)), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let (answers, mut stream) = (Arc::clone(&answers), UnixStream::connect(broker.socket()).await?);
            floods.spawn(async move {
                flood(&mut stream, &headers("Nope")).await;
                let _ = timeout(2 * TIME, count_answers(&mut stream, 2 * TIME, &answers)).await;
            });
        }
        floods.join_all().await;
        let (answers, most) = (answers.load(Ordering::Relaxed), most(begin.elapsed()));
        writeln!(io::stderr(), "{answers} were answered")?;
        ensure!(answers >= CONNECTIONS, "each is read at least every 4 s: {answers}");
        ensure!(answers <= most, "{answers} were answered, at most {most} may be");
        Ok(())
    })
}

#[test]
fn bad_tokens_of_a_tokens_holder_are_charged_to_the_holder() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.plain_tcp(&["tests"])?.configuration(RULES).log_level("info").start()?;
        let token = crate::tcp::token(&broker, "tests")?;
        let bearer = |token: &str| literal("authorization", &format!("Bearer {token}"));
        let (good, bad) = ([headers("ListReaders"), bearer(&token)].concat(), headers("ListReaders"));
        let mut stream = TcpStream::connect(broker.tcp_address()?).await?;
        let calls = (0..5 * 90).flat_map(|number| {
            let head = if number % 5 == 0 { &good } else { &bad };
            call(2 * number + 1, head, &[Vec::new()], true)
        });
        let bytes: Vec<_> = GREETING.iter().copied().chain(calls).collect();
        stream.write_all(&bytes).await?;
        let answers = AtomicU32::new(0);
        count_answers(&mut stream, Duration::from_millis(500), &answers).await;
        let log = broker.settled_log();
        ensure!(log.contains("user=\"token tests\"") && !log.contains("have no valid token: they"), "{log}");
        Ok(())
    })
}

#[test]
fn handshakes_of_clients_without_a_token_are_bounded() -> anyhow::Result<()> {
    tell_within(4 * LONG, async {
        let broker = Setup::simulated(1)?.tcp(&["tests"])?.configuration(RULES).log_level("info").start()?;
        wait_for(&broker, READER, cardbroker_client::ReaderState::Ready).await?;
        let earlier = broker.tcp_client("tests").await?;
        earlier.readers().await?;
        let (begin, handshakes, mut floods) = (Instant::now(), Arc::new(AtomicU32::new(0)), JoinSet::new());
        let (address, file) = (broker.tcp_address()?, broker.token_file("tests"));
        for _ in 0..8 {
            let (handshakes, address, file) = (Arc::clone(&handshakes), address.clone(), file.clone());
            floods.spawn(async move {
                while begin.elapsed() < 2 * TIME {
                    let made = timeout(LONG, tls::stream(&address, &file, &[b"h2"])).await;
                    handshakes.fetch_add(u32::from(matches!(made, Ok(Ok(_)))), Ordering::Relaxed);
                }
            });
        }
        sleep(TIME).await;
        // A new client with a token waits, and is served; an earlier one does not wait.
        broker.tcp_client("tests").await?.readers().await?;
        let asked = Instant::now();
        earlier.readers().await?;
        ensure!(asked.elapsed() < Duration::from_secs(1), "it waits for {:?}", asked.elapsed());
        floods.join_all().await;
        let seconds = begin.elapsed().as_secs() as u32 + 1;
        let (made, most) = (handshakes.load(Ordering::Relaxed), BURST + 40 * seconds + 50);
        writeln!(io::stderr(), "{made} handshakes in {seconds} s")?;
        ensure!(made <= most, "{made} handshakes were made, at most {most} may be");
        ensure!(broker.settled_log().contains("TCP clients are accepted slowly"), "{}", broker.settled_log());
        Ok(())
    })
}
