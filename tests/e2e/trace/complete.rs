//! A trace is complete: a client that keeps up gets every event, a slow one the exact number of those that it missed.

use std::time::Duration;

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_proto::diagnostics::v1::{TraceRequest, diagnostics_service_client::DiagnosticsServiceClient};
use cardbroker_tests::harness::broker::Setup;
use tokio::time::timeout;

use super::{Following, READER, commands};
use crate::{
    status::at,
    wire::{diagnostics, transport},
    world::{COUNT, tell, unit, wait_for},
};

/// How long nothing happens at the end of a trace.
const SILENCE: Duration = Duration::from_secs(2);

/// The commands of a unit, and the events of its turn.
const COMMANDS: usize = 50;
const EVENTS: usize = COMMANDS + 2;

/// The units that run while their events are read: few enough for the broker to keep all events that wait.
const UNITS_AT_ONCE: usize = 20;

#[test]
fn a_client_that_keeps_up_gets_every_event_of_100_000_commands() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        let mut trace = Following::begin(&broker, TraceRequest::default()).await?;
        let (unit, mut next, mut seen) = (|| unit(&client, READER, &[COUNT; COMMANDS]).send(), None, 0);
        // 100 × 20 × 50 commands.
        for _ in 0..100 {
            let units = async {
                for _ in 0..UNITS_AT_ONCE {
                    unit().await?;
                }
                anyhow::Ok(())
            };
            let (sent, read) = tokio::join!(units, trace.until(|events| events.len() >= UNITS_AT_ONCE * EVENTS));
            sent?;
            read?;
            for event in &trace.events {
                assert_eq!(event.number, next.unwrap_or(event.number));
                next = Some(event.number + 1);
            }
            seen += commands(&trace.events).len();
            assert_eq!((trace.missed, trace.events.drain(..).len()), (0, UNITS_AT_ONCE * EVENTS));
        }
        let counters = at(&mut diagnostics(&broker).await?, READER).await?.counters.context("no counters")?;
        assert_eq!((seen, counters.command_count), (100_000, 100_000));
        Ok(())
    })
}

#[test]
fn the_gaps_of_a_slow_client_are_exact() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        // A small window, so that little waits in the client.
        let channel = transport(&broker)?.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
        let stub = DiagnosticsServiceClient::new(channel.connect().await?);
        let mut slow = Following::of(stub, TraceRequest::default()).await?;
        let many = [COUNT; 64];
        for _ in 0..300 {
            unit(&client, READER, &many).send().await?;
        }
        // The number of the next event, if it is known, and the number of all that were missed.
        let (mut next, mut total) = (None, 0);
        let mut read = async |slow: &mut Following| {
            while let Ok(read) = timeout(SILENCE, slow.read()).await {
                read?;
                let missed = std::mem::take(&mut slow.missed);
                total += missed;
                next = next.map(|next: i64| next + missed);
                for event in slow.events.drain(..) {
                    assert_eq!(event.number, next.unwrap_or(event.number));
                    next = Some(event.number + 1);
                }
            }
            anyhow::Ok((next.context("no event")?, total))
        };
        let (end, missed) = read(&mut slow).await?;
        assert!(missed > 1_000, "{missed} of 19,800 events do not fit");
        unit(&client, READER, &[COUNT]).send().await?;
        let more = "a unit of one command has three events";
        assert_eq!(read(&mut slow).await?, (end + 3, missed), "{more}");
        Ok(())
    })
}
