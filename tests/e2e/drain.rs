//! The daemon's shutdown: units end, all other requests fail, cards are released, and nothing can block it.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::Context;
use cardbroker_client::{Error, ReaderState, Transmitted};
use cardbroker_core::slot::Protocol;
use cardbroker_proto::v1::{CardRequirement, ListReadersRequest, TransmitRequest, TurnOptions};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    programs::Program,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::{
    wire::{channel, next, request, stub, told, watch},
    world::{COUNT, INCREMENT, LONG, PcscWorld, READER, Stage, answers, slow, tell, unit, wait_for},
};

const STOPPING: &str = "Unavailable SHUTTING_DOWN not_sent";

type Unit = JoinHandle<Result<Transmitted, Error>>;

#[test]
fn sigterm_drains_simulated_readers() -> anyhow::Result<()> {
    tell(async { drain(Stage::simulated(Protocol::T1).await?, Signal::TERM).await })
}

#[test]
fn sigint_drains_simulated_readers() -> anyhow::Result<()> {
    tell(async { drain(Stage::simulated(Protocol::T0).await?, Signal::INT).await })
}

#[test]
fn sigterm_drains_readers_of_pcsc() -> anyhow::Result<()> {
    tell(async { drain(Stage::pcsc(Protocol::T1).await?, Signal::TERM).await })
}

async fn drain(mut stage: Stage, signal: Signal) -> anyhow::Result<()> {
    let stub = stub(&stage.broker).await?;
    let mut messages = watch(&mut stub.clone()).await?;
    let client = stage.broker.client().await?;
    let under_way: Unit = tokio::spawn(unit(&client, stage.reader, &[INCREMENT, &slow(2000), INCREMENT]).send());
    stage.until_busy().await?;
    let waiting = |card: CardRequirement| {
        let turn = TurnOptions { card: card.into(), ..TurnOptions::default() };
        let request = TransmitRequest { turn: Some(turn), ..request(stage.reader, &[INCREMENT]) };
        let mut stub = stub.clone();
        tokio::spawn(async move { stub.transmit(request).await.map(drop) })
    };
    let waiting = [waiting(CardRequirement::Required), waiting(CardRequirement::Awaited)];
    // On the same connection, so it arrives after them.
    stub.clone().list_readers(ListReadersRequest {}).await?;

    stage.broker.signal(signal)?;
    let end = loop {
        match timeout(LONG, messages.message()).await? {
            Ok(message) => assert!(message.is_some(), "the watch ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(told(&end), STOPPING);
    for waiting in waiting {
        let status = timeout(LONG, waiting).await??.expect_err("it was not refused");
        assert_eq!(told(&status), STOPPING);
        assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
    }
    let socket = stage.broker.socket();
    let refused = async {
        while UnixStream::connect(&socket).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, refused).await.context("new connections are still taken")?;
    assert!(!under_way.is_finished(), "all of this must happen while a unit runs");

    let answered = answers(&under_way.await??);
    assert_eq!(answered, ["00000001 9000", "9000", "00000002 9000"], "and no waiting request in between");
    assert_eq!(stage.broker.wait()?.code(), Some(0));
    assert!(!socket.exists(), "the socket is still there");
    Ok(())
}

#[test]
fn after_the_drain_other_programs_have_the_card() -> anyhow::Result<()> {
    tell(async {
        let mut world = PcscWorld::usual().await?;
        let client = world.broker.client().await?;
        unit(&client, READER, &[INCREMENT]).send().await?;
        assert_eq!(world.broker.stop()?.code(), Some(0));
        let arguments = [&world.pcscd.reader_name(0), "--send", COUNT];
        let mut direct = Program::start(env!("CARGO_BIN_EXE_direct-pcsc"), &world.pcscd, &arguments)?;
        assert_eq!(direct.report()?, json!(["000000029000"]), "the same card, and nobody else sent anything");
        drop(client);
        Ok(())
    })
}

/// A broker with that grace period, in the middle of a command of half a minute.
async fn busy_broker(grace: &str) -> anyhow::Result<(Broker, Unit)> {
    let broker = Setup::simulated(1)?.flag(&format!("--grace={grace}")).start()?;
    let client = broker.client().await?;
    let reader = "readers/simulated-reader-00";
    wait_for(&broker, reader, ReaderState::Ready).await?;
    let endless = tokio::spawn(unit(&client, reader, &[&slow(30_000)]).send());
    let busy = async { while unit(&client, reader, &[COUNT]).wait_timeout(Duration::ZERO).send().await.is_ok() {} };
    timeout(LONG, busy).await?;
    Ok((broker, endless))
}

#[test]
fn a_command_beyond_the_grace_period_is_abandoned() -> anyhow::Result<()> {
    tell(async {
        let (mut broker, endless) = busy_broker("300ms").await?;
        let asked = Instant::now();
        broker.signal(Signal::TERM)?;
        let error = timeout(LONG, endless).await??.expect_err("it was answered");
        assert_eq!(crate::world::told(&error), "no reason unknown");
        assert_eq!(broker.wait()?.code(), Some(6));
        assert!(asked.elapsed() > Duration::from_millis(300));
        assert!(broker.log().contains("stopped while a command was still running"));
        Ok(())
    })
}

#[test]
fn a_second_signal_ends_the_grace() -> anyhow::Result<()> {
    tell(async {
        let (mut broker, endless) = busy_broker("5m").await?;
        broker.signal(Signal::TERM)?;
        let draining = async {
            while !broker.log().contains("stopping") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, draining).await?;
        broker.signal(Signal::INT)?;
        assert_eq!(broker.wait()?.code(), Some(6));
        assert_eq!(crate::world::told(&endless.await?.expect_err("it was answered")), "no reason unknown");
        Ok(())
    })
}

#[test]
fn a_health_watch_sees_and_does_not_delay_the_drain() -> anyhow::Result<()> {
    tell(async {
        // Longer than the end of the broker is waited for.
        let mut broker = Setup::simulated(1)?.flag("--grace=5m").start()?;
        let mut health = HealthClient::new(channel(&broker).await?);
        let service = "cardbroker.v1.CardBrokerService".into();
        let mut messages = timeout(LONG, health.watch(HealthCheckRequest { service })).await??.into_inner();
        assert_eq!(next(&mut messages).await?.status(), ServingStatus::Serving);
        broker.signal(Signal::TERM)?;
        assert_eq!(next(&mut messages).await?.status(), ServingStatus::NotServing);
        assert_eq!(broker.wait()?.code(), Some(0));
        Ok(())
    })
}
