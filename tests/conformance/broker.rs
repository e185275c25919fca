//! The kit's broker: accepts connections, passes on the clients' messages, and sends the messages of the case.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::{SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
    task::JoinSet,
    time::{Duration, Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{LIMIT, connection::serve, status::Ending};

/// The length of the prefix of each message: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

/// A message from a client.
pub(crate) struct Received {
    /// The number of the call, counted from 0 in the order of arrival.
    pub(crate) call: usize,
    pub(crate) body: Bytes,
}

/// A call of a client.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) metadata: HeaderMap,
    respond: SendResponse<Bytes>,
    /// Present once the headers of the response are sent.
    stream: Option<SendStream<Bytes>>,
    /// How the client has ended its half of the call.
    pub(crate) end: Option<End>,
}

/// The end of a client's half of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Half-closed, which is the graceful end.
    HalfClosed,
    /// By a reset, or with the connection.
    Broken,
}

/// A client's action on a call.
pub(crate) enum Event {
    Message(Received),
    Ended(usize, End),
}

/// The state that connections and broker share: all calls, and a channel for events.
#[derive(Clone)]
pub(crate) struct Shared {
    calls: Arc<Mutex<Vec<Call>>>,
    /// The methods whose calls are answered at once, each with its response.
    served: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    events: mpsc::UnboundedSender<Event>,
}

impl Shared {
    /// Registers a new call, and returns its number.
    pub(crate) fn begin(&self, method: String, metadata: HeaderMap, respond: SendResponse<Bytes>) -> usize {
        let mut calls = self.calls();
        calls.push(Call { method, metadata, respond, stream: None, end: None });
        calls.len() - 1
    }

    /// Reports an event to the broker.
    pub(crate) fn tell(&self, event: Event) {
        // If the receiver is gone, the case is over.
        if let Event::Message(received) = &event
            && self.is_served(received).unwrap_or(true)
        {
            return;
        }
        let _ = self.events.send(event);
    }

