//! Proxies between clients and the broker: whatever calls they repeat, no unit runs twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use cardbroker_client::{Client, Delivery, ErrorReason, ReaderState, Transmit};
use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
use cardbroker_tests::harness::{
    nginx::Nginx,
    proxy::{Manner, Proxy},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Code;

use crate::{
    wire::{self, request, stub},
    world::{INCREMENT, LONG, PcscWorld, READER, Stage, answers, fault, seed, slow, tell, told, unit, wait_for},
};

const CLIENTS: u64 = 5;
const TASKS: u64 = 4;
const UNITS: u64 = 100;
/// All units of the story whose connections are killed.
const ALL: u64 = CLIENTS * TASKS * UNITS;

/// Envoy's list for `retry_on`, and ABORTED.
const RETRIED: &[Code] = &[
    Code::Cancelled,
    Code::DeadlineExceeded,
    Code::Internal,
    Code::ResourceExhausted,
    Code::Unavailable,
    Code::Aborted,
];
const RETRIES: u32 = 5;

/// The number of times that each fault below the broker occurs.
const ROUNDS: usize = 2;

#[test]
fn units_on_killed_connections_run_once() -> anyhow::Result<()> {
    tell(async {
        // The same seed gives the same random numbers, though not to the same calls.
        let seed = seed()?;
        let stage = Stage::simulated_with(Protocol::T1, "limits.max_outcomes_per_user = 4000").await?;
        let proxy = Proxy::start(stage.broker.socket(), Manner::Resend { seed })?;
        let insertion = stage.client.reader(stage.reader).await?.insertion_id;
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let connection = proxy.client().await?;
            for task in 0..TASKS {
                let unit = unit(&connection, stage.reader, &[INCREMENT]).if_insertion_id(insertion.clone());
                tasks.spawn(outcomes(unit.repeatable(), (client * TASKS + task) * UNITS));
            }
        }
        let (mut values, mut repeats) = (BTreeSet::new(), 0);
        while let Some(task) = tasks.join_next().await {
            let (known, repeated) = task??;
            values.extend(known);
            repeats += repeated;
        }
        writeln!(io::stderr(), "{ALL} units, {repeats} repeated by the caller, {:?}", proxy.counts())?;
        assert!(
            values.into_iter().eq((1..=ALL).map(|value| format!("{value:08X} 9000"))),
            "outcomes are lost or shared"
        );
        assert_eq!(stage.run(&[INCREMENT]).await?, [format!("{:08X} 9000", ALL + 1)], "the card's counter");
        assert!(proxy.count("killed: ") > ALL / 8 && proxy.count("sent again") > 0, "{:?}", proxy.counts());
        Ok(())
    })
}

/// Runs units, numbered from `first`, until the outcome of each is known. Returns the outcomes, and how often the
/// client's own repeats were too few and the unit was sent once more.
async fn outcomes(unit: Transmit, first: u64) -> anyhow::Result<(Vec<String>, u32)> {
    let (mut known, mut repeats) = (Vec::new(), 0);
    for number in first..first + UNITS {
        let id = [number.to_be_bytes(), [0xA5; 8]].concat();
        loop {
            match unit.clone().request_id(id.clone()).send().await {
                Ok(outcome) => {
                    known.extend(answers(&outcome));
                    break;
                }
                Err(error) => {
                    // NOT_SENT: a query before the unit was lost three times.
                    ensure!(error.delivery() != Delivery::Executed && error.reason().is_none(), "{error:?}");
                    repeats += 1;
                }
            }
        }
    }
    Ok((known, repeats))
}

#[test]
fn faults_run_nothing_twice_behind_a_retrying_proxy() -> anyhow::Result<()> {
    tell(async {
        let mut world = faulty_world().await?;
        let proxy = Proxy::start(world.broker.socket(), Manner::Retry(RETRIED, RETRIES))?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS + 1 {
            clients.push(proxy.client().await?);
        }
        under_faults(&mut world, clients).await?;
        writeln!(io::stderr(), "{:?}", proxy.counts())?;
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Aborted] {
            assert!(proxy.count(&format!("retried: {code:?}")) > 0, "{code:?}: {:?}", proxy.counts());
        }
        Ok(())
    })
}

