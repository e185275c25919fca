//! This machine: users, files, processes and PC/SC, and Windows' own use of cards. Nothing on it is changed.

#[cfg(unix)]
mod groups;
#[cfg(target_os = "linux")]
mod pcscd;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(unix)]
mod users;
mod windows;

use std::path::PathBuf;

use cardbroker_client::Endpoint;

use super::{
    facts::{Door, Me, Pcsc, Place},
    windows::WindowsCards,
};

/// The user of this process.
#[cfg(unix)]
pub(super) fn me() -> Me {
    users::me()
}

/// Other systems number no users.
#[cfg(not(unix))]
pub(super) fn me() -> Me {
    Me::default()
}

/// The findings at the endpoints.
pub(super) fn places(endpoints: Vec<Endpoint>) -> Vec<Place> {
    endpoints.into_iter().map(place).collect()
}

#[cfg(unix)]
fn place(endpoint: Endpoint) -> Place {
    let path = match &endpoint {
        Endpoint::Unix(path) => Some(path.as_path()),
        _ => None,
    };
    let socket = path.and_then(users::file);
    let folder = path.and_then(std::path::Path::parent).and_then(users::file);
    Place { endpoint, socket, folder }
}

#[cfg(not(unix))]
fn place(endpoint: Endpoint) -> Place {
    Place { endpoint, socket: None, folder: None }
}

/// The result of a connection to pcscd.
#[cfg(target_os = "linux")]
pub(super) fn door() -> Door {
    pcscd::door()
}

/// Other systems have another PC/SC than pcscd.
#[cfg(not(target_os = "linux"))]
pub(super) fn door() -> Door {
    Door::Missing
}

/// PC/SC on this machine, whose socket gave this result.
#[cfg(target_os = "linux")]
pub(super) fn pcsc(door: Door) -> Option<Pcsc> {
    Some(pcscd::look(door))
}

/// Other systems have another PC/SC than pcscd.
#[cfg(not(target_os = "linux"))]
pub(super) fn pcsc(_: Door) -> Option<Pcsc> {
    None
}

/// The use of cards by Windows itself; other systems leave them alone.
pub(super) fn windows() -> Option<WindowsCards> {
    system_folder().map(|folder| windows::look(&folder))
}

/// The folder of Windows' own programs.
#[cfg(windows)]
fn system_folder() -> Option<PathBuf> {
    cardbroker_pipe::system_folder().ok()
}

/// Other systems have no such folder.
#[cfg(not(windows))]
fn system_folder() -> Option<PathBuf> {
    None
}
