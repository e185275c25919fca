//! Tests of the listener with real sockets in folders of their own.

mod serving;
mod taking;

use tempfile::TempDir;

use crate::config::ListenConfig;

/// A folder for socket and certificate, and a configuration that puts them there. The socket's own folder does not
/// exist yet.
fn place() -> (TempDir, ListenConfig) {
    let folder = tempfile::tempdir().unwrap();
    let (socket, tokens) = (folder.path().join("own/broker.sock"), folder.path().join("tokens"));
    (folder, ListenConfig { socket, tokens, ..ListenConfig::default() })
}
