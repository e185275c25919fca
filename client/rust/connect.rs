//! The connection to the broker, and the calls that need no state besides it.

use std::{env, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use cardbroker_local::socket::Place;
use cardbroker_proto::{
    GROUP_METADATA, GROUP_VARIABLE, TOKEN_FILE_VARIABLE,
    v1::{GetBrokerRequest, GetReaderRequest, ListReadersRequest},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};
use tower::util::Either;

use crate::{
    Broker, Endpoint, Error, OpenSession, Reader, ReaderName, Transmit, Watch, WatchTurn,
    diagnostics::Diagnostics,
    local,
    query::Stub,
    route::{self, Route},
    tcp::Credentials,
    token::TOKEN_METADATA,
};

/// The maximum length of an isolation group's key, in bytes.
const MAX_GROUP_BYTES: usize = 128;

/// A connection to the broker. Clones are cheap and share it; after a loss the next call connects again.
///
/// Methods that take a reader accept a [`Reader`], its name, its id or its display name; see [`ReaderName`].
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    /// The default place of the endpoint; `None` if somebody named it.
    place: Option<Place>,
    route: Route,
    group: Option<MetadataValue<Ascii>>,
    /// The token file, read again for each call: the token in it may be replaced.
    credentials: Option<Arc<Credentials>>,
    connect_timeout: Duration,
}

/// Settings of the connection. Not printable: the key of the isolation group is a secret.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The key of the isolation group, 1–128 visible ASCII characters; `None` for a group of this process alone.
    pub group: Option<String>,
    /// The file with the token and the certificate for the broker's TCP port, readable by this user only. Read again
    /// for each call and each connection, and not at all on a Unix socket or with [`Endpoint::Auto`].
    pub token_file: Option<PathBuf>,
    /// How long to wait for a broker that does not answer yet, when connecting and at every later call. Default: 5 s;
    /// zero means one attempt, which gets 1 s. If this user may not open the socket, there is no wait.
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
    /// Connects to the broker of the environment, with the options from there; see [`Client::find`].
    ///
    /// # Errors
    /// The errors of [`Client::find`].
    pub async fn connect_default() -> Result<Self, Error> {
        Self::find(ConnectOptions::from_environment()).await
    }

    /// Connects with these options to the broker at the endpoint in the environment, or else at the first default place
    /// that works: the user's socket, then the system's. The client stays with it: later connections go there, too.
    ///
    /// A default place is trusted only if no user besides this one and root decides what is there; no process of
    /// another user is sent anything.
    ///
    /// # Errors
    /// The errors of [`Client::connect_with`], and [`Error::Endpoint`]. An untrusted place, or one that this user may
    /// not open, ends the search.
    pub async fn find(options: ConnectOptions) -> Result<Self, Error> {
        match Endpoint::from_environment()? {
            Some(endpoint) => Self::connect_with(endpoint, options).await,
            None => Self::open(None, options).await,
        }
    }

    /// Connects to the broker at `endpoint`, with the options from the environment.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers within 5 s; [`Error::TokenFile`].
    pub async fn connect(endpoint: Endpoint) -> Result<Self, Error> {
        Self::connect_with(endpoint, ConnectOptions::from_environment()).await
    }

    /// Connects to the broker at `endpoint` with these options.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time; [`Error::Invalid`] if the group is not 1–128 visible ASCII
    /// characters; [`Error::TokenFile`] if the token is needed and cannot be read, here or at any later call.
    pub async fn connect_with(endpoint: Endpoint, options: ConnectOptions) -> Result<Self, Error> {
        Self::open(Some(endpoint), options).await
    }

    async fn open(named: Option<Endpoint>, options: ConnectOptions) -> Result<Self, Error> {
        let group = options.group.as_deref().map(group_metadata).transpose()?;
        let credentials = Credentials::of(named.as_ref(), options.token_file)?;
        let (endpoint, place, route) = route::open(named, credentials.as_ref(), options.connect_timeout).await?;
        Ok(Self { endpoint, place, route, group, credentials, connect_timeout: options.connect_timeout })
    }

    /// The endpoint that this client connects to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The port to which [`Endpoint::Auto`] has led, at the latest connection; `None` with other endpoints.
    pub async fn auto_port(&self) -> Option<SocketAddr> {
        match &self.route {
            Either::Left(_) => None,
            Either::Right(channel) => channel.address().await,
        }
    }

    /// The system's broker, if it answers now and this client has found the user's own broker at a default place.
    pub fn other_broker(&self) -> Option<Endpoint> {
        let is_own = self.place.as_ref().is_some_and(|place| place.is_own);
        if is_own { local::system_broker() } else { None }
    }

    /// Returns the broker's version, limits, and view of this program. Joins the isolation group.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time, otherwise [`Error::Failed`].
    pub async fn broker(&self) -> Result<Broker, Error> {
        let call = |mut stub: Stub, request| async move { stub.get_broker(request).await };
        Ok(self.query(GetBrokerRequest {}, call).await?.into())
    }

    /// Lists all readers that this program may see, ordered by name.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time, otherwise [`Error::Failed`].
    pub async fn readers(&self) -> Result<Vec<Reader>, Error> {
        let call = |mut stub: Stub, request| async move { stub.list_readers(request).await };
        Ok(self.query(ListReadersRequest {}, call).await?.readers)
    }

    /// Returns one reader in its current state.
    ///
    /// # Errors
    /// The errors of [`Client::readers`]; [`Error::Invalid`] if no reader or several have this display name.
    pub async fn reader(&self, reader: impl Into<ReaderName>) -> Result<Reader, Error> {
        // Boxed: otherwise the future of `resolve`, which may list the readers, would be part of this one.
        let name = Box::pin(reader.into().resolve(self)).await?;
        let call = |mut stub: Stub, request| async move { stub.get_reader(request).await };
        Ok(self.query(GetReaderRequest { name }, call).await?.reader.unwrap_or_default())
    }

    /// Builds a unit of commands for a reader; it runs at [`Transmit::send`].
    pub fn transmit(&self, reader: impl Into<ReaderName>) -> Transmit {
        Transmit::new(self.clone(), reader.into())
    }

    /// Builds a session with the card in a reader; it begins at [`OpenSession::open`].
    pub fn open_session(&self, reader: impl Into<ReaderName>) -> OpenSession {
        OpenSession::new(self.clone(), reader.into())
    }

    /// Watches this program's own waiting requests.
    pub fn watch_turn(&self) -> WatchTurn {
        WatchTurn::new(self.clone())
    }

    /// Watches all readers, and reconnects after a loss of the connection.
    pub fn watch(&self) -> Watch {
        Watch::new(self.clone())
    }

    /// Returns the calls for operators: the broker from inside, traces, and interventions.
    pub fn diagnostics(&self) -> Diagnostics {
        Diagnostics::new(self.clone())
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) fn route(&self) -> Route {
        self.route.clone()
    }

    /// Builds a request with the metadata of every call.
    ///
    /// # Errors
    /// [`Error::TokenFile`] if the token is needed and cannot be read.
    pub(crate) fn request<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        if let Some(group) = &self.group {
            request.metadata_mut().insert(GROUP_METADATA, group.clone());
        }
        if let Some(credentials) = &self.credentials {
            request.metadata_mut().insert(TOKEN_METADATA, credentials.read()?.token.metadata());
        }
        Ok(request)
    }
}

