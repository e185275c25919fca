//! The process at the other end of a connection on the Unix socket, if the operating system identifies it for certain.
//!
//! The kernel remembers the number of the process that connected. That process may have ended before the accept, and
//! another process may have its number: `/proc` then describes the other one.
//!
//! A broker in a user namespace, or one whose `/proc` hides other users' processes, does not see who calls. It says so
//! once, and every connection is a caller of its own.

use std::{
    path::Path,
    sync::{Arc, Once},
};

use cardbroker_core::{
    caller::{Caller, passes_on},
    user::Account,
};
use tokio::net::UnixStream;

/// Returns the caller of a connection that was accepted just now: its process if that is certain and acts for itself,
/// else the connection.
pub(super) fn caller(connection: u64, stream: &UnixStream) -> Caller {
    let Ok(peer) = stream.peer_cred() else { return Caller::unknown(connection, None) };
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    if !os::is_known(peer.uid(), "uid") {
        warn_once(Hidden::User);
        return Caller::unknown(connection, pid);
    }
    // No group has this number.
    let gid = if os::is_known(peer.gid(), "gid") { peer.gid() } else { u32::MAX };
    let process = pid.map_or(Err(NoProcess::Hidden), |pid| os::process(stream, pid, peer.uid()));
    if matches!(process, Err(NoProcess::Hidden)) && os::HAS_PROCESSES {
        warn_once(Hidden::Process);
    }
    let process = process.ok();
    let via_sshd = process.as_ref().is_some_and(|found| passes_on(found.executable.as_deref(), &found.name));
    let own = process.as_ref().filter(|_| !via_sshd);
    let account = Account::unix(peer.uid(), gid);
    let caller = Caller::local(connection, account, pid, own.map(|found| found.start_time));
    let (executable, program) = process.map(|found| (found.executable, found.name.into())).unzip();
    Caller { executable: executable.flatten(), program, via_sshd, ..caller }
}

/// Facts about peers that the operating system hides from the broker.
#[derive(Debug, Clone, Copy)]
enum Hidden {
    /// The user has no number in the broker's user namespace.
    User,
    /// The process has no number in the broker's pid namespace, or `/proc` does not show it.
    Process,
}

/// Warns of callers that the broker cannot tell apart, once for each cause: both last as long as the process.
fn warn_once(hidden: Hidden) {
    static WARNED: [Once; 2] = [Once::new(), Once::new()];
    WARNED[hidden as usize].call_once(|| match hidden {
        Hidden::User => tracing::warn!(
            "a caller's user is unknown in the broker's user namespace (PrivateUsers=yes, or a container): every \
             connection of such a caller is a caller of its own, and only rules for anyone concern it"
        ),
        Hidden::Process => tracing::warn!(
            "a caller's process is hidden from the broker (ProtectProc=, hidepid, or another pid namespace): every \
             connection of such a caller is a caller and an isolation group of its own"
        ),
    });
}

/// Why no process is known behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoProcess {
    /// It lives, but the broker may not see it.
    Hidden,
    /// It has ended, or could be another one of its number.
    Uncertain,
}

/// The process behind a connection.
#[derive(Debug)]
struct Process {
    /// The start time, in clock ticks since boot.
    start_time: u64,
    /// Its name in `/proc/PID/stat`, which it may change.
    name: String,
    /// Its program; `None` if the broker may not read it.
    executable: Option<Arc<Path>>,
}

#[cfg(target_os = "linux")]
mod os {
    use std::{fs, io, sync::LazyLock};

