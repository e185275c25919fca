//! The tests' own proxy between clients and a broker: it speaks HTTP/2, reads gRPC's status from an answer, and repeats
//! calls like real proxies.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use cardbroker_client::{Client, Endpoint};
use h2::{RecvStream, client::SendRequest, server::SendResponse};
use http::{HeaderMap, Request, Response, request, response};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::sleep,
};
use tonic::Code;

/// The maximum number of repeats of a call whose connection was lost. One attempt in seven loses it by its own draw,
/// and some more by that of another call.
const MOST_RESENDS: u32 = 20;

/// The pause between two attempts, like Envoy's.
const PAUSE: Duration = Duration::from_millis(25);

/// The condition for repeating a call.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Repeats if the connection to the broker was lost. The proxy kills connections at random moments, drawn from
    /// `seed`.
    Resend {
        /// The seed of the random numbers.
        seed: u64,
    },
    /// Repeats an answer with one of these codes, at most so many times.
    Retry(&'static [Code], u32),
}

/// A running proxy with a Unix socket. Dropping ends it and its connections.
pub struct Proxy {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    broker: PathBuf,
    manner: Manner,
    random: Mutex<fastrand::Rng>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Proxy {
    /// Starts a proxy before the broker that listens at `broker`. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn start(broker: PathBuf, manner: Manner) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("proxy-").tempdir()?;
        let listener = UnixListener::bind(socket(folder.path()))?;
        let seed = if let Manner::Resend { seed } = manner { seed } else { 0 };
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let shared = Arc::new(Shared { broker, manner, random, counts: Mutex::default() });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { folder, shared, task })
    }

    /// A client with a connection of its own to this proxy.
    ///
    /// # Errors
    /// The proxy has ended.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(Endpoint::Unix(socket(self.folder.path()))).await?)
    }

    /// The counts of the proxy's actions: "killed" with the moment, "sent again", "retried" with the code.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of actions whose description has this beginning.
    pub fn count(&self, beginning: &str) -> u64 {
        self.counts().iter().filter(|(what, _)| what.starts_with(beginning)).map(|(_, count)| count).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("proxy.sock")
}

async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve_client(stream, Arc::clone(&shared)));
    }
}

/// The moment at which a connection is killed, relative to one attempt of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    BrokerBeforeRequest,
    BrokerInRequest,
    BrokerAfterRequest,
    BrokerAfterAnswer,
    ClientBeforeRequest,
    ClientAfterRequest,
    ClientAfterAnswer,
}

const KILLS: [Kill; 7] = [
    Kill::BrokerBeforeRequest,
    Kill::BrokerInRequest,
    Kill::BrokerAfterRequest,
    Kill::BrokerAfterAnswer,
    Kill::ClientBeforeRequest,
    Kill::ClientAfterRequest,
    Kill::ClientAfterAnswer,
];

impl Shared {
    fn note(&self, what: String) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    fn random<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One attempt in four loses a connection.
    fn next_kill(&self) -> Option<Kill> {
        let Manner::Resend { .. } = self.manner else { return None };
        let kill = self.random(|random| random.choice(KILLS).filter(|_| random.u8(..4) == 0))?;
        self.note(format!("killed: {kill:?}"));
        Some(kill)
    }

    /// A time around the end of a unit on the broker.
    fn moment(&self) -> Duration {
        Duration::from_micros(self.random(|random| random.u64(..2000)))
    }
}

/// One client's connection, and the broker connection that carries its calls.
struct Side {
    shared: Arc<Shared>,
    /// Signals that the client's connection is to be killed.
    killed: Notify,
    link: tokio::sync::Mutex<Option<Link>>,
}

#[derive(Clone)]
struct Link {
    sender: SendRequest<Bytes>,
    driver: AbortHandle,
}

async fn serve_client(stream: UnixStream, shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut client = h2::server::handshake(stream).await?;
    let side = Arc::new(Side { shared, killed: Notify::new(), link: tokio::sync::Mutex::default() });
    // They end with the connection, and so do their streams to the broker.
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            () = side.killed.notified() => return Ok(()),
            accepted = client.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let side = Arc::clone(&side);
                calls.spawn(async move { side.serve_call(request, respond).await });
            }
        }
    }
}

