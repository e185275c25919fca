//! The server: where the whole object graph is built, and how it is taken down again.

use std::{hash::BuildHasher, io, sync::Arc, time::Duration};

use cardbroker_proto::{DESCRIPTORS, v1::card_broker_service_server::CardBrokerServiceServer};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, service::InterceptorLayer};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder as Reflection;
use tracing::{info, warn};

use crate::{
    backend::{Backend, pcsc::Pcsc, simulated::Simulated},
    broker::{Broker, BrokerTasks},
    config::Config,
    grpc::Edge,
    listen::{BoundSocket, Peer, SocketGuard, http2_server},
};

/// How long connections may take to close once everything that they carried has ended.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// A broker that serves.
pub struct Server {
    grace: Duration,
    broker: BrokerTasks,
    health: HealthReporter,
    /// Ends accepting, and the streams that would never end by themselves.
    draining: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    socket: SocketGuard,
}

/// How the drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Every unit that had begun has ended, and every card was let go.
    Complete,
    /// A unit was still running when the grace was over.
    GraceExpired,
}

/// Why the server ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The system refused something at the start.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The contract's own description is broken.
    #[error("cannot start: reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed while serving.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The task that serves has panicked.
    #[error("serving failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The card stack that the configuration asks for.
pub fn backend(config: &Config) -> Arc<dyn Backend> {
    match config.readers.simulate {
        0 => Arc::new(Pcsc),
        count => Arc::new(Simulated::new(count)),
    }
}

impl Server {
    /// Builds everything on `backend` and serves on `bound`.
    ///
    /// # Errors
    /// [`ServerError`] if the system has no threads or descriptors to give.
    pub async fn start(config: Config, bound: BoundSocket, backend: Arc<dyn Backend>) -> Result<Self, ServerError> {
        let draining = CancellationToken::new();
        let (grace, listen, heartbeat) =
            (config.shutdown.grace, config.listen.clone(), config.watch.heartbeat_interval);

        let (broker, tasks) = Broker::start(backend, config, fresh_epoch()).await?;
        let (incoming, socket) = bound.incoming(&listen, draining.clone())?;

        let edge = Edge::new(broker, heartbeat, draining.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<CardBrokerServiceServer<Edge>>().await;
        let reflection = || Reflection::configure().register_encoded_file_descriptor_set(DESCRIPTORS);

        let router = http2_server(&listen)
            .layer(InterceptorLayer::new(note_request))
            .add_service(edge.into_service())
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        let serving = tokio::spawn(router.serve_with_incoming_shutdown(incoming, draining.clone().cancelled_owned()));
        info!(socket = %listen.socket.display(), "serving");
        Ok(Self { grace, broker: tasks, health, draining, serving, socket })
    }

    /// Serves until `stop` returns, then drains: no new work, those who wait are refused, units end, streams end, cards are let go. If
    /// `stop` returns once more, the grace is over at once.
    ///
    /// # Errors
    /// [`ServerError`] if serving ended by itself.
    pub async fn run_until(mut self, mut stop: impl AsyncFnMut()) -> Result<Drain, ServerError> {
        tokio::select! {
            ended = &mut self.serving => {
                ended??;
                return Ok(Drain::Complete);
            }
            () = stop() => {}
        }
        info!(grace_seconds = self.grace.as_secs_f64(), "stopping");
        self.health.set_not_serving::<CardBrokerServiceServer<Edge>>().await;
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.draining.cancel();
        let drain = tokio::select! {
            () = self.broker.stop() => Drain::Complete,
            () = sleep(self.grace) => Drain::GraceExpired,
            () = stop() => Drain::GraceExpired,
        };
        // A stream that is not ours, such as a health watch, may stay open for as long as its client likes.
        if timeout(CLOSE_TIME, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
        match drain {
            Drain::Complete => info!("stopped"),
            Drain::GraceExpired => warn!("stopped while a command was still running"),
        }
        drop(self.socket);
        Ok(drain)
    }
}

/// Tells the connection that it is in use.
fn note_request(request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(peer) = request.extensions().get::<Peer>() {
        peer.request_seen();
    }
    Ok(request)
}

/// A name for this run that no other run has: 64 random bits.
fn fresh_epoch() -> String {
    format!("{:016x}", std::hash::RandomState::new().hash_one(std::process::id()))
}
