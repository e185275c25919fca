//! Tests of the listener with real sockets in folders of their own.

mod serving;
mod taking;

use tempfile::TempDir;

use crate::config::ListenConfig;

/// A folder for a socket, and a configuration that puts it there. The socket's own folder does not exist yet.
fn place() -> (TempDir, ListenConfig) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("own/broker.sock");
    (folder, ListenConfig { socket, ..ListenConfig::default() })
}
