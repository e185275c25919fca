//! Endpoints: the address of a broker, and its text form.

use std::{env, fmt, net::IpAddr, path::PathBuf, str::FromStr};

use cardbroker_local::socket::{local_endpoint, pipe_path};
use cardbroker_proto::ENDPOINT_VARIABLE;
use tonic::transport::Uri;

use crate::local;

/// The address of a broker. Written `unix:/path`, `unix:///path`, `https://HOST:PORT` or `tcp:auto`, or for plain TCP
/// `http://HOST:PORT`. The host is `localhost` or an IP address; for plain TCP one of loopback. On Windows a named pipe
/// is written `npipe:////./pipe/NAME` or `\\.\pipe\NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// A named pipe of Windows on this machine, by its path `\\.\pipe\NAME`.
    Pipe(PathBuf),
    /// A TCP port, with TLS.
    Tcp {
        /// `localhost`, which means 127.0.0.1, an IPv4 address, or an IPv6 one in brackets. No name is resolved.
        host: String,
        /// The port number in the URL.
        port: u16,
    },
    /// A TCP port on this machine, without TLS: a program that takes or relays the port reads tokens and PINs.
    PlainTcp {
        /// The same as of [`Endpoint::Tcp`], on loopback.
        host: String,
        /// The port number in the URL.
        port: u16,
    },
    /// The port of this user's broker that was started with `--tcp auto`, with TLS. Port, certificate and token are in
    /// a file that only this user can read, `endpoint.json` beside the default socket; it is read for each connection.
    Auto,
}

/// The only text of [`Endpoint::Auto`], without a path or a port.
const AUTO: &str = "tcp:auto";

/// The form of a local endpoint.
const LOCAL_FORM: &str = if cfg!(windows) { "npipe:////./pipe/NAME" } else { "unix:/path" };

/// The error for a text that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an endpoint: use {form}, https://127.0.0.1:port or tcp:auto", form = LOCAL_FORM)]
pub struct EndpointError(String);

impl Endpoint {
    /// Returns the endpoint in the variable `CARDBROKER_ENDPOINT`; `None` if the variable is unset or empty.
    ///
    /// # Errors
    /// [`EndpointError`] if the variable does not hold an endpoint.
    pub fn from_environment() -> Result<Option<Self>, EndpointError> {
        match env::var_os(ENDPOINT_VARIABLE) {
            Some(text) if !text.is_empty() => text.to_string_lossy().parse().map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the default places in the order in which [`Client::find`](crate::Client::find) tries them.
    pub fn defaults() -> Vec<Self> {
        local::defaults()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let endpoint = match text.strip_prefix("unix:") {
            Some(path) => unix(path),
            None if text == AUTO => Some(Endpoint::Auto),
            None if cfg!(windows) => pipe_path(text).map(Endpoint::Pipe).or_else(|| tcp(text)),
            None => tcp(text),
        };
        endpoint.ok_or_else(|| EndpointError(text.to_owned()))
    }
}

fn unix(path: &str) -> Option<Endpoint> {
    let path = path.strip_prefix("//").unwrap_or(path);
    (path.starts_with('/') && !path.ends_with('/')).then(|| Endpoint::Unix(path.into()))
}

fn tcp(text: &str) -> Option<Endpoint> {
    let uri: Uri = text.parse().ok()?;
    let (host, port) = (uri.host()?, uri.port_u16()?);
    let is_localhost = host == "localhost";
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let is_secure = uri.scheme_str()? == "https";
    let is_allowed = is_localhost
        || address.is_some_and(|address| match is_secure {
            true => !address.to_canonical().is_unspecified(),
            false => address.is_loopback(),
        });
    let host = host.to_owned();
    let endpoint = if is_secure { Endpoint::Tcp { host, port } } else { Endpoint::PlainTcp { host, port } };
    // Comparing with the parsed parts refuses user names, paths and queries, which would be ignored otherwise.
    (is_allowed && text.strip_suffix('/').unwrap_or(text) == endpoint.to_string()).then_some(endpoint)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Pipe(path) => formatter.write_str(&local_endpoint(path)),
            Self::Tcp { host, port } => write!(formatter, "https://{host}:{port}"),
            Self::PlainTcp { host, port } => write!(formatter, "http://{host}:{port}"),
            Self::Auto => formatter.write_str(AUTO),
        }
    }
}