    use nix::{
        errno::Errno,
        sys::socket::{getsockopt, sockopt::PeerPidfd},
    };
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fd::OwnedFd,
        param::clock_ticks_per_second,
        process::{Pid, test_kill_process},
        time::{ClockId, clock_gettime},
    };
    use tokio::net::UnixStream;

    use super::{NoProcess, Process};
    use cardbroker_core::caller::{process_name, start_time};

    /// Whether this system tells the processes of callers.
    pub(super) const HAS_PROCESSES: bool = true;

    /// Returns the process that connected as `uid` with the number `pid`.
    ///
    /// # Errors
    /// It has ended, cannot be distinguished from a later one of that number, or `/proc` does not show it.
    pub(super) fn process(stream: &UnixStream, pid: u32, uid: u32) -> Result<Process, NoProcess> {
        let accepted = ticks_since_boot();
        let pidfd = getsockopt(stream, PeerPidfd);
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}"));
        let (stat, status) = match (read("stat"), read("status")) {
            (Ok(stat), Ok(status)) => (stat, status),
            (Err(error), _) | (_, Err(error)) => {
                let lives = pidfd.map_or_else(|_| exists(pid), |pidfd| !has_ended(&pidfd));
                // Other errors, such as too many open files, say nothing of the process.
                let is_hidden = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
                return Err(if lives && is_hidden { NoProcess::Hidden } else { NoProcess::Uncertain });
            }
        };
        let executable = fs::read_link(format!("/proc/{pid}/exe")).ok().map(Into::into);
        // Last: if the process lives now, it had the number the whole time.
        let ended = pidfd.map(|pidfd| has_ended(&pidfd));
        let (stat, status) = (String::from_utf8_lossy(&stat), String::from_utf8_lossy(&status));
        let described = start_time(&stat).zip(process_name(&stat)).zip(effective_user(&status));
        let ((start_time, name), user) = described.ok_or(NoProcess::Uncertain)?;
        if !is_peer(&Found { start_time, user }, uid, accepted, ended) {
            return Err(NoProcess::Uncertain);
        }
        Ok(Process { start_time, name: name.to_owned(), executable })
    }

    /// Whether some process has this number now.
    fn exists(pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
    }

    /// Whether `id` names a user (`kind` is "uid") or a group ("gid"). In a user namespace that does not know all of
    /// them, one number stands for every unknown one.
    pub(super) fn is_known(id: u32, kind: &str) -> bool {
        let overflow = || read(&format!("/proc/sys/kernel/overflow{kind}")).trim().parse().unwrap_or(DEFAULT_OVERFLOW);
        let knows_all = if kind == "uid" { &ALL_USERS } else { &ALL_GROUPS };
        **knows_all || id != overflow()
    }

    /// Whether the broker's user namespace knows all users, and all groups. Its maps can be written only once.
    static ALL_USERS: LazyLock<bool> = LazyLock::new(|| knows_all(&read("/proc/self/uid_map")));
    static ALL_GROUPS: LazyLock<bool> = LazyLock::new(|| knows_all(&read("/proc/self/gid_map")));

    fn read(path: &str) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The number for unknown users and groups unless the system sets another one.
    const DEFAULT_OVERFLOW: u32 = 65_534;

    /// Whether the namespace with this map of ids is the first one, or knows all ids of it.
    fn knows_all(map: &str) -> bool {
        let mut fields = map.split_whitespace();
        (fields.next(), fields.next(), fields.next()) == (Some("0"), Some("0"), Some("4294967295"))
    }

    /// The process that has the peer's number now.
    #[derive(Debug, Clone, Copy)]
    struct Found {
        /// The start time, in clock ticks since boot.
        start_time: u64,
        /// The effective user, as which it connects.
        user: u32,
    }

    /// Returns whether `found` is the peer, a process that connected as `uid`, whose connection was `accepted` at that
    /// tick. `ended` is whether the peer had ended after everything else was read, or why there is no pidfd of it.
    ///
    /// A kernel without such pidfds (Linux before 6.5) leaves two signs that `found` is not the peer: it started after
    /// the accept, or it belongs to another user. A process of the same user that started while the connection waited
    /// for the accept is taken for the peer there.
    fn is_peer(found: &Found, uid: u32, accepted: u64, ended: Result<bool, Errno>) -> bool {
        match ended {
            Ok(ended) => !ended,
            Err(Errno::ENOPROTOOPT) => found.user == uid && found.start_time <= accepted,
            // The peer was reaped before, or the kernel has no pidfd (too many open files): nothing is certain.
            Err(_) => false,
        }
    }

    /// Returns the effective user in the text of `/proc/PID/status`. The owner of `/proc/PID` would not do: it is root
    /// for a process that is not dumpable, such as one that keeps secrets or has changed its user.
    fn effective_user(status: &str) -> Option<u32> {
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        users.split_whitespace().nth(1)?.parse().ok()
    }

    /// Returns whether the process has ended; `true` if that is uncertain.
    fn has_ended(pidfd: &OwnedFd) -> bool {
        let mut exit = [PollFd::new(pidfd, PollFlags::IN)];
        poll(&mut exit, Some(&Timespec::default())) != Ok(0)
    }

    /// Returns the time since boot in clock ticks, as `/proc` counts start times.
    fn ticks_since_boot() -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
        let per_second = clock_ticks_per_second();
        seconds * per_second + nanoseconds * per_second / 1_000_000_000
    }

    #[cfg(test)]
    mod tests {
        use std::process;

        use super::*;

        const FOUND: Found = Found { start_time: 700, user: 7 };

        #[test]
        fn a_living_process_is_the_peer_after_a_user_change() {
            assert!(is_peer(&FOUND, 7, 700, Ok(false)));
            assert!(is_peer(&FOUND, 8, 700, Ok(false)), "it has taken another user since");
        }

        #[test]
        fn an_ended_process_is_not_its_successor() {
            assert!(!is_peer(&FOUND, 7, 700, Ok(true)));
            for errno in [Errno::ESRCH, Errno::EINVAL, Errno::ENODATA] {
                assert!(!is_peer(&FOUND, 7, 700, Err(errno)), "{errno}");
            }
        }

        #[test]
        fn nothing_is_certain_if_files_run_out() {
            assert!(!is_peer(&FOUND, 7, 700, Err(Errno::EMFILE)));
        }

        #[test]
        fn without_pidfds_user_and_start_time_must_match() {
            let is_peer = |uid, accepted| is_peer(&FOUND, uid, accepted, Err(Errno::ENOPROTOOPT));
            assert!(is_peer(7, 700) && is_peer(7, 701));
            assert!(!is_peer(7, 699), "it started after the accept");
            assert!(!is_peer(8, 700), "it is another user's");
        }

        #[test]
        fn only_the_whole_map_knows_all_users() {
            assert!(knows_all("         0          0 4294967295\n"));
            for map in ["0 1000 1\n", "0 0 65536\n", "0 100000 65536\n65536 0 4294967295", ""] {
                assert!(!knows_all(map), "{map}");
            }
            assert!(is_known(1, "uid"));
        }

        #[test]
        fn effective_user_is_the_second_of_the_status() {
            let status = "Name:\tUid: 5\nState:\tR (running)\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t2\t3\t4\n";
            assert_eq!(effective_user(status), Some(1001));
            assert_eq!(effective_user("Name:\tx\nUid:\t7\n"), None);
            let own = fs::read_to_string("/proc/self/status").unwrap();
            assert_eq!(effective_user(&own), Some(rustix::process::geteuid().as_raw()));
        }

        #[test]
        fn ticks_are_those_of_start_times() {
            let mut child = process::Command::new("sleep").arg("60").spawn().unwrap();
            let after = ticks_since_boot();
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            let start = start_time(&stat).unwrap();
            assert!(start <= after && after - start < 60 * clock_ticks_per_second(), "{start} {after}");
        }

        #[tokio::test]
        async fn this_process_is_found_and_an_unused_number_is_not() {
            let (here, _there) = UnixStream::pair().unwrap();
            let uid = rustix::process::getuid().as_raw();
            let found = process(&here, process::id(), uid).unwrap();
            assert_eq!(found.executable.as_deref(), std::env::current_exe().ok().as_deref());
            assert!(process(&here, u32::MAX, uid).is_err());
            assert!(exists(process::id()) && !exists(i32::MAX as u32));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use tokio::net::UnixStream;

    use super::{NoProcess, Process};

    /// Whether this system tells the processes of callers.
    pub(super) const HAS_PROCESSES: bool = false;

    /// Every user has a number of its own on this system.
    pub(super) fn is_known(_id: u32, _kind: &str) -> bool {
        true
    }

    /// On this system every connection is a caller of its own.
    ///
    /// # Errors
    /// Always.
    pub(super) fn process(_stream: &UnixStream, _pid: u32, _uid: u32) -> Result<Process, NoProcess> {
        Err(NoProcess::Uncertain)
    }
}