struct Answer {
    head: response::Parts,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Side {
    async fn serve_call(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> anyhow::Result<()> {
        let (head, body) = request.into_parts();
        let (body, _) = whole(body).await?;
        let answer = self.answer(&head, &body).await?;
        let is_over = answer.body.is_empty() && answer.trailers.is_none();
        let mut stream = respond.send_response(Response::from_parts(answer.head, ()), is_over)?;
        if !answer.body.is_empty() {
            stream.send_data(answer.body, answer.trailers.is_none())?;
        }
        Ok(answer.trailers.map_or(Ok(()), |trailers| stream.send_trailers(trailers))?)
    }

    /// The broker's answer, from the first attempt that the proxy does not repeat.
    async fn answer(&self, head: &request::Parts, body: &Bytes) -> anyhow::Result<Answer> {
        for attempt in 0.. {
            let answer = self.attempt(head, body).await;
            match (&answer, self.shared.manner) {
                (Err(_), Manner::Resend { .. }) if attempt < MOST_RESENDS => self.shared.note("sent again".into()),
                (Ok(answer), Manner::Retry(codes, times)) if attempt < times && codes.contains(&code(answer)) => {
                    self.shared.note(format!("retried: {:?}", code(answer)));
                    sleep(PAUSE).await;
                }
                _ => return answer,
            }
        }
        anyhow::bail!("no attempt is left")
    }

    async fn attempt(&self, head: &request::Parts, body: &Bytes) -> anyhow::Result<Answer> {
        let kill = self.shared.next_kill();
        let is = |moment| kill == Some(moment);
        let mut link = self.link().await?;
        if is(Kill::ClientBeforeRequest) {
            return self.kill_client().await;
        }
        if is(Kill::BrokerBeforeRequest) {
            link.driver.abort();
        }
        let (answer, mut stream) =
            link.sender.clone().ready().await?.send_request(Request::from_parts(head.clone(), ()), false)?;
        if is(Kill::BrokerInRequest) {
            stream.send_data(body.slice(..body.len() / 2), false)?;
            return self.kill_broker(&mut link).await;
        }
        stream.send_data(body.clone(), true)?;
        match kill {
            Some(Kill::BrokerAfterRequest) => return self.kill_broker(&mut link).await,
            Some(Kill::ClientAfterRequest) => return self.kill_client().await,
            _ => {}
        }
        let (head, body) = answer.await?.into_parts();
        let (body, trailers) = whole(body).await?;
        match kill {
            Some(Kill::BrokerAfterAnswer) => self.kill_broker(&mut link).await,
            Some(Kill::ClientAfterAnswer) => self.kill_client().await,
            _ => Ok(Answer { head, body, trailers }),
        }
    }

    /// The connection to the broker; a new one after a loss.
    async fn link(&self) -> anyhow::Result<Link> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| !link.driver.is_finished()) {
            return Ok(link.clone());
        }
        let stream = UnixStream::connect(&self.shared.broker).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        let link = Link { sender, driver: tokio::spawn(connection).abort_handle() };
        Ok(kept.insert(link).clone())
    }

    async fn kill_broker(&self, link: &mut Link) -> anyhow::Result<Answer> {
        sleep(self.shared.moment()).await;
        link.driver.abort();
        anyhow::bail!("killed")
    }

    /// Never returns: this call ends with the connection.
    async fn kill_client(&self) -> anyhow::Result<Answer> {
        sleep(self.shared.moment()).await;
        self.killed.notify_one();
        std::future::pending().await
    }
}

/// The code of an answer: from the trailers, or from the headers if there is nothing else.
fn code(answer: &Answer) -> Code {
    let status = answer.trailers.as_ref().unwrap_or(&answer.head.headers).get("grpc-status");
    status.map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()))
}

async fn whole(mut body: RecvStream) -> anyhow::Result<(Bytes, Option<HeaderMap>)> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.context("the stream was cut")?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
        ensure!(bytes.len() < 1 << 22, "too long");
    }
    Ok((bytes.freeze(), body.trailers().await?))
}
