//! The server: builds the whole object graph, serves, and shuts everything down again.

mod fit;
mod preparation;
mod reload;
mod status_line;

use std::{future::pending, io, mem, path::PathBuf, sync::Arc, time::Duration};

use cardbroker_local::socket::local_endpoint;
use cardbroker_proto::{DESCRIPTORS, v1::card_broker_service_server::CardBrokerServiceServer};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder as Reflection;
use tracing::{error, info, warn};

use crate::{
    backend::Backend,
    broker::{Broker, BrokerTasks},
    caller::{
        own_token::Credentials,
        tokens::{Tokens, TokensError},
    },
    config::{Config, ConfigError, ConfigInForce, ReloadAsker, ReloadRequests},
    grpc::{AuthenticationLayer, Diagnostics, Doors, Edge, IntakeLayer, OpenHealth, RunFacts},
    listen::{Bound, ConnectionCount, ListenGuard, SocketLoss, gone, http2_server, system_broker},
    pcsclite::{self, Door},
    policy::audit::{AuditCounts, AuditTrail},
    process::{service_manager::ServiceManager, signals::Signal, telemetry::LogControl},
};

use self::reload::{ReloadEvent, Reloads};
pub use self::{
    fit::unfit_lines,
    preparation::{announce, backend, load_tokens, policy, policy_to_explain, runtime},
};

/// How long connections may take to close after their last call has ended.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// A broker that accepts and answers requests.
pub struct Server {
    /// The configuration at the start, without its rules. A reload is compared with it and does not replace it.
    config: Config,
    /// The configuration file in force and the last reload, for operators. Each reload writes it.
    config_in_force: watch::Sender<ConfigInForce>,
    /// The operators' requests for reloads. [`Server::run`] takes them; the gRPC edge has the other end.
    reload_requests: ReloadRequests,
    /// The tokens in force. Each request on TCP is checked against them; a reload replaces them.
    tokens: watch::Sender<Tokens>,
    /// Why no token was valid at the start; taken by [`Server::run`].
    tokens_problem: Option<TokensError>,
    /// The broker, to which a reload gives the new policy. The gRPC edge has a clone.
    broker: Broker,
    /// The broker's tasks. [`Server::run`] ends when one fails; the drain stops them.
    tasks: BrokerTasks,
    /// Emits coalesced audit records, the last of them when it is dropped.
    counts: AuditCounts,
    /// The status that the gRPC health service shows: serving, and not serving from the beginning of the drain.
    health: HealthReporter,
    /// Cancelled by the drain. Ends the accept loops, and the streams without an end of their own.
    draining: CancellationToken,
    /// The task that serves gRPC. It ends after `draining`, or earlier by a failure of the transport.
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    /// The open connections, for the status line.
    connections: ConnectionCount,
    /// The door for PC/SC programs, if it is open.
    door: Option<Door>,
    /// The exclusive right to the socket, and the endpoint file. Dropped last, which removes both.
    listening: ListenGuard,
}

/// Whether the drain has ended before its grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Every running unit has ended, and every card was released.
    Complete,
    /// A unit was still running when the grace was over.
    GraceExpired,
}

/// Why the server ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The operating system refused a step of the start.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The descriptor of the contract is invalid: a fault of the build.
    #[error("cannot start: reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed while serving.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A task or thread that the broker needs has ended, which is a fault of the broker.
    #[error("{0} has ended by itself: restart the broker and report the fault")]
    TaskEnded(&'static str),
    /// Another broker has the socket's path and its lock, for example after somebody removed the folder.
    #[error("another broker has taken {}: this one ends, because two would fight over the readers", .0.display())]
    Taken(PathBuf),
    /// This socket, which a service manager has opened, was removed or replaced.
    #[error("{}", gone(.0))]
    Gone(PathBuf),
}

