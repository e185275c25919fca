//! The connection to the broker, and the calls that need no more than it.

use std::{env, future::Future, io, path::PathBuf, time::Duration};

use cardbroker_proto::{
    GROUP_METADATA, GROUP_VARIABLE, TOKEN_FILE_VARIABLE,
    v1::{GetBrokerRequest, GetReaderRequest, ListReadersRequest, card_broker_service_client::CardBrokerServiceClient},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint as Transport},
};
use tower::service_fn;

use crate::{
    Broker, Endpoint, Error, OpenSession, Reader, ReaderName, Transmit, Watch, WatchTurn,
    error::connect_failure,
    repeat::{Patience, is_lost},
    token::{TOKEN_METADATA, Token},
};

/// The answer to a query is made from memory: longer means that the broker is stuck.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What one attempt to connect may take at least.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

type Stub = CardBrokerServiceClient<Channel>;

/// A connection to the broker. Clones are cheap and share it; a lost connection is made anew by the next call.
///
/// Wherever a reader is named, a [`Reader`], its name, its id or its display name will do; see [`ReaderName`].
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    channel: Channel,
    group: Option<MetadataValue<Ascii>>,
    token: Option<Token>,
    connect_timeout: Duration,
}

/// How to connect. Not printable: whoever knows the group is in it.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The isolation group, printable ASCII; `None` to be a group of one's own.
    pub group: Option<String>,
    /// The file with the token that the broker's TCP port asks for, readable by this user alone. Not looked at on a
    /// Unix socket.
    pub token_file: Option<PathBuf>,
    /// How long to wait for a broker that does not answer yet, here and at every later call. Default: 5 s; zero means
    /// one attempt. A broker that this user may not reach is not waited for.
    pub connect_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { group: None, token_file: None, connect_timeout: Duration::from_secs(5) }
    }
}

impl ConnectOptions {
    /// The defaults, with the group from the variable `CARDBROKER_GROUP` and the token file from
    /// `CARDBROKER_TOKEN_FILE` if those are set and not empty.
    pub fn from_environment() -> Self {
        let set = |variable| env::var_os(variable).filter(|value| !value.is_empty());
        Self {
            group: set(GROUP_VARIABLE).map(|group| group.to_string_lossy().into_owned()),
            token_file: set(TOKEN_FILE_VARIABLE).map(Into::into),
            ..Self::default()
        }
    }
}

impl Client {
    /// Connects to the broker where the environment says it is, or else at the default socket.
    ///
    /// # Errors
    /// As [`Client::connect`], and [`Error::Endpoint`].
    pub async fn connect_default() -> Result<Self, Error> {
        Self::connect(Endpoint::from_environment()?).await
    }

    /// Connects to the broker at `endpoint`, with the options from the environment.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if nobody answers there within 5 s; [`Error::TokenFile`].
    pub async fn connect(endpoint: Endpoint) -> Result<Self, Error> {
        Self::connect_with(endpoint, ConnectOptions::from_environment()).await
    }

    /// Connects to the broker at `endpoint`.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if nobody answers there in time; [`Error::Failed`] if the group is not printable ASCII;
    /// [`Error::TokenFile`] if the token is needed and cannot be read.
    pub async fn connect_with(endpoint: Endpoint, options: ConnectOptions) -> Result<Self, Error> {
        let group = options.group.map(MetadataValue::try_from).transpose();
        let mut group =
            group.map_err(|_| Error::invalid(GROUP_METADATA, "the isolation group is not printable ASCII"))?;
        group.iter_mut().for_each(|group: &mut MetadataValue<Ascii>| group.set_sensitive(true));
        let token = match (&endpoint, options.token_file) {
            (Endpoint::Tcp { .. }, Some(path)) => Some(Token::read(path)?),
            _ => None,
        };
        let channel = connect(&endpoint, options.connect_timeout).await?;
        Ok(Self { endpoint, channel, group, token, connect_timeout: options.connect_timeout })
    }

    /// Where the broker is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The broker, its limits, and how it sees this program. Joins the isolation group.
    ///
    /// # Errors
    /// [`Error::NotRunning`] or [`Error::Failed`].
    pub async fn broker(&self) -> Result<Broker, Error> {
        let ask = |mut stub: Stub| async move { stub.get_broker(self.query(GetBrokerRequest {})).await };
        Ok(self.ask(ask).await?.into())
    }