fn group_metadata(key: &str) -> Result<MetadataValue<Ascii>, Error> {
    let invalid = || Error::invalid(GROUP_METADATA, "the isolation group is not 1–128 visible ASCII characters");
    if key.is_empty() || key.len() > MAX_GROUP_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid());
    }
    let mut group = MetadataValue::try_from(key).map_err(|_| invalid())?;
    group.set_sensitive(true);
    Ok(group)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_group_is_1_to_128_visible_ascii_characters() {
        assert!(["x", "team-7", &"x".repeat(128)].into_iter().all(|key| group_metadata(key).is_ok()));
        for key in ["", "two words", " x", "x\n", "gr\u{fc}n", &"x".repeat(129)] {
            let Err(error @ Error::Invalid(_)) = group_metadata(key) else { panic!("{key:?}") };
            assert_eq!(error.field_violations()[0].field, GROUP_METADATA);
        }
    }

    #[tokio::test]
    async fn a_token_that_is_replaced_counts_from_the_next_call() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("token");
        let put = |token: &str, mode| {
            fs::write(&path, token).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put("one", 0o600);
        let endpoint = Endpoint::PlainTcp { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let options = ConnectOptions { token_file: Some(path.clone()), ..ConnectOptions::default() };
        let client = Client::connect_with(endpoint, options).await.unwrap();
        let token = || client.request(()).map(|request| request.metadata().get(TOKEN_METADATA).cloned().unwrap());
        assert_eq!(token().unwrap(), "Bearer one");
        put("two", 0o600);
        assert_eq!(token().unwrap(), "Bearer two");
        put("three", 0o644);
        assert!(matches!(token(), Err(Error::TokenFile(_))));
    }
}
