//! The protocol of systemd: `NOTIFY_SOCKET` and `WATCHDOG_USEC`.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;

pub(super) type Socket = tokio::net::UnixDatagram;

/// Connects to the socket that the environment names: a path, or an abstract name behind `@`.
pub(super) fn connect() -> io::Result<Option<Socket>> {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Socket::from_std(socket).map(Some)
}

/// The time of the watchdog, if there is one.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|time| !time.is_zero())
}

pub(super) fn ready() -> String {
    lines(&[NotifyState::Ready])
}

pub(super) fn reloading() -> String {
    let now = NotifyState::monotonic_usec_now().ok();
    let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(now).collect();
    lines(&states)
}

pub(super) fn stopping() -> String {
    lines(&[NotifyState::Stopping])
}

pub(super) fn extension(time: Duration) -> String {
    lines(&[NotifyState::ExtendTimeoutUsec(time.as_micros().try_into().unwrap_or(u32::MAX))])
}

pub(super) fn ping() -> String {
    lines(&[NotifyState::Watchdog])
}

pub(super) fn status(line: &str) -> String {
    lines(&[NotifyState::Status(line)])
}

fn lines(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}
