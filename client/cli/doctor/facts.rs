//! The facts that `cardbroker doctor` judges: plain data, without a file, a process or a connection behind it.

use std::path::PathBuf;

use cardbroker_client::{Endpoint, Error, Reader, diagnostics::Status};

use super::windows::WindowsCards;

/// Everything that was found out about this machine and its broker.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The version of this program.
    pub(crate) version: &'static str,
    /// The user of this program.
    pub(crate) me: Me,
    /// The named endpoint, or the default places in the order in which they are tried.
    pub(crate) places: Vec<Place>,
    /// The result of the search for a broker.
    pub(crate) found: Found,
    /// The broker's description of itself and of this program.
    pub(crate) broker: Answer<BrokerFacts>,
    /// The readers that this user may see.
    pub(crate) readers: Answer<Vec<Reader>>,
    /// The broker from inside, which needs `diagnose`.
    pub(crate) status: Answer<Status>,
    /// PC/SC on this machine; `None` if the broker is on another one, or the machine has another PC/SC than pcscd.
    pub(crate) pcsc: Option<Pcsc>,
    /// The use of cards by Windows itself; `None` on other systems, or if the broker is on another machine.
    pub(crate) windows: Option<WindowsCards>,
}

/// An answer of the broker, or the reason why there is none.
#[derive(Debug, Clone)]
pub(crate) enum Answer<T> {
    /// The broker has given this answer.
    Given(T),
    /// The broker has refused, or the call has failed.
    Failed(Box<Error>),
    /// The broker did not answer in time.
    Silent,
    /// There was no broker to ask.
    NotAsked,
}

impl<T> Answer<T> {
    /// The answer, if there is one.
    pub(crate) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(answer) => Some(answer),
            _ => None,
        }
    }
}

/// The result of the search for a broker.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A process accepts connections at this endpoint.
    At {
        /// The endpoint, named or of a default place.
        endpoint: Endpoint,
        /// The system's broker, if this user's own one was found and both answer.
        other: Option<Endpoint>,
    },
    /// There is no connection to any broker.
    Nothing(Box<Error>),
    /// The search took too long.
    Silence,
}

/// The user of this program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Me {
    /// The number of the user; `None` where users have none (Windows).
    pub(crate) uid: Option<u32>,
    /// The login name. Empty if there is none.
    pub(crate) name: String,
    /// The groups of this process.
    pub(crate) groups: Vec<u32>,
    /// The groups that a new login gets.
    pub(crate) assigned: Vec<u32>,
}

impl Me {
    /// The user in a command: the login name, or else the number.
    pub(crate) fn typed(&self) -> String {
        match self.uid {
            Some(uid) if self.name.is_empty() => uid.to_string(),
            _ => self.name.clone(),
        }
    }

    /// The user in a question to the policy: `user:anna` or `uid:1000`; `self` where the system does not tell it.
    pub(crate) fn principal(&self) -> String {
        match self.uid {
            Some(uid) if self.name.is_empty() => format!("uid:{uid}"),
            None if self.name.is_empty() => "self".to_owned(),
            _ => format!("user:{}", self.name),
        }
    }
}

/// A place at which a broker may be.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The endpoint of the place.
    pub(crate) endpoint: Endpoint,
    /// The socket; `None` if there is none, or this user cannot see it.
    pub(crate) socket: Option<File>,
    /// The folder of the socket, with the same exceptions.
    pub(crate) folder: Option<File>,
}

/// Owner and mode of a file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The path of the file.
    pub(crate) path: PathBuf,
    /// The name of its owner, or the number of one without a name.
    pub(crate) owner: String,
    /// The number of its group.
    pub(crate) gid: u32,
    /// The name of its group, or the number of one without a name.
    pub(crate) group: String,
    /// The permission bits, with the sticky bit.
    pub(crate) mode: u32,
}

/// The broker's description of itself and of this program.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokerFacts {
    /// The broker's version (Semantic Versioning).
    pub(crate) version: String,
    /// This program's principal: `user 1000`, on Windows `user S-1-5-…`.
    pub(crate) principal: String,
    /// The number of this process, as the broker sees it.
    pub(crate) process_id: Option<i32>,
    /// Whether each connection of this program is a caller of its own.
    pub(crate) is_connection: bool,
    /// The limits, by their names in the contract; times are in milliseconds.
    pub(crate) limits: Vec<(&'static str, u64)>,
}

/// PC/SC on this machine: pcscd and what is connected to it.
#[derive(Debug, Clone)]
pub(crate) struct Pcsc {
    /// The path of pcscd's socket.
    pub(crate) socket: PathBuf,
    /// The result of a connection to it.
    pub(crate) door: Door,
    /// Whether a process `pcscd` runs; `None` if processes cannot be listed.
    pub(crate) runs: Option<bool>,
    /// Whether pcscd asks polkit: it has installed its actions.
    pub(crate) asks_polkit: bool,
    /// Whether a rule of polkit names pcscd's actions; `None` if this user may not read the rules.
    pub(crate) has_rule: Option<bool>,
    /// The processes with a connection to pcscd, except brokers.
    pub(crate) clients: Vec<Process>,
    /// Whether `clients` is complete: root sees the connections of all processes.
    pub(crate) sees_all: bool,
    /// Processes of this user, or for root of all users, that are known to keep cards.
    pub(crate) keepers: Vec<Process>,
}

/// The result of a connection to pcscd's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(all(not(target_os = "linux"), not(test)), expect(dead_code, reason = "only Linux has a pcscd to look at"))]
pub(crate) enum Door {
    /// There is no such socket.
    Missing,
    /// No process listens at the socket.
    Refused,
    /// This user may not open the socket.
    Forbidden,
    /// A process accepts the connection.
    Open,
    /// Another error, or no answer in time.
    Stuck,
}

/// A process of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// The number of the process.
    pub(crate) pid: u32,
    /// The name of the program as the process calls itself.
    pub(crate) program: String,
    /// The name of its user, or the number of one without a name.
    pub(crate) user: String,
}
