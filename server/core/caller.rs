//! The identity of callers: facts about the process at the other end of a connection, as the operating system reports
//! them.

use std::{collections::HashMap, ffi::OsStr, fmt, path::Path, sync::Arc};

use crate::user::{Account, SystemUser};

/// The key that distinguishes callers. Turns and quotas are counted per key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallerKey {
    /// A process of a user on the local socket, for all its connections. The start time distinguishes it from a later
    /// process with the same number.
    Process {
        /// Its user, as of the connection.
        user: SystemUser,
        /// The number of the process, in the broker's pid namespace.
        pid: u32,
        /// When the process started, in the system's own unit (on Linux clock ticks since boot).
        start_time: u64,
    },
    /// One connection, by its number, if the process behind it is not certain, or passes on the connections of others.
    Connection(u64),
}

/// The user or token that is responsible for a caller: the scope of a `request_id` and of a shared group's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// A user of this machine.
    User(SystemUser),
    /// Any holder of the token with this name.
    Token(Arc<str>),
    /// A client whose user the operating system does not tell.
    Unknown,
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(formatter, "user {user}"),
            Self::Token(name) => write!(formatter, "token {name}"),
            Self::Unknown => formatter.write_str("unknown user"),
        }
    }
}

/// A principal by number. Turns go round the users, and tables of turns are keyed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UserId {
    /// That user of the system.
    User(SystemUser),
    /// The holders of the token whose name was the first, second, … that [`UserIds`] has seen, counted from 0.
    Token(usize),
    /// All users that the system does not tell.
    Unknown,
}

/// Gives principals their numbers. Stores the name of each token that it has seen.
#[derive(Debug, Default)]
pub struct UserIds(HashMap<Arc<str>, usize>);

impl UserIds {
    /// The number of `principal` if it has one.
    pub fn known(&self, principal: &Principal) -> Option<UserId> {
        match principal {
            Principal::User(user) => Some(UserId::User(*user)),
            Principal::Token(name) => self.0.get(name).copied().map(UserId::Token),
            Principal::Unknown => Some(UserId::Unknown),
        }
    }

    /// The number of `principal`, the same at each call.
    pub fn id(&mut self, principal: &Principal) -> UserId {
        match principal {
            Principal::User(user) => UserId::User(*user),
            Principal::Token(name) => {
                let next = self.0.len();
                UserId::Token(*self.0.entry(Arc::clone(name)).or_insert(next))
            }
            Principal::Unknown => UserId::Unknown,
        }
    }
}

/// A token. A new token with the name of an old one is a different token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// The name, which policy rules match.
    pub name: Arc<str>,
    /// The beginning of the token's hash, which does not reveal the token.
    pub fingerprint: u64,
}

impl TokenId {
    /// Whether only the name is known.
    pub fn is_name_only(&self) -> bool {
        self.fingerprint == 0
    }
}

impl From<&str> for TokenId {
    /// Creates the id of a token of which only the name is known.
    fn from(name: &str) -> Self {
        Self { name: name.into(), fingerprint: 0 }
    }
}

/// The properties of a caller that policy rules match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A process of this machine, with its effective user and its groups.
    User(Account),
    /// The holder of a token, on a TCP connection.
    Token(TokenId),
    /// A client on the local socket whose user the operating system does not tell: only rules for anyone concern it.
    Unknown,
}

impl Identity {
    /// The user or token that is responsible for the caller.
    pub fn principal(&self) -> Principal {
        match self {
            Self::User(account) => Principal::User(account.user()),
            Self::Token(token) => Principal::Token(Arc::clone(&token.name)),
            Self::Unknown => Principal::Unknown,
        }
    }
}

/// The caller behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Distinguishes this caller from others.
    pub key: CallerKey,
    /// The number of the connection, counted from 1 since the broker's start.
    pub connection: u64,
    /// The identity that policy rules match.
    pub identity: Identity,
    /// Process number; `None` if the process is in another pid namespace. For display only: the number may have been
    /// reused.
    pub pid: Option<u32>,
    /// The program that the process ran when its connection was accepted; `None` if it was not readable, or if the
    /// process had ended already. For display only: a process may change it.
    pub executable: Option<Arc<Path>>,
    /// The name that the process gives itself, when its connection was accepted; `None` if it was not readable. For
    /// display only.
    pub program: Option<Arc<str>>,
    /// Whether the process is a server of SSH that passes on the connections of others.
    pub via_sshd: bool,
}

impl Caller {
    /// Returns the caller of a connection on the local socket. `start_time` belongs to `pid`; `None` unless both are
    /// certain.
    pub fn local(connection: u64, account: Account, pid: Option<u32>, start_time: Option<u64>) -> Self {
        let key = match (pid, start_time) {
            (Some(pid), Some(start_time)) => CallerKey::Process { user: account.user(), pid, start_time },
            _ => CallerKey::Connection(connection),
        };
        Self::new(key, connection, Identity::User(account), pid)
    }

