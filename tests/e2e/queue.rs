//! The queue from outside: its limits, and its unit of account, the caller.

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_proto::v1::{TransmitRequest, TransmitResponse};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::{self, cardbroker},
};
use prost_types::Duration as WireDuration;
use tokio::{task::JoinHandle, time::timeout};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    wire::{Stub, request, stub, told, transmit, waiting_for},
    world::{INCREMENT, LONG, SELECT, slow, tell, wait_for},
};

const READER: &str = "readers/simulated-reader-00";

async fn broker(configuration: &str) -> anyhow::Result<Broker> {
    let broker = Setup::simulated(1)?.configuration(configuration).start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

/// Keeps the card busy for `milliseconds`, from now on; does not wait.
async fn keep_busy(stub: &Stub, milliseconds: u16) -> anyhow::Result<JoinHandle<Result<TransmitResponse, Status>>> {
    let busy = queue(stub, &slow(milliseconds));
    until_told(stub, "DeadlineExceeded QUEUE_TIMEOUT not_sent").await?;
    Ok(busy)
}

fn queue(stub: &Stub, apdu: &str) -> JoinHandle<Result<TransmitResponse, Status>> {
    let (mut stub, request) = (stub.clone(), request(READER, &[apdu]));
    tokio::spawn(async move { transmit(&mut stub, request).await })
}

/// Requests a turn now or never until the answer is as expected.
async fn until_told(stub: &Stub, expected: &str) -> anyhow::Result<Status> {
    let at_once = TransmitRequest { turn: waiting_for(Some(WireDuration::default())), ..request(READER, &[SELECT]) };
    let asking = async {
        loop {
            match transmit(&mut stub.clone(), at_once.clone()).await {
                Err(status) if told(&status) == expected => return status,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    timeout(LONG, asking).await.with_context(|| format!("never answered with {expected}"))
}

const FULL: &str = "ResourceExhausted QUEUE_FULL not_sent";

#[test]
fn a_full_queue_of_one_caller_refuses_only_that_caller() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("limits.max_waiting_per_caller = 2").await?;
        let stub = stub(&broker).await?;
        let busy = keep_busy(&stub, 2000).await?;
        let waiting = [(); 2].map(|()| queue(&stub, INCREMENT));
        let status = until_told(&stub, FULL).await?;
        assert!(status.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()), "{status:?}");
        assert!(status.message().contains("this caller already has 2 requests waiting"), "{status:?}");
        // Another process is another caller: its requests may still wait, although in vain.
        let other = broker.cardbroker(&["transmit", READER, INCREMENT, "--wait-timeout", "1ms"])?;
        assert_eq!(other.code, Some(7), "{other:?}");
        assert!(!busy.is_finished(), "the refusal came too late to show that it came at once");
        busy.await??;
        for waiting in waiting {
            waiting.await??;
        }
        Ok(())
    })
}

#[test]
fn a_user_has_at_most_a_quarter_of_the_places_of_a_reader() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("limits.max_waiting_per_reader = 8").await?;
        let stub = stub(&broker).await?;
        let busy = keep_busy(&stub, 2000).await?;
        let waiting = [(); 2].map(|()| queue(&stub, INCREMENT));
        let status = until_told(&stub, FULL).await?;
        assert!(status.message().contains("this user already has 2 requests waiting"), "{status:?}");
        let other = broker.cardbroker(&["transmit", READER, INCREMENT])?;
        assert_eq!((other.code, other.err.contains("(try again in ")), (Some(1), true), "{other:?}");
        assert!(!busy.is_finished(), "the refusal came too late to show that it came at once");
        for answered in waiting.into_iter().chain([busy]) {
            answered.await??;
        }
        Ok(())
    })
}

#[test]
fn connections_of_one_process_share_its_turns() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("limits.max_waiting_per_reader = 12").await?;
        let (first, second) = (stub(&broker).await?, stub(&broker).await?);
        let busy = keep_busy(&first, 3000).await?;
        let mine = [queue(&first, INCREMENT), queue(&second, INCREMENT)];
        let mut other = cardbroker(&broker.endpoint(), &["transmit", READER, INCREMENT])?;
        let other = tokio::task::spawn_blocking(move || run::run(&mut other));
        // All three wait as soon as the queue is full.
        until_told(&first, FULL).await?;
        assert!(!busy.is_finished(), "the other process came too late to wait");
        busy.await??;
        assert_eq!(
            other.await??.out,
            "00000002 9000\n",
            "one of ours comes first, because our group holds the card: the other process comes before the second"
        );
        for mine in mine {
            mine.await??;
        }
        Ok(())
    })
}
