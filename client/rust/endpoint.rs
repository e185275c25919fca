//! Endpoints: the address of a broker, and its text form.

use std::{env, fmt, net::IpAddr, path::PathBuf, str::FromStr};

use cardbroker_proto::ENDPOINT_VARIABLE;
use tonic::transport::Uri;

/// The address of a broker. Written `unix:/path`, `unix:///path` or `https://HOST:PORT`, or for plain TCP
/// `http://HOST:PORT`, where the host is `localhost` or a loopback address: a broker serves its own machine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// A TCP port on this machine, with TLS.
    Tcp {
        /// `localhost`, which means 127.0.0.1, an IPv4 loopback address, or an IPv6 one in brackets.
        host: String,
        /// The port number in the URL.
        port: u16,
    },
    /// A TCP port on this machine, without TLS: a program that takes or relays the port reads tokens and PINs.
    PlainTcp {
        /// The same as of [`Endpoint::Tcp`].
        host: String,
        /// The port number in the URL.
        port: u16,
    },
}

/// The error for a text that is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an endpoint: use unix:/path or https://127.0.0.1:port")]
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
}

#[cfg(not(unix))]
impl EndpointError {
    /// The error for a platform without default places.
    pub(crate) fn none() -> Self {
        Self(String::new())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let endpoint = match text.strip_prefix("unix:") {
            Some(path) => unix(path),
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
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let endpoint = match uri.scheme_str()? {
        "https" => Endpoint::Tcp { host: host.to_owned(), port },
        _ => Endpoint::PlainTcp { host: host.to_owned(), port },
    };
    // Comparing with the parsed parts refuses user names, paths and queries, which would be ignored otherwise.
    (local && text.strip_suffix('/').unwrap_or(text) == endpoint.to_string()).then_some(endpoint)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp { host, port } => write!(formatter, "https://{host}:{port}"),
            Self::PlainTcp { host, port } => write!(formatter, "http://{host}:{port}"),
        }
    }
}
