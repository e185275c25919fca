//! pcscd on this machine: its socket, its process, polkit's rules for it, and the programs that are connected to it.

use std::{
    collections::HashSet,
    env, fs, io,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
};

use super::{
    peers,
    users::{own_uid, user_name},
};
use crate::doctor::facts::{Door, Pcsc, Process};

/// The socket of pcscd, unless the variable says otherwise.
const SOCKET: &str = "/run/pcscd/pcscd.comm";

/// The variable by which PC/SC's own library finds another socket.
const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

/// The file with the actions that pcscd asks polkit for; it belongs to the package of a pcscd that does.
const ACTIONS: &str = "/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy";

/// The folders with polkit's rules.
const RULES: [&str; 2] = ["/etc/polkit-1/rules.d", "/usr/share/polkit-1/rules.d"];

/// The name of pcscd's actions in a rule.
const ACTION: &str = "org.debian.pcsc-lite";

/// Programs that keep a card once they have used it.
const KEEPERS: [&str; 1] = ["scdaemon"];

/// The longest rule that is read, in bytes.
const MAX_RULE_BYTES: u64 = 1 << 20;

/// Looks at everything but the result of a connection to the socket, `door`.
pub(super) fn look(door: Door) -> Pcsc {
    let socket = socket();
    let (own, processes) = (own_uid(), processes());
    let connected = peers::of(&socket).unwrap_or_default();
    let is_client = |process: &&Running| !connected.is_disjoint(&process.sockets());
    let clients = processes.iter().filter(|process| process.name != "cardbrokerd" && process.name != "pcscd");
    let is_mine = |process: &&Running| own == 0 || process.uid == own;
    let keepers = processes.iter().filter(|process| KEEPERS.contains(&process.name.as_str())).filter(is_mine);
    Pcsc {
        door,
        runs: (!processes.is_empty()).then(|| processes.iter().any(|process| process.name == "pcscd")),
        asks_polkit: Path::new(ACTIONS).exists(),
        has_rule: has_rule(),
        clients: if connected.is_empty() {
            Vec::new()
        } else {
            clients.filter(is_client).map(Running::shown).collect()
        },
        sees_all: own == 0,
        keepers: keepers.map(Running::shown).collect(),
        socket,
    }
}

/// The path of pcscd's socket.
fn socket() -> PathBuf {
    env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map_or(SOCKET.into(), PathBuf::from)
}

/// Connects to pcscd, and says nothing. A socket of systemd starts pcscd by it, as each program would.
pub(super) fn door() -> Door {
    match UnixStream::connect(socket()) {
        Ok(_) => Door::Open,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Door::Missing,
            io::ErrorKind::ConnectionRefused => Door::Refused,
            io::ErrorKind::PermissionDenied => Door::Forbidden,
            _ => Door::Stuck,
        },
    }
}

/// A process that runs on this machine.
struct Running {
    pid: u32,
    uid: u32,
    name: String,
}

impl Running {
    /// Reads `/proc/PID`; `None` if the process has ended.
    fn read(pid: u32) -> Option<Self> {
        let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
        Some(Self { pid, uid, name: String::from_utf8_lossy(&name).trim_end().to_owned() })
    }

    /// The numbers of its open sockets, as far as this user may see them.
    fn sockets(&self) -> HashSet<u32> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        let number = |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        files.filter_map(|file| number(fs::read_link(file.path()).ok()?)).collect()
    }

    fn shown(&self) -> Process {
        Process { pid: self.pid, program: self.name.clone(), user: user_name(self.uid) }
    }
}

fn processes() -> Vec<Running> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Running::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Whether a rule of polkit names pcscd's actions; `None` if no rule does, as far as this user may read them.
fn has_rule() -> Option<bool> {
    let mut is_hidden = false;
    for folder in RULES {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                is_hidden |= error.kind() == io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if fs::metadata(&path).is_ok_and(|found| !found.is_file() || found.len() > MAX_RULE_BYTES) {
                continue;
            }
            match fs::read(&path) {
                Ok(text) if String::from_utf8_lossy(&text).contains(ACTION) => return Some(true),
                Ok(_) => {}
                Err(_) => is_hidden = true,
            }
        }
    }
    (!is_hidden).then_some(false)
}