    /// Returns the caller of a connection on the local socket whose user is not known.
    pub fn unknown(connection: u64, pid: Option<u32>) -> Self {
        Self::new(CallerKey::Connection(connection), connection, Identity::Unknown, pid)
    }

    /// Returns the caller of a connection over TCP that presented this token. A proxy may use one connection for many.
    pub fn remote(connection: u64, token: TokenId) -> Self {
        Self::new(CallerKey::Connection(connection), connection, Identity::Token(token), None)
    }

    /// Returns a caller of whose program nothing is known.
    fn new(key: CallerKey, connection: u64, identity: Identity, pid: Option<u32>) -> Self {
        Self { key, connection, identity, pid, executable: None, program: None, via_sshd: false }
    }

    /// The user or token that is responsible for the caller.
    pub fn principal(&self) -> Principal {
        self.identity.principal()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.key, CallerKey::Connection(_)) {
            write!(formatter, "connection {} of ", self.connection)?;
        }
        if let Some(pid) = self.pid {
            write!(formatter, "process {pid} of ")?;
        }
        self.principal().fmt(formatter)
    }
}

/// Whether a process passes on the connections of other programs, which then belong to different callers: a server of
/// SSH (`ssh -L`). `name` is the process's own name in `/proc/PID/stat`, for a program that the broker cannot read.
pub fn passes_on(program: Option<&Path>, name: &str) -> bool {
    let is_sshd = |name: &str| ["sshd", "sshd-session"].contains(&name);
    let program = program.and_then(Path::file_name).and_then(OsStr::to_str);
    is_sshd(name) || program.is_some_and(|program| is_sshd(program.trim_end_matches(" (deleted)")))
}

/// The name of a process in the text of its `/proc/PID/stat`. `None` if the text has no such field.
pub fn process_name(stat: &str) -> Option<&str> {
    let (_, name) = stat.split_once('(')?;
    Some(name.rsplit_once(") ")?.0)
}

/// The start time in the text of `/proc/PID/stat`, field 22, in clock ticks since boot. `None` if the text has no such
/// field.
pub fn start_time(stat: &str) -> Option<u64> {
    // Field 2 is the program's name in parentheses, which may itself contain spaces and parentheses.
    let (_, from_third) = stat.rsplit_once(") ")?;
    from_third.split(' ').nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{example, example_account};

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
    fn a_principal_keeps_its_number() {
        let mut ids = UserIds::default();
        let token = |name: &str| Principal::Token(name.into());
        let seen =
            [token("a"), token("b"), token("a"), Principal::User(example(1))].map(|principal| ids.id(&principal));
        assert_eq!(seen, [UserId::Token(0), UserId::Token(1), UserId::Token(0), UserId::User(example(1))]);
    }

    #[test]
    fn sshd_passes_on_connections_of_others() {
        for (program, name) in [
            (Some("/usr/sbin/sshd"), "x"),
            (Some("/usr/lib/openssh/sshd-session (deleted)"), "x"),
            (None, "sshd"),
            (None, "sshd-session"),
        ] {
            assert!(passes_on(program.map(Path::new), name), "{program:?} {name}");
        }
        assert!(!passes_on(Some(Path::new("/usr/bin/ssh")), "ssh") && !passes_on(None, "not-sshd"));
        for name in ["cardbroker", "a b", "a) S 1 (b", ""] {
            assert_eq!(process_name(&format!("42 ({name}) S 1 42")), Some(name));
        }
        assert_eq!(process_name("42"), None);
    }

    #[test]
    fn a_caller_by_connection_is_named_by_it() {
        let name = |caller: Caller| caller.to_string();
        let local = |user, start_time| name(Caller::local(3, example_account(user), Some(42), start_time));
        assert_eq!(local(8, Some(1)), "process 42 of user 8");
        assert_eq!(local(8, None), "connection 3 of process 42 of user 8");
        assert_eq!(local(7, Some(1)), "process 42 of user S-1-5-21-7-7-7-7");
        assert_eq!(name(Caller::unknown(3, None)), "connection 3 of unknown user");
        assert_eq!(name(Caller::remote(3, "a".into())), "connection 3 of token a");
    }

    #[test]
    fn connections_of_one_process_are_one_caller() {
        for user in [0, 1] {
            let of = |connection, user, pid, start| Caller::local(connection, example_account(user), pid, start).key;
            let key = |connection, pid, start| of(connection, user, pid, start);
            assert_ne!(key(1, Some(42), Some(7)), of(2, user + 1, Some(42), Some(7)), "another user's");
            assert_ne!(key(1, Some(42), Some(7)), of(2, user + 2, Some(42), Some(7)), "another user's of its kind");
            assert_eq!(key(1, Some(42), Some(7)), key(2, Some(42), Some(7)));
            assert_ne!(key(1, Some(42), Some(7)), key(2, Some(42), Some(8)));
            assert_ne!(key(1, Some(42), None), key(2, Some(42), None));
            assert_ne!(key(1, None, None), key(2, None, None));
        }
    }
}
