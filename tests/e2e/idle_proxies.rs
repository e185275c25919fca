//! Streams that idle behind nginx with its default timeouts, which cut a call whose broker is silent for 60 s.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use cardbroker_client::{Error, Session, Transmitted, hex};
use cardbroker_proto::v1::{WatchReadersResponse, watch_readers_response::Event};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    nginx::Nginx,
};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::{
    wire::{self, Stub},
    world::{INCREMENT, LONG, answers, tell_within, told},
};

/// Set for a release: the streams idle for the whole time that the contract promises.
const LONG_TESTS: &str = "CARDBROKER_LONG_TESTS";

const READER: &str = "readers/simulated-reader-00";

/// HTTP/2's pings count as the broker's activity, too: without them only heartbeats are left.
const NO_PINGS: &str = "listen.keep_alive_interval = \"1h\"\n";
/// An nginx timeout shorter than the heartbeat interval.
const IMPATIENT: &str = "grpc_read_timeout 10s;";

/// A broker behind nginx, with an idle session and an idle watch stream.
struct Idle {
    session: Session,
    watch: Streaming<WatchReadersResponse>,
    _nginx: Nginx,
    _broker: Broker,
}

impl Idle {
    async fn start(configuration: &str, nginx: &str) -> anyhow::Result<Self> {
        let broker = Setup::simulated(1)?.configuration(configuration).start()?;
        let nginx = Nginx::start(&broker.socket(), nginx)?;
        let session = nginx.client().await?.open_session(READER).open().await?;
        let channel = wire::transport_to(&nginx.socket())?.connect().await?;
        let watch = wire::watch(&mut Stub::new(channel)).await?;
        Ok(Self { session, watch, _nginx: nginx, _broker: broker })
    }

    async fn command(&self) -> Result<Transmitted, Error> {
        self.session.transmit([hex::parse(INCREMENT).unwrap()]).send().await
    }

    /// Returns the number of heartbeats once the watch stream has been silent for a second.
    async fn heartbeats(&mut self) -> anyhow::Result<u64> {
        let mut count = 0;
        while let Ok(message) = timeout(Duration::from_secs(1), self.watch.message()).await {
            match message?.context("the stream has ended")?.event {
                Some(Event::Heartbeat(_)) => count += 1,
                Some(Event::Snapshot(_)) => {}
                other => bail!("{other:?}"),
            }
        }
        Ok(count)
    }
}

#[test]
fn streams_that_idle_behind_nginx_are_kept_by_heartbeats() -> anyhow::Result<()> {
    let idle = Duration::from_secs(if env::var_os(LONG_TESTS).is_some() { 300 } else { 75 });
    tell_within(idle + 3 * LONG, async move {
        let usual = Idle::start("", "").await?;
        let mut without_pings = Idle::start(NO_PINGS, "").await?;
        let mut silent = Idle::start(NO_PINGS, IMPATIENT).await?;
        sleep(idle).await;

        assert_eq!(answers(&usual.command().await?), ["00000001 9000"]);
        usual.session.close().await?;
        assert_eq!(answers(&without_pings.command().await?), ["00000001 9000"]);
        assert!(without_pings.heartbeats().await? >= idle.as_secs() / 30 - 1);
        without_pings.session.close().await?;

        // Control: nginx does cut, and the client's heartbeats alone do not keep a session.
        assert_eq!(told(&silent.command().await.unwrap_err()), "no reason not_sent");
        assert!(silent.heartbeats().await.is_err());
        Ok(())
    })
}
