//! Who asks: the facts about the process at the other end of a connection, in the operating system's word.

use std::{fmt, path::Path, sync::Arc};

/// What tells one caller from another: turns and quotas are counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallerKey {
    /// A process of a user on the local socket, however many connections it opens. The start time tells it from a later
    /// process that was given the same number.
    Process {
        /// Its user, as when it connected.
        uid: u32,
        /// Process number.
        pid: u32,
        /// When it started, in clock ticks since the machine did.
        start_time: u64,
    },
    /// The connection of that number, where the process behind it cannot be told for certain.
    Connection(u64),
}

/// Who is responsible for what a caller does: the scope of a `request_id` and of a shared group's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// The user of that number.
    User(u32),
    /// Whoever holds the token of that name.
    Token(Arc<str>),
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(formatter, "user {uid}"),
            Self::Token(name) => write!(formatter, "token {name}"),
        }
    }
}

/// A token. One that takes the place of another under the same name is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId {
    /// Its name, which rules know.
    pub name: Arc<str>,
    /// The beginning of its hash, which tells nothing about it.
    pub fingerprint: u64,
}

impl TokenId {
    /// Whether no more than the name is known.
    pub fn is_name_only(&self) -> bool {
        self.fingerprint == 0
    }
}

impl From<&str> for TokenId {
    /// A token of which no more than the name is known.
    fn from(name: &str) -> Self {
        Self { name: name.into(), fingerprint: 0 }
    }
}

/// What policy judges a caller by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A process of this machine, in the kernel's word when it connected.
    User {
        /// Its user.
        uid: u32,
        /// Its primary group.
        gid: u32,
    },
    /// The holder of that token.
    Token(TokenId),
}

impl Identity {
    /// Who is responsible.
    pub fn principal(&self) -> Principal {
        match self {
            Self::User { uid, .. } => Principal::User(*uid),
            Self::Token(token) => Principal::Token(Arc::clone(&token.name)),
        }
    }
}

/// The caller behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What tells it from other callers.
    pub key: CallerKey,
    /// Number of the connection, counted from 1 in this run of the broker.
    pub connection: u64,
    /// What policy judges it by.
    pub identity: Identity,
    /// Process number; `None` if the process lives where this one cannot see it (another pid namespace). For display: it may
    /// belong to another process by now.
    pub pid: Option<u32>,
    /// The program that the process ran when its connection was accepted; `None` if that could not be seen, or the
    /// process had ended already. For display: a process may change it.
    pub executable: Option<Arc<Path>>,
}

impl Caller {
    /// Returns the caller of a connection on the local socket. `start_time` is that of `pid`, if both are certain.
    pub fn local(connection: u64, uid: u32, gid: u32, pid: Option<u32>, start_time: Option<u64>) -> Self {
        let key = match (pid, start_time) {
            (Some(pid), Some(start_time)) => CallerKey::Process { uid, pid, start_time },
            _ => CallerKey::Connection(connection),
        };
        Self { key, connection, identity: Identity::User { uid, gid }, pid, executable: None }
    }

    /// Whoever has shown that token in a request on a connection over TCP. A proxy may stand there for many.
    pub fn remote(connection: u64, token: TokenId) -> Self {
        let key = CallerKey::Connection(connection);
        Self { key, connection, identity: Identity::Token(token), pid: None, executable: None }
    }

    /// Who is responsible for it.
    pub fn principal(&self) -> Principal {
        self.identity.principal()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(formatter, "process {pid} of {}", self.principal()),
            None => write!(formatter, "connection {} of {}", self.connection, self.principal()),
        }
    }
}

/// The start time in the text of a `/proc/PID/stat`, its field 22.
pub fn start_time(stat: &str) -> Option<u64> {
    // Field 2 is the program's name in parentheses, which may itself hold spaces and parentheses.
    let (_, from_third) = stat.rsplit_once(") ")?;
    from_third.split(' ').nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let rest = "S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        for name in ["cardbroker", "a b", "a) S 1 (b", ""] {
            assert_eq!(start_time(&format!("42 ({name}) {rest}")), Some(987_654), "{name}");
        }
        assert_eq!(start_time("42 (x) S 1"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn connections_of_one_process_are_one_caller() {
        let key = |connection, pid, start| Caller::local(connection, 0, 0, pid, start).key;
        let another_users = Caller::local(2, 1, 0, Some(42), Some(7)).key;
        assert_ne!(key(1, Some(42), Some(7)), another_users);
        assert_eq!(key(1, Some(42), Some(7)), key(2, Some(42), Some(7)));
        assert_ne!(key(1, Some(42), Some(7)), key(2, Some(42), Some(8)));
        assert_ne!(key(1, Some(42), None), key(2, Some(42), None));
        assert_ne!(key(1, None, None), key(2, None, None));
    }
}
