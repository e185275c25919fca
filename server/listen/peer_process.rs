//! The process at the other end of a connection on the Unix socket, if the operating system identifies it for certain.
//!
//! The kernel remembers the number of the process that has connected. By the time the connection is accepted that
//! process may have ended, and another one may have its number: `/proc` then describes the other one.

use std::{io, path::Path, sync::Arc};

use cardbroker_core::caller::Caller;
use tokio::net::UnixStream;

/// Returns the caller of a connection that was accepted just now: its process if that is certain, else the connection.
///
/// # Errors
/// The operating system does not name the user.
pub(super) fn caller(connection: u64, stream: &UnixStream) -> io::Result<Caller> {
    let peer = stream.peer_cred()?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
    let process = pid.and_then(|pid| os::process(stream, pid, peer.uid()));
    let caller = Caller::local(connection, peer.uid(), peer.gid(), pid, process.as_ref().map(|found| found.start_time));
    Ok(Caller { executable: process.and_then(|found| found.executable), ..caller })
}

/// The process behind a connection.
#[derive(Debug)]
struct Process {
    /// When it started, in clock ticks since the machine started.
    start_time: u64,
    /// Its program; `None` if the broker may not read it.
    executable: Option<Arc<Path>>,
}

#[cfg(target_os = "linux")]
mod os {
    use std::fs;

    use nix::{
        errno::Errno,
        sys::socket::{getsockopt, sockopt::PeerPidfd},
    };
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fd::OwnedFd,
        param::clock_ticks_per_second,
        time::{ClockId, clock_gettime},
    };
    use tokio::net::UnixStream;

    use super::Process;
    use cardbroker_core::caller::start_time;

    /// Returns the process that has connected as `uid` and had the number `pid`; `None` if it has ended, if it cannot
    /// be distinguished from a later one of that number, or if `/proc` does not show it.
    pub(super) fn process(stream: &UnixStream, pid: u32, uid: u32) -> Option<Process> {
        let accepted = ticks_since_boot();
        let pidfd = getsockopt(stream, PeerPidfd);
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let executable = fs::read_link(format!("/proc/{pid}/exe")).ok().map(Into::into);
        // Last: if the process lives now, it had the number all the time.
        let ended = pidfd.map(|pidfd| has_ended(&pidfd));
        let start_time = start_time(&String::from_utf8_lossy(&stat))?;
        let found = Found { start_time, user: effective_user(&String::from_utf8_lossy(&status))? };
        is_peer(&found, uid, accepted, ended).then_some(Process { start_time, executable })
    }

    /// The process that has the peer's number now.
    #[derive(Debug, Clone, Copy)]
    struct Found {
        /// In clock ticks since the machine started.
        start_time: u64,
        /// Its effective user, as which it connects.
        user: u32,
    }

    /// Returns whether `found` is the peer, a process that connected as `uid`, whose connection was `accepted` at that
    /// tick. `ended` says whether the peer had ended after everything else was read, or why there is no pidfd of it.
    ///
    /// A kernel without such pidfds (Linux before 6.5) leaves two signs that `found` is not the peer: it started after
    /// the accept, or it is another user's. A process of the same user that started while the connection waited to be
    /// accepted is taken for the peer there.
    fn is_peer(found: &Found, uid: u32, accepted: u64, ended: Result<bool, Errno>) -> bool {
        match ended {
            Ok(ended) => !ended,
            Err(Errno::ENOPROTOOPT) => found.user == uid && found.start_time <= accepted,
            // The peer was reaped before, or the kernel has no pidfd to give (too many open files): nothing is certain.
            Err(_) => false,
        }
    }

    /// Returns the effective user in the text of `/proc/PID/status`. The owner of `/proc/PID` would not do: it is root
    /// for a process that is not dumpable, such as one that keeps secrets or has changed its user.
    fn effective_user(status: &str) -> Option<u32> {
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        users.split_whitespace().nth(1)?.parse().ok()
    }

    /// Returns whether the process has ended. In doubt it has.
    fn has_ended(pidfd: &OwnedFd) -> bool {
        let mut exit = [PollFd::new(pidfd, PollFlags::IN)];
        poll(&mut exit, Some(&Timespec::default())) != Ok(0)
    }

    /// Returns the time in the unit and from the beginning that `/proc` counts start times by.
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
        fn a_process_that_lives_is_the_peer_whatever_its_user_became() {
            assert!(is_peer(&FOUND, 7, 700, Ok(false)));
            assert!(is_peer(&FOUND, 8, 700, Ok(false)), "it has taken another user since");
        }

        #[test]
        fn a_process_that_has_ended_is_not_the_one_with_its_number() {
            assert!(!is_peer(&FOUND, 7, 700, Ok(true)));
            for errno in [Errno::ESRCH, Errno::EINVAL, Errno::ENODATA] {
                assert!(!is_peer(&FOUND, 7, 700, Err(errno)), "{errno}");
            }
        }

        #[test]
        fn without_a_pidfd_for_want_of_files_nothing_is_certain() {
            assert!(!is_peer(&FOUND, 7, 700, Err(Errno::EMFILE)));
        }

        #[test]
        fn on_a_kernel_without_pidfds_user_and_start_time_must_fit() {
            let is_peer = |uid, accepted| is_peer(&FOUND, uid, accepted, Err(Errno::ENOPROTOOPT));
            assert!(is_peer(7, 700) && is_peer(7, 701));
            assert!(!is_peer(7, 699), "it started after the accept");
            assert!(!is_peer(8, 700), "it is another user's");
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
        async fn this_process_is_known_and_one_that_never_was_is_not() {
            let (here, _there) = UnixStream::pair().unwrap();
            let uid = rustix::process::getuid().as_raw();
            let found = process(&here, process::id(), uid).unwrap();
            assert_eq!(found.executable.as_deref(), std::env::current_exe().ok().as_deref());
            assert!(process(&here, u32::MAX, uid).is_none());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use tokio::net::UnixStream;

    use super::Process;

    /// Returns nothing yet: every connection is a caller of its own here.
    pub(super) fn process(_stream: &UnixStream, _pid: u32, _uid: u32) -> Option<Process> {
        None
    }
}
