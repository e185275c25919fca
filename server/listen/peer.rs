//! The other end of a connection: its source, its groups and its open calls.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use cardbroker_core::caller::{Caller, Principal};
use tracing::{Span, debug_span};

use super::{
    budgets::{Account, Budgets},
    burst::Received,
    checks::ConnectionChecks,
    slots::ConnectionStatus,
};
use crate::caller::group::Memberships;

/// The other end of a connection. In the extensions of every request; clones belong to the same connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The listener and the client's address or process.
    pub source: Source,
    /// The isolation groups that the connection belongs to; they end when it does.
    pub memberships: Memberships,
    /// The connection's span, for the spans of its requests. It closes with the connection and its last request.
    pub span: Span,
    pub(super) status: ConnectionStatus,
    /// The budgets of all users, and the user to whom this connection is charged.
    pub(super) budgets: Budgets,
    pub(super) account: Arc<Mutex<Account>>,
    /// The number of refused requests so far.
    pub(super) refused: Arc<AtomicUsize>,
    /// Whether the policy gave nothing to the caller of the last request.
    pub(super) without_rights: Arc<AtomicBool>,
    /// The answered health checks without a token. They are not charged, and neither is the end of a connection with
    /// nothing else, because few are answered. The connection does not count as one with a request.
    pub checks: ConnectionChecks,
    /// The number of open calls.
    pub(super) calls: Arc<AtomicUsize>,
    /// The number of calls that have begun so far.
    pub(super) begun: Arc<AtomicUsize>,
    /// The bytes of all messages so far.
    pub message_bytes: MessageBytes,
}

impl Peer {
    /// Counts a new call; `None` if `limit` calls are open already.
    pub fn begin_call(&self, limit: usize) -> Option<CallGuard> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let guard = CallGuard(Arc::clone(&self.calls));
        (guard.0.fetch_add(1, Ordering::Relaxed) < limit).then_some(guard)
    }

    /// Records a request with a known caller: from now on the connection may idle. Cheap enough for every request.
    pub fn request_seen(&self) {
        self.status.note_request();
    }

    /// Records a request on TCP with a valid token: from now on the connection is charged to its holder. Cheap
    /// enough for every request.
    pub fn token_seen(&self, holder: &Caller) {
        self.status.note_valid_token();
        *self.account() = Account::User(holder.principal());
    }

    /// Records whether the policy gives anything to the caller of a request. Cheap enough for every request.
    pub fn note_rights(&self, has_any: bool) {
        self.without_rights.store(!has_any, Ordering::Relaxed);
    }

    /// Charges a refused request of `caller`, which may be another one than that of the connection's last request.
    pub fn charge(&self, caller: &Caller) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.budgets.charge(&Account::User(caller.principal()));
    }

    /// Charges a request on TCP without a valid token to the user of the last valid one. After a few of them the
    /// connection is closed; returns whether it is closed for this one.
    pub fn charge_bad_token(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let account = self.account().clone();
        self.budgets.charge(&account);
        self.status.note_bad_token()
    }

    /// Charges a health check beyond the limit of those without a token. It is no bad token.
    pub fn charge_health_check(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.budgets.charge(&self.account());
    }

    /// The number of refused requests so far.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// The calls and messages so far.
    pub(super) fn received(&self) -> Received {
        Received {
            calls: self.begun.load(Ordering::Relaxed),
            message_bytes: self.message_bytes.0.load(Ordering::Relaxed),
        }
    }

    /// Charges the end of the connection to all clients without a token, if it is one on TCP whose client has shown no
    /// valid token, or had a refused request: so handshakes are counted. One with health checks alone is not charged;
    /// few of these are answered.
    pub(super) fn charge_end(&self) {
        let is_on_tcp = matches!(self.source, Source::Tcp { .. });
        let is_unknown = *self.account() == Account::WithoutToken && !self.checks.has_any();
        if is_on_tcp && (is_unknown || self.refused() > 0) {
            self.budgets.charge(&Account::WithoutToken);
        }
    }

    /// The user to whom the connection is charged. A change is one assignment, so a panic elsewhere does no harm.
    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of all messages that a connection has sent. Clones belong to the same connection.
#[derive(Debug, Clone, Default)]
pub struct MessageBytes(Arc<AtomicUsize>);

impl MessageBytes {
    /// Adds the bytes of a message, or of a part of one.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// An open call of a connection, counted until it is dropped.
#[derive(Debug)]
pub struct CallGuard(Arc<AtomicUsize>);

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The client, as far as the connection alone identifies it.
#[derive(Debug, Clone)]
pub enum Source {
    /// A process on the Unix socket, identified by the kernel.
    Local(Caller),
    /// A client of the TCP port, identified only by its requests.
    Tcp {
        /// Number of the connection, counted from 1 in this run of the broker.
        connection: u64,
        /// The client's own address and port.
        client: SocketAddr,
        /// The listener's address and port.
        server: SocketAddr,
    },
}

impl Source {
    /// Number of the connection, counted from 1 in this run of the broker.
    pub(super) fn connection(&self) -> u64 {
        match self {
            Self::Local(caller) => caller.connection,
            Self::Tcp { connection, .. } => *connection,
        }
    }

    /// Opens the connection's span. On TCP only requests identify the caller.
    pub(super) fn span(&self) -> Span {
        let (transport, connection) = (if matches!(self, Self::Local(_)) { "unix" } else { "tcp" }, self.connection());
        debug_span!("connection", peer = %self, transport, connection)
    }

    /// The user to whom refused requests are charged, before the first request.
    pub(super) fn account(&self) -> Account {
        self.principal().map_or(Account::WithoutToken, Account::User)
    }

    /// The principal that the connection is counted for; `None` on TCP, where only requests name one.
    pub(super) fn principal(&self) -> Option<Principal> {
        match self {
            Self::Local(caller) => Some(caller.principal()),
            Self::Tcp { .. } => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(caller) => caller.fmt(formatter),
            Self::Tcp { connection, client, .. } => write!(formatter, "connection {connection} from {client}"),
        }
    }
}