impl Server {
    /// Builds everything on `backend` and serves on `bound`, over TCP for holders of one of `tokens` or of the token of
    /// `--tcp auto`. `epoch` comes from [`announce`], and `log` is that of the process if it has one.
    ///
    /// A tokens file that cannot be used costs only the holders of tokens, as at a reload: none is valid until it can,
    /// and callers on the socket are served.
    ///
    /// # Errors
    /// [`ServerError`] if the system cannot provide threads, file descriptors or random bytes.
    pub async fn start(
        mut config: Config,
        tokens: Result<Tokens, TokensError>,
        bound: Bound,
        backend: Arc<dyn Backend>,
        epoch: String,
        log: Option<LogControl>,
    ) -> Result<Self, ServerError> {
        let draining = CancellationToken::new();
        let (tokens, tokens_problem) = match tokens {
            Ok(tokens) => (tokens, None),
            Err(problem) => (Tokens::default(), Some(problem)),
        };
        let (trail, counts) = AuditTrail::start();
        let policy = policy(&mut config, &tokens);
        let (broker, tasks) = Broker::start(backend, config.clone(), policy, trail.clone(), epoch).await?;
        let tcp_address = bound.tcp_address();
        let tcp = tcp_address.map(tracing::field::display);
        let own_token = bound.own_token();
        let (incoming, door, listening) = bound.incoming(&config.listen, draining.clone())?;

        let door = door.map(|listeners| {
            Door::open(broker.clone(), listeners, pcsclite::DoorSettings::new(&config), draining.clone())
        });
        let (door, private_doors) = door.unzip();

        let heartbeat_interval = config.watch.heartbeat_interval;
        let doors = Doors::new(broker.clone(), private_doors, heartbeat_interval, draining.clone());
        let edge = Edge::new(broker.clone(), heartbeat_interval, draining.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<CardBrokerServiceServer<Edge>>().await;
        let reflection = || {
            let contract = Reflection::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
            contract.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };

        let in_force = ConfigInForce { source: config.source.clone(), last_reload: None };
        let (config_in_force, latest_config) = watch::channel(in_force);
        let scheme = if config.listen.tcp_plain { "http" } else { "https" };
        let connections = incoming.count();
        let (reloads, reload_requests) = ReloadAsker::new();
        let facts = RunFacts {
            config: latest_config,
            reloads,
            local_address: local_endpoint(&config.listen.socket),
            tcp_address: tcp_address.map(|address| format!("{scheme}://{address}")),
            connections: connections.clone(),
            over_budget: Arc::new(incoming.over_budget()),
            is_simulated: config.readers.is_simulated(),
            log,
        };
        let diagnostics = Diagnostics::new(broker.clone(), facts, heartbeat_interval, draining.clone());

        let (tokens, authentic) = watch::channel(tokens);
        let credentials = Credentials::new(authentic, own_token);
        let router = http2_server(&config.listen)
            .layer(AuthenticationLayer::new(credentials, trail, OpenHealth::new(health.clone())))
            .layer(IntakeLayer::new(Arc::new(broker.clone())))
            .add_service(edge.into_service())
            .add_service(diagnostics.into_service())
            .add_service(doors.into_service())
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        let serving = tokio::spawn(router.serve_with_incoming_shutdown(incoming, draining.clone().cancelled_owned()));
        if tcp.is_some() && config.listen.tcp_plain {
            warn!("listen.tcp_plain is on: a program that takes or relays the port reads tokens and PINs");
        }
        let pcsclite = config.pcsclite.path().map(|path| tracing::field::display(path.display()));
        info!(socket = %config.listen.socket.display(), tcp, pcsclite, "serving");
        if let Some(other) = system_broker(&config.listen.socket) {
            warn!(
                socket = %other.display(),
                "the system's broker serves, too: a reader belongs to the broker that takes it first"
            );
        }
        Ok(Self {
            config,
            config_in_force,
            reload_requests,
            tokens,
            tokens_problem,
            broker,
            tasks,
            counts,
            health,
            draining,
            serving,
            connections,
            door,
            listening,
        })
    }

    /// Serves until a stop signal, the loss of the socket to another broker, or the end of a vital task, then drains:
    /// accepts no new work, refuses the waiters, lets units and streams end, and releases the cards. A second stop ends
    /// the grace at once. On reload, by a signal or a request, `settings` reads the new configuration. Tells `manager`
    /// the state of the broker. Returns how the drain ended.
    ///
    /// # Errors
    /// [`ServerError`] if the socket was lost or a vital task has ended by itself, after the drain.
    pub async fn run(
        mut self,
        mut signal: impl AsyncFnMut() -> Signal,
        settings: impl Fn() -> Result<Config, ConfigError> + Clone + Send + 'static,
        mut manager: ServiceManager,
    ) -> Result<Drain, ServerError> {
        manager.ready(&self.status_line());
        let requests = mem::replace(&mut self.reload_requests, ReloadAsker::new().1);
        let mut reloads = Reloads::new(settings, &self.config, requests);
        if let Some(problem) = self.tokens_problem.take() {
            reloads.on_unusable_start(&problem);
        }
        let configured_grace = self.config.shutdown.grace;
        let mut grace = configured_grace;
        let failure = loop {
            tokio::select! {
                ended = &mut self.serving => break Some(match ended {
                    Ok(Err(error)) => error.into(),
                    Ok(Ok(())) | Err(_) => ServerError::TaskEnded("the task that serves"),
                }),
                loss = self.listening.lost() => break Some(match loss {
                    SocketLoss::Taken(socket) => ServerError::Taken(socket),
                    SocketLoss::Gone(socket) => ServerError::Gone(socket),
                }),
                task = self.tasks.failed() => break Some(ServerError::TaskEnded(task)),
                task = door_failed(self.door.as_mut()) => break Some(ServerError::TaskEnded(task)),
                signal = signal() => match signal {
                    stop @ (Signal::Stop | Signal::End) => {
                        grace = stop.grace(configured_grace);
                        break None;
                    }
                    Signal::Reload => {
                        manager.reloading();
                        reloads.on_signal();
                    }
                },
                event = reloads.next() => match event {
                    ReloadEvent::Asked => manager.reloading(),
                    ReloadEvent::Read(read) => {
                        if self.reload(*read, &mut reloads) {
                            manager.ready(&self.status_line());
                        }
                    }
                },
                () = status_line::due(&self.broker), if manager.listens() => manager.status(&self.status_line()),
            }
        };
        manager.stopping();
        // Its requests end now: the drain does not wait for a reading.
        drop(reloads);
        if let Some(failure) = &failure {
            error!("{failure}");
        }
        if grace < configured_grace {
            warn!("shutdown.grace is cut: Windows ends this process 5 s after the end of its console");
        }
        let drain = self.drain(grace, async || while signal().await == Signal::Reload {}).await;
        manager.finish().await;
        failure.map_or(Ok(drain), Err)
    }

    async fn drain(mut self, grace: Duration, mut stop: impl AsyncFnMut()) -> Drain {
        info!(grace_seconds = grace.as_secs_f64(), "stopping");
        self.health.set_not_serving::<CardBrokerServiceServer<Edge>>().await;
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.draining.cancel();
        let drain = tokio::select! {
            () = self.tasks.stop() => Drain::Complete,
            () = sleep(grace) => Drain::GraceExpired,
            () = stop() => Drain::GraceExpired,
        };
        // A stream of another service, such as a health watch, may stay open for as long as its client likes.
        let has_served = self.serving.is_finished() || timeout(CLOSE_TIME, &mut self.serving).await.is_ok();
        if !has_served {
            self.serving.abort();
        }
        self.listening.close(has_served).await;
        drop(self.door);
        drop(self.counts);
        match drain {
            Drain::Complete => info!("stopped"),
            Drain::GraceExpired => warn!("stopped while a command was still running"),
        }
        drop(self.listening);
        drain
    }
}

/// Waits until the door has failed, and returns the name of its task; pending without a door. Cancel-safe.
async fn door_failed(door: Option<&mut Door>) -> &'static str {
    match door {
        Some(door) => door.failed().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