    /// All readers that this program may see, ordered by name.
    ///
    /// # Errors
    /// [`Error::NotRunning`] or [`Error::Failed`].
    pub async fn readers(&self) -> Result<Vec<Reader>, Error> {
        let ask = |mut stub: Stub| async move { stub.list_readers(self.query(ListReadersRequest {})).await };
        Ok(self.ask(ask).await?.readers)
    }

    /// One reader as it is now.
    ///
    /// # Errors
    /// As [`Client::readers`]; [`Error::Invalid`] if no reader or several have this display name.
    pub async fn reader(&self, reader: impl Into<ReaderName>) -> Result<Reader, Error> {
        // Boxed: `resolve` may ask for the readers, and its future would be part of its own otherwise.
        let name = &Box::pin(reader.into().resolve(self)).await?;
        let ask = |mut stub: Stub| async move {
            let request = GetReaderRequest { name: name.clone() };
            stub.get_reader(self.query(request)).await
        };
        Ok(self.ask(ask).await?.reader.unwrap_or_default())
    }

    /// A unit of commands for a reader; nothing happens before [`Transmit::send`].
    pub fn transmit(&self, reader: impl Into<ReaderName>) -> Transmit {
        Transmit::new(self.clone(), reader.into())
    }

    /// A session with the card in a reader; nothing happens before [`OpenSession::open`].
    pub fn open_session(&self, reader: impl Into<ReaderName>) -> OpenSession {
        OpenSession::new(self.clone(), reader.into())
    }

    /// Follows this program's own requests that wait for a turn.
    pub fn watch_turn(&self) -> WatchTurn {
        WatchTurn::new(self.clone())
    }

    /// Follows all readers, through losses of the connection.
    pub fn watch(&self) -> Watch {
        Watch::new(self.clone())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Asks a question that changes nothing: again and again while nobody answers, and once more where the connection
    /// was lost meanwhile.
    async fn ask<T, F>(&self, ask: impl Fn(Stub) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let patience = Patience::of(self.connect_timeout);
        let mut was_lost = false;
        loop {
            let error = match ask(self.stub()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => Error::of_query(&self.endpoint, &status),
            };
            if is_lost(&error) && !was_lost {
                was_lost = true;
                continue;
            }
            if !patience.pause(&error).await {
                return Err(error);
            }
        }
    }

    fn query<T>(&self, message: T) -> Request<T> {
        let mut request = self.request(message);
        request.set_timeout(QUERY_TIMEOUT);
        request
    }

    pub(crate) fn stub(&self) -> Stub {
        CardBrokerServiceClient::new(self.channel())
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(group) = &self.group {
            request.metadata_mut().insert(GROUP_METADATA, group.clone());
        }
        if let Some(token) = &self.token {
            request.metadata_mut().insert(TOKEN_METADATA, token.metadata());
        }
        request
    }
}

/// Waits for a broker that does not answer yet.
async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Channel, Error> {
    let patience = Patience::of(limit);
    loop {
        let error = match open(endpoint, limit.max(SHORTEST_ATTEMPT)).await {
            Ok(channel) => return Ok(channel),
            Err(error) => {
                let kind = connect_failure(&error).unwrap_or(io::ErrorKind::Other);
                Error::NotRunning { endpoint: endpoint.clone(), kind }
            }
        };
        if !patience.pause(&error).await {
            return Err(error);
        }
    }
}

async fn open(endpoint: &Endpoint, timeout: Duration) -> Result<Channel, tonic::transport::Error> {
    match endpoint {
        Endpoint::Unix(path) => {
            let path = path.clone();
            let connect = move |_| within(timeout, unix(path.clone()));
            // On a Unix socket the authority says nothing, but HTTP/2 wants a valid one.
            transport("http://localhost".to_owned())?.connect_with_connector(service_fn(connect)).await
        }
        Endpoint::Tcp { host, port } => {
            let address = format!("{host}:{port}");
            let connect = move |_| within(timeout, tcp(address.clone()));
            transport(endpoint.to_string())?.connect_with_connector(service_fn(connect)).await
        }
    }
}

fn transport(authority: String) -> Result<Transport, tonic::transport::Error> {
    let transport = Transport::from_shared(authority)?
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(transport)
}

#[cfg(unix)]
async fn unix(path: std::path::PathBuf) -> io::Result<TokioIo<tokio::net::UnixStream>> {
    tokio::net::UnixStream::connect(path).await.map(TokioIo::new)
}

#[cfg(not(unix))]
async fn unix(_: std::path::PathBuf) -> io::Result<TokioIo<TcpStream>> {
    Err(io::ErrorKind::Unsupported.into())
}

async fn tcp(address: String) -> io::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // Without it each small message waits for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn within<T>(timeout: Duration, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
