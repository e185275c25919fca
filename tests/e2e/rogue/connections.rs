//! Floods by many connections: one after the other, and side by side.

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
    http2::{END_STREAM, GREETING, HEADERS, call, headers},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::floods::refused;
use crate::{
    wire::stub,
    world::{LONG, tell},
};

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
