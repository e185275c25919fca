//! The port of `--tcp auto`: its token, and the endpoint file by which the clients of this user find it.
//!
//! A user has one such file. A broker that finds there the file of another one that runs does not start. Two that start
//! at the same moment may both have found none: then the file is that of the one whose start is last, and the other one
//! leaves it alone at its end.

use std::{
    fs::{self, DirBuilder, Metadata},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use cardbroker_local::{
    endpoint_file,
    endpoint_place::{endpoint_place, has_ended, read, this_process},
    private_file,
    socket::{Place, default_socket},
    trust::{Distrust, Obstacle, walk},
};
use rustix::process::{getegid, geteuid};

use super::BindError;
use crate::caller::own_token::OwnToken;

/// A port that clients can find. Dropping it removes the endpoint file.
#[derive(Debug)]
pub(super) struct AutoPort {
    /// The token in the file.
    pub(super) token: OwnToken,
    /// Removes the file when it is dropped.
    pub(super) file: PublishedFile,
}

/// The endpoint file. Dropping removes it, if it is still the one of this broker.
#[derive(Debug)]
pub(super) struct PublishedFile {
    path: PathBuf,
    /// Device and inode of the file when it was written.
    identity: (u64, u64),
}

/// Checks the place of the endpoint file before a port is taken. Makes its folder if that is missing.
///
/// # Errors
/// [`BindError::NoEndpointFolder`]; [`BindError::OtherAutoPort`] if another broker of this user runs;
/// [`BindError::EndpointFile`] if clients would not trust the place.
pub(super) fn prepare() -> Result<Place, BindError> {
    let user = geteuid().as_raw();
    if default_socket().is_none() {
        return Err(BindError::NoEndpointFolder { user });
    }
    let place = endpoint_place();
    let folder = private_file::folder_of(&place.socket);
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(problem(&place, format!("cannot make its folder: {error}")));
        }
        _ => {}
    }
    match walk(&place, user) {
        Err(Obstacle::Untrusted(Distrust::Link(link))) if link == place.socket => {}
        Err(Obstacle::Untrusted(distrust)) => {
            return Err(problem(&place, format!("clients do not trust this path: {distrust}: correct that")));
        }
        _ => {}
    }
    let owner = fs::symlink_metadata(folder).map(|found| found.uid());
    if owner.map_err(|error| problem(&place, format!("cannot check its folder: {error}")))? != user {
        return Err(problem(&place, "its folder belongs to another user: choose a port with --tcp".into()));
    }
    match read(&place) {
        Ok(found) if found.broker != this_process() && !has_ended(found.broker) => {
            Err(BindError::OtherAutoPort { file: place.socket, pid: found.broker.pid })
        }
        // Whatever else is there is replaced, and not followed.
        _ => Ok(place),
    }
}

impl AutoPort {
    /// Makes the token, and writes the endpoint file of a broker that listens at `address`.
    ///
    /// # Errors
    /// [`BindError::EndpointFile`] if the operating system refuses.
    pub(super) fn publish(place: &Place, address: SocketAddr, certificate_pem: &str) -> Result<Self, BindError> {
        let failed = |error: io::Error| problem(place, error.to_string());
        let (token, text) = OwnToken::make(geteuid().as_raw(), getegid().as_raw()).map_err(failed)?;
        let text = endpoint_file::to_text(address, &text, certificate_pem, this_process());
        Ok(Self { token, file: PublishedFile::write(&place.socket, &text).map_err(failed)? })
    }
}

impl PublishedFile {
    /// Writes the file under another name, with access for its owner only, and renames it: it is complete from its
    /// first moment.
    fn write(path: &Path, text: &str) -> io::Result<Self> {
        let folder = private_file::folder_of(path);
        let mut file = tempfile::Builder::new().prefix(".endpoint-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        let identity = identity(&file.as_file().metadata()?);
        file.persist(path).map_err(|error| error.error)?;
        Ok(Self { path: path.into(), identity })
    }
}

impl Drop for PublishedFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, file = %self.path.display(), "cannot remove the endpoint file");
        }
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn problem(place: &Place, problem: String) -> BindError {
    BindError::EndpointFile { file: place.socket.clone(), problem }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_private_and_removed_unless_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoint.json");
        // A link is replaced and not followed.
        fs::write(folder.path().join("other"), "other").unwrap();
        std::os::unix::fs::symlink("other", &path).unwrap();
        let first = PublishedFile::write(&path, "first").unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o7777 == 0o600);
        let second = PublishedFile::write(&path, "second").unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        drop(second);
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(folder.path().join("other")).unwrap(), "other");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }
}