#[test]
fn faults_run_nothing_twice_behind_nginx() -> anyhow::Result<()> {
    tell(async {
        let mut world = faulty_world().await?;
        let nginx = Nginx::start(&world.broker.socket(), "")?;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS + 1 {
            clients.push(nginx.client().await?);
        }
        under_faults(&mut world, clients).await?;
        writeln!(io::stderr(), "nginx: {:?} calls and those sent again", nginx.calls()?)?;
        Ok(())
    })
}

/// A world where a command may take 1 s, and a queue is soon full.
async fn faulty_world() -> anyhow::Result<PcscWorld> {
    let configuration = "limits.max_waiting_per_caller = 4\n[[reader]]\nmatch = \".*\"\nexchange_timeout = \"1s\"\n";
    PcscWorld::new(configuration, CardOptions::default()).await
}

/// Has every client run units, each with a command of its own, while the card, its driver and pcscd fail; then compares
/// the outcomes with the commands that the cards have received.
async fn under_faults(world: &mut PcscWorld, clients: Vec<Client>) -> anyhow::Result<()> {
    let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(0)));
    let mut workers = JoinSet::new();
    for client in clients {
        workers.spawn(work(client, Arc::clone(&number), Arc::clone(&stop)));
    }
    for _ in 0..ROUNDS {
        for what in 0..6 {
            let before = world.card.commands_seen();
            ensure!(world.card.wait_until(LONG, |seen| seen.commands > before + 50), "no load before fault {what}");
            fail(world, what).await?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = BTreeMap::new();
    while let Some(worker) = workers.join_next().await {
        outcomes.extend(worker??);
    }
    // Queued behind the requests still in progress.
    unit(&world.broker.client().await?, READER, &[&slow(0)]).wait_for_card().send().await?;

    let mut runs: BTreeMap<u16, u32> = BTreeMap::new();
    for header in world.card.seen().headers {
        if let [0x80, 0x12, high, low] = header {
            *runs.entry(u16::from_be_bytes([high, low])).or_default() += 1;
        }
    }
    let mut tally: BTreeMap<String, u32> = BTreeMap::new();
    for (number, (delivery, words)) in &outcomes {
        let ran = runs.get(number).copied().unwrap_or_default();
        let may_run = match delivery {
            None => 1..=1,
            Some(Delivery::NotSent) => 0..=0,
            Some(_) => 0..=1,
        };
        assert!(may_run.contains(&ran), "unit {number} ran {ran} times, and its client got: {words}");
        *tally.entry(format!("{words}, ran {ran}")).or_default() += 1;
    }
    writeln!(io::stderr(), "{} units: {tally:#?}", outcomes.len())?;
    assert!(runs.keys().all(|number| outcomes.contains_key(number)));
    let count = |wished: Option<Delivery>| outcomes.values().filter(|(delivery, _)| *delivery == wished).count();
    assert!(count(None) > 100 && count(Some(Delivery::NotSent)) > 0, "{tally:?}");
    assert!(count(Some(Delivery::Unknown)) >= 4 * ROUNDS, "the faults hit no command: {tally:?}");
    Ok(())
}

/// The final outcome of one unit for its client: the delivery (none if it was answered), and the whole as text.
type Told = (Option<Delivery>, String);

async fn work(client: Client, number: Arc<AtomicU16>, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<(u16, Told)>> {
    let mut outcomes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = number.fetch_add(1, Ordering::Relaxed);
        ensure!(number < u16::MAX - 100, "more units than distinguishable commands");
        // INCREMENT ignores P1 and P2.
        let unit = unit(&client, READER, &[&format!("8012{number:04X}04")]);
        let unit = match number % 8 {
            0 => unit.wait_timeout(Duration::from_millis(200)),
            1 => unit.wait_timeout(Duration::ZERO),
            2 | 3 => unit.deadline(Duration::from_millis(700)),
            4 | 5 => unit.wait_for_card(),
            6 => unit.if_insertion_id("another"),
            _ => unit,
        };
        let outcome = match unit.send().await {
            Ok(_) => (None, "answered".to_owned()),
            Err(error) => (Some(error.delivery()), told(&error)),
        };
        let pause = if outcome.0.is_some() { 20 } else { 2 };
        outcomes.push((number, outcome));
        sleep(Duration::from_millis(pause)).await;
    }
    Ok(outcomes)
}

/// Causes one fault while a unit's command is on the card, and repairs it.
async fn fail(world: &mut PcscWorld, what: usize) -> anyhow::Result<()> {
    if what == 0 {
        // Fails at once, and is a unit of its own.
        let client = world.broker.client().await?;
        let lost = unit(&client, READER, &[&fault(6, 0, 0)]).wait_timeout(LONG).send().await.unwrap_err();
        ensure!(lost.reason() == Some(ErrorReason::CardLost), "{lost:?}");
        return Ok(());
    }
    world.card.hang_next(if what == 1 { Duration::from_millis(400) } else { LONG });
    ensure!(world.card.wait_until(LONG, |seen| seen.hanging), "nothing hangs");
    let seen = async |state| wait_for(&world.broker, READER, state).await.map(drop);
    match what {
        1 => ensure!(world.card.wait_until(LONG, |seen| !seen.hanging), "it hangs for ever"),
        2 => {
            seen(ReaderState::Unresponsive).await?;
            world.card.resume();
        }
        3 => {
            world.card.pull();
            seen(ReaderState::Empty).await?;
            world.card.swap(CardOptions::default());
        }
        4 => world.card.swap(CardOptions::default()),
        _ => {
            world.pcscd.kill()?;
            seen(ReaderState::Unavailable).await?;
            world.card.resume();
            world.pcscd.restart()?;
        }
    }
    wait_for(&world.broker, READER, ReaderState::Ready).await.map(drop)
}

#[test]
fn a_unit_abandoned_by_nginx_is_repeated_and_runs_once() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let nginx = Nginx::start(&stage.broker.socket(), "grpc_read_timeout 1s;")?;
        let unit = || async { anyhow::Ok(unit(&nginx.client().await?, stage.reader, &[INCREMENT, &slow(1500)])) };
        let outcome = unit().await?.repeatable().on_any_card().send().await?;
        assert_eq!((answers(&outcome), outcome.replayed), (vec!["00000001 9000".into(), "9000".into()], true));
        // Without an id nobody repeats it: nginx never repeats a call whose request it has forwarded.
        assert_eq!(told(&unit().await?.send().await.unwrap_err()), "no reason unknown");
        assert_eq!(stage.run(&[INCREMENT]).await?, ["00000003 9000"]);
        // The client queries the lifetime of outcomes, sends the unit and its repeat; then the unit without an id.
        assert_eq!(nginx.calls()?, (4, 0));
        Ok(())
    })
}

#[test]
fn too_long_metadata_has_a_delivery_unless_http2_refuses_it() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let mut stub = stub(&stage.broker).await?;
        let mut refused = async |bytes| {
            let mut request = tonic::Request::new(request(stage.reader, &[INCREMENT]));
            request.metadata_mut().insert("baggage", "x".repeat(bytes).parse()?);
            anyhow::Ok(timeout(LONG, stub.transmit(request)).await?.unwrap_err())
        };
        assert_eq!(wire::told(&refused(20_000).await?), "InvalidArgument INVALID_REQUEST not_sent");
        let bare = refused(70_000).await?;
        assert!(wire::told(&bare).contains("without ErrorInfo") && wire::failure(&bare).is_none(), "{bare:?}");
        assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"]);
        Ok(())
    })
}