    /// Is ready when the client has reset a call's stream, or the stream has ended otherwise.
    pub(crate) fn poll_reset(&self, number: usize, context: &mut Context<'_>) -> Poll<()> {
        match self.calls().get_mut(number) {
            Some(Call { stream: Some(stream), .. }) => stream.poll_reset(context).map(|_| ()),
            Some(call) => call.respond.poll_reset(context).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Answers a message at once if its method is served. Returns whether it is.
    fn is_served(&self, received: &Received) -> Result<bool> {
        let method = self.call(received.call, |call| call.method.clone())?;
        let response = self.served.lock().unwrap_or_else(PoisonError::into_inner).get(&method).cloned();
        let Some(response) = response else { return Ok(false) };
        self.send(received.call, &response)?;
        self.finish(received.call, Ending::ok())?;
        Ok(true)
    }

    fn call<T>(&self, number: usize, look: impl FnOnce(&mut Call) -> T) -> Result<T> {
        self.calls().get_mut(number).map(look).context("no such call")
    }

    /// Sends a message on a call.
    fn send(&self, call: usize, message: &[u8]) -> Result<()> {
        self.call(call, |call| {
            let mut frame = BytesMut::with_capacity(PREFIX + message.len());
            frame.put_u8(0);
            frame.put_u32(message.len().try_into()?);
            frame.put_slice(message);
            if call.stream.is_none() {
                call.stream = Some(call.respond.send_response(response(200)?, false)?);
            }
            let stream = call.stream.as_mut().context("the call has ended")?;
            stream.send_data(frame.freeze(), false).context("the client has ended the call")
        })?
    }

    /// Ends a call with `ending`, unless it has ended.
    fn finish(&self, call: usize, ending: Ending) -> Result<()> {
        self.call(call, |call| match (ending, &mut call.stream) {
            (Ending::Grpc(trailers), Some(stream)) => Ok(stream.send_trailers(trailers)?),
            (Ending::Grpc(trailers), None) => {
                let mut response = response(200)?;
                response.headers_mut().extend(trailers);
                call.respond.send_response(response, true)?;
                Ok(())
            }
            (Ending::Http(status), None) => {
                let mut response = response(status)?;
                response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
                call.respond.send_response(response, true)?;
                Ok(())
            }
            (Ending::Http(_), Some(_)) => bail!("the response has begun"),
        })?
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kit's side of all connections.
pub(crate) struct Broker {
    socket: PathBuf,
    shared: Shared,
    events: mpsc::UnboundedReceiver<Event>,
    /// Messages that arrived during a wait for another event.
    waiting: VecDeque<Received>,
    /// The tasks that accept connections, and own them.
    listeners: Option<JoinSet<()>>,
    connections: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Broker {
    /// Makes a broker for the Unix socket at `socket`; it does not listen yet.
    pub(crate) fn new(socket: PathBuf) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let shared = Shared { calls: Arc::default(), served: Arc::default(), events: sender };
        Self { socket, shared, events, waiting: VecDeque::new(), listeners: None, connections: Arc::default() }
    }

    /// Listens on the socket from now on.
    pub(crate) fn listen(&mut self) -> Result<()> {
        remove(&self.socket)?;
        let listener = UnixListener::bind(&self.socket).with_context(|| self.socket.display().to_string())?;
        let (shared, connections) = (self.shared.clone(), self.connections.clone());
        self.listeners.get_or_insert_default().spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.lock().await.spawn(serve(socket, shared.clone()));
            }
        });
        Ok(())
    }

    /// Listens on a TCP port of this machine, too, and returns it; with TLS if `tls` is given.
    pub(crate) async fn listen_on_tcp(&mut self, tls: Option<TlsAcceptor>) -> Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (shared, connections) = (self.shared.clone(), self.connections.clone());
        self.listeners.get_or_insert_default().spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), shared.clone());
                connections.lock().await.spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, shared).await;
                            }
                        }
                        None => serve(socket, shared).await,
                    }
                });
            }
        });
        Ok(port)
    }

    /// Stops accepting connections. With `refuse` the socket's file stays, so that connections are refused.
    pub(crate) async fn stop_listening(&mut self, refuse: bool) -> Result<()> {
        if let Some(mut listeners) = self.listeners.take() {
            listeners.shutdown().await;
        }
        if refuse {
            remove(&self.socket)?;
            drop(std::os::unix::net::UnixListener::bind(&self.socket)?);
            return Ok(());
        }
        Ok(remove(&self.socket)?)
    }

    /// Closes all connections at once.
    pub(crate) async fn close(&mut self) {
        self.connections.lock().await.shutdown().await;
    }

    /// Returns the next message of a client.
    pub(crate) async fn message(&mut self) -> Result<Received> {
        self.message_within(LIMIT).await
    }

    async fn message_within(&mut self, limit: Duration) -> Result<Received> {
        let end = Instant::now() + limit;
        if let Some(received) = self.waiting.pop_front() {
            return Ok(received);
        }
        loop {
            match timeout_at(end, self.events.recv()).await {
                Ok(Some(Event::Message(received))) => return Ok(received),
                Ok(Some(Event::Ended(call, end))) => self.set_end(call, end),
                Ok(None) | Err(_) => bail!("the client sent nothing within {} s", limit.as_secs()),
            }
        }
    }

    /// Puts a message back, to be returned next.
    pub(crate) fn unread(&mut self, message: Received) {
        self.waiting.push_front(message);
    }

    /// Waits for the client to end its half of a call, and returns how.
    pub(crate) async fn end(&mut self, call: usize) -> Result<End> {
        loop {
            if let Some(end) = self.call(call, |call| call.end)? {
                return Ok(end);
            }
            match timeout(LIMIT, self.events.recv()).await {
                Ok(Some(Event::Message(received))) => self.waiting.push_back(received),
                Ok(Some(Event::Ended(call, end))) => self.set_end(call, end),
                Ok(None) | Err(_) => bail!("the client did not end the call within {} s", LIMIT.as_secs()),
            }
        }
    }

    /// Waits for a time in which the client must send nothing.
    pub(crate) async fn silence(&mut self, time: Duration) -> Result<()> {
        match self.message_within(time).await {
            Ok(received) => bail!("the client called {}", self.call(received.call, |call| call.method.clone())?),
            Err(_) => Ok(()),
        }
    }

    /// Calls `look` with a call.
    pub(crate) fn call<T>(&self, number: usize, look: impl FnOnce(&mut Call) -> T) -> Result<T> {
        self.shared.call(number, look)
    }

    /// Returns the number of the latest call of a method, or of any.
    pub(crate) fn latest(&self, method: Option<&str>) -> Option<usize> {
        let calls = self.shared.calls();
        calls.iter().rposition(|call| method.is_none_or(|method| call.method == method))
    }

    /// Sends a message on a call.
    pub(crate) fn send(&self, call: usize, message: &[u8]) -> Result<()> {
        self.shared.send(call, message)
    }

    /// Ends a call with `ending`.
    pub(crate) fn finish(&self, call: usize, ending: Ending) -> Result<()> {
        self.shared.finish(call, ending)
    }

    /// From now on, answers each call of a method with this message at once. No other step sees the call.
    pub(crate) fn serve(&self, method: &str, response: Vec<u8>) {
        let mut served = self.shared.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(method.to_owned(), response);
    }

    fn set_end(&self, call: usize, end: End) {
        let _ = self.call(call, |call| call.end = Some(end));
    }
}

fn remove(socket: &Path) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn response(status: u16) -> Result<Response<()>> {
    Ok(Response::builder().status(status).header("content-type", "application/grpc").body(())?)
}
