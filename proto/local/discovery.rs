//! The search for a broker: what a client finds at a place, and whether it goes on to the next one.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    endpoint_file::EndpointFileError,
    socket::{MAX_PATH_BYTES, Place},
    trust::{Distrust, Obstacle, user},
};

/// Why there is no connection to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// There is no such file, or a file is where a folder is expected.
    Missing,
    /// The socket or the port exists, but no process listens there.
    Refused(Owner),
    /// This user may not open the socket, or not enter its folder.
    Forbidden(Owner),
    /// Another user could be at the socket; nothing was sent.
    Untrusted(Distrust),
    /// Another program answers at the port: with another certificate than that of the token file or the endpoint file,
    /// or without TLS.
    OtherProgram,
    /// There is no endpoint file (`tcp:auto`).
    NoEndpointFile(PathBuf),
    /// The process that wrote the endpoint file has ended.
    Ended {
        /// The path of the endpoint file.
        file: PathBuf,
        /// The number of the process.
        pid: u32,
    },
    /// The endpoint file cannot be understood.
    Malformed {
        /// The path of the endpoint file.
        file: PathBuf,
        /// The problem of its text.
        problem: EndpointFileError,
    },
    /// The path does not fit into a socket's address.
    TooLong,
    /// Another error of the operating system or the transport.
    Failed(io::ErrorKind),
}

/// The thing found at a path, and the user who owns it; empty where nothing can be seen, or on TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner(Option<(PathBuf, u32)>);

impl Owner {
    /// The owner of the file at `path`, or of the last part on the way to it that can be seen.
    #[cfg(unix)]
    pub fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(path.ancestors().find_map(|part| Some((part.into(), std::fs::metadata(part).ok()?.uid()))))
    }

    /// Without a Unix the owner is not known.
    #[cfg(not(unix))]
    pub fn of(_: &Path) -> Self {
        Self::default()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((path, owner)) => write!(formatter, "; {} belongs to {}", path.display(), user(*owner)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("no such file"),
            Self::Refused(owner) => write!(formatter, "connection refused{owner}"),
            Self::Forbidden(owner) => write!(formatter, "permission denied{owner}"),
            Self::Untrusted(distrust) => write!(formatter, "not trusted: {distrust}"),
            Self::OtherProgram => formatter.write_str("another program: it has another certificate or no TLS"),
            Self::NoEndpointFile(file) => write!(formatter, "no such file: {}", file.display()),
            Self::Ended { file, pid } => {
                write!(formatter, "its broker, process {pid}, has ended; see {}", file.display())
            }
            Self::Malformed { file, problem } => write!(formatter, "{} {problem}", file.display()),
            Self::TooLong => write!(formatter, "the path is longer than a socket's {MAX_PATH_BYTES} bytes"),
            Self::Failed(kind) => write!(formatter, "{kind}"),
        }
    }
}

impl std::error::Error for Finding {}

impl Finding {
    /// The finding for an error at the socket `path`, or at a TCP port without one.
    pub fn of(error: &io::Error, path: Option<&Path>) -> Self {
        let owner = || path.map(Owner::of).unwrap_or_default();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::ConnectionRefused => Self::Refused(owner()),
            io::ErrorKind::PermissionDenied => Self::Forbidden(owner()),
            kind => Self::Failed(kind),
        }
    }

    /// The finding for a walk that did not reach the socket of `place`.
    pub fn of_walk(obstacle: Obstacle, place: &Place) -> Self {
        match obstacle {
            Obstacle::Untrusted(distrust) => Self::Untrusted(distrust),
            Obstacle::Io(error) => Self::of(&error, Some(&place.path)),
        }
    }

    /// Whether there is no broker at this place, so that the next one is tried.
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Missing | Self::Refused(_) | Self::NoEndpointFile(_) | Self::Ended { .. })
    }

    /// Whether a broker that starts or restarts may be the cause, so that waiting may help.
    pub fn is_passing(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        match self {
            Self::Failed(kind) => {
                [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock].contains(kind)
            }
            finding => finding.goes_on(),
        }
    }
}

/// The places that were tried in vain, with their findings.
pub type Tried = Vec<(Place, Finding)>;

/// Tries the places in their order, until one works or its finding ends the search. Returns the place that worked, with
/// what `attempt` made there, and the places before it.
///
/// # Errors
/// The tried places; the last of them ended the search.
pub async fn search<T, F>(places: &[Place], attempt: impl Fn(Place) -> F) -> Result<((Place, T), Tried), Tried>
where
    F: Future<Output = Result<T, Finding>>,
{
    let mut tried = Vec::new();
    for place in places {
        match attempt(place.clone()).await {
            Ok(made) => return Ok(((place.clone(), made), tried)),
            Err(finding) => {
                let goes_on = finding.goes_on();
                tried.push((place.clone(), finding));
                if !goes_on {
                    break;
                }
            }
        }
    }
    Err(tried)
}
