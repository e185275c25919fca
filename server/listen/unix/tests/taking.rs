//! Tests of taking the socket, and of its refusals.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use cardbroker_core::user::SystemGroup;

use super::place;
use crate::{
    config::{ListenConfig, SocketGroup},
    listen::{BindError, unix::bound::BoundSocket},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn problem(config: &ListenConfig) -> String {
    match BoundSocket::bind(config).unwrap_err() {
        BindError::Unfit { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_second_start_is_refused_until_the_first_has_ended() {
    let (_folder, config) = place();
    let first = BoundSocket::bind(&config).unwrap();
    let error = BoundSocket::bind(&config).unwrap_err();
    assert!(matches!(&error, BindError::AlreadyRunning { socket } if *socket == config.socket), "{error}");
    UnixStream::connect(&config.socket).unwrap();
    drop(first);
    BoundSocket::bind(&config).unwrap();
}

#[test]
fn a_dead_socket_is_taken_over() {
    let (_folder, config) = place();
    drop(BoundSocket::bind(&config).unwrap());
    drop(UnixListener::bind(&config.socket).unwrap());
    UnixStream::connect(&config.socket).unwrap_err();
    let _taken = BoundSocket::bind(&config).unwrap();
    UnixStream::connect(&config.socket).unwrap();
}

#[test]
fn a_broker_with_a_removed_lock_file_is_still_detected() {
    let (_folder, config) = place();
    let _first = BoundSocket::bind(&config).unwrap();
    fs::remove_file(config.socket.with_extension("sock.lock")).unwrap();
    assert!(matches!(BoundSocket::bind(&config).unwrap_err(), BindError::AlreadyRunning { .. }));
}

#[test]
fn socket_and_folder_are_for_the_owner_alone() {
    let (_folder, config) = place();
    let _socket = BoundSocket::bind(&config).unwrap();
    assert_eq!(mode(&config.socket), 0o600);
    assert_eq!(mode(config.socket.parent().unwrap()), 0o700);
    assert_eq!(mode(&config.socket.with_extension("sock.lock")), 0o600);
}

#[test]
fn the_configured_group_has_access() {
    let (_folder, mut config) = place();
    let groups = rustix::process::getgroups().unwrap();
    let gid = groups.last().map_or_else(|| rustix::process::getgid().as_raw(), |gid| gid.as_raw());
    config.socket_group = Some(SocketGroup { name: "ours".into(), group: SystemGroup::unix(gid) });
    config.socket_mode = 0o660;
    let _socket = BoundSocket::bind(&config).unwrap();
    for (path, expected) in [(config.socket.as_path(), 0o660), (config.socket.parent().unwrap(), 0o750)] {
        assert_eq!((mode(path), fs::metadata(path).unwrap().gid()), (expected, gid));
    }
}

#[test]
fn everybody_who_may_connect_may_enter_the_folder() {
    for (socket_mode, folder_mode) in [
        (0o600, 0o700),
        (0o644, 0o700),
        (0o660, 0o750),
        (0o620, 0o750),
        (0o664, 0o750),
        (0o602, 0o755),
        (0o666, 0o755),
        (0o777, 0o755),
    ] {
        let (_folder, mut config) = place();
        config.socket_mode = socket_mode;
        let _socket = BoundSocket::bind(&config).unwrap();
        let folder = config.socket.parent().unwrap();
        assert_eq!((mode(&config.socket), mode(folder)), (socket_mode, folder_mode));
        assert_eq!(fs::metadata(folder).unwrap().gid(), rustix::process::getegid().as_raw());
    }
}

#[test]
fn an_existing_folder_is_used_unchanged() {
    let (folder, mut config) = place();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    config.socket = folder.path().join("broker.sock");
    drop(BoundSocket::bind(&config).unwrap());
    assert_eq!(mode(folder.path()), 0o755);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let group = SystemGroup::unix(fs::metadata(folder.path()).unwrap().gid());
    config.socket_group = Some(SocketGroup { name: "ours".into(), group });
    assert!(problem(&config).contains("cannot be entered by the socket's group"));
    assert_eq!(mode(folder.path()), 0o700);
}

#[test]
fn a_folder_that_others_control_is_refused() {
    let (folder, mut config) = place();
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, Permissions::from_mode(0o777)).unwrap();
    assert!(problem(&config).contains("can be written by others"));

    fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
    symlink(&own, folder.path().join("link")).unwrap();
    config.socket = folder.path().join("link/broker.sock");
    assert!(problem(&config).contains("symbolic link"));

    // Only root can give a folder away; for every other user /usr belongs to root.
    let foreign = if chown(&own, Some(54_321), None).is_ok() { own.as_path() } else { Path::new("/usr") };
    config.socket = foreign.join("broker.sock");
    assert!(problem(&config).contains("belongs to another user"));
    assert!(!config.socket.exists());
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let (_folder, config) = place();
    fs::create_dir(config.socket.parent().unwrap()).unwrap();
    fs::write(&config.socket, "precious").unwrap();
    assert!(problem(&config).contains("something else than a socket"));
    assert_eq!(fs::read(&config.socket).unwrap(), b"precious");
}

#[test]
fn a_path_too_long_is_refused_before_anything_is_created() {
    let (folder, mut config) = place();
    config.socket = folder.path().join("own").join("x".repeat(120));
    assert!(problem(&config).contains("too long"));
    assert!(!folder.path().join("own").exists());
}

#[test]
fn the_shutdown_removes_only_the_socket() {
    let (_folder, config) = place();
    drop(BoundSocket::bind(&config).unwrap());
    assert!(!config.socket.exists());

    let bound = BoundSocket::bind(&config).unwrap();
    fs::remove_file(&config.socket).unwrap();
    fs::write(&config.socket, "someone else's").unwrap();
    drop(bound);
    assert!(config.socket.exists());
}
