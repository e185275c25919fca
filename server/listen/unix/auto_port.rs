//! The port of `--tcp auto`: its token, and the endpoint file by which the clients of this user find it.
//!
//! A user has one such file. The broker that holds the lock beside it owns the file, whatever is in it; a second broker
//! does not start.

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    future,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use cardbroker_local::{
    endpoint_file,
    endpoint_place::{endpoint_place, read_running, this_process},
    private_file,
    socket::{Place, default_socket},
    trust::{Distrust, Obstacle, walk},
};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{
    lock_file::{LockFile, names},
    path_watch::{Kept, PathGuard, PathState},
};
use crate::{caller::own_token::OwnToken, listen::BindError, policy::accounts::own_account};

/// The exclusive right to the endpoint file, before the file is written.
#[derive(Debug)]
pub(in crate::listen) struct EndpointPlace {
    place: Place,
    lock: LockFile,
}

/// A port that clients can find. Dropping it removes the endpoint file.
#[derive(Debug)]
pub(in crate::listen) struct AutoPort {
    /// The token in the file.
    token: OwnToken,
    file: PublishedFile,
}

/// Keeps the endpoint file at its path. Dropping it removes the file.
#[derive(Debug)]
pub(in crate::listen) struct EndpointGuard {
    _file: PathGuard<PublishedFile>,
}

/// The endpoint file and the lock beside it. Dropping removes the file, then releases the lock. `Debug` shows no token.
struct PublishedFile {
    place: EndpointPlace,
    /// The content, with the token.
    text: Zeroizing<String>,
    /// Open, so that no other file gets its number.
    file: File,
}

impl EndpointPlace {
    /// Takes the place of this user's endpoint file, before anything else is taken or made. Makes its folder if that is
    /// missing.
    ///
    /// # Errors
    /// [`BindError::NoEndpointFolder`]; [`BindError::OtherAutoPort`] if another broker of this user runs;
    /// [`BindError::EndpointFile`] if the file cannot be there, or clients would not trust the place.
    pub(in crate::listen) fn prepare() -> Result<Self, BindError> {
        match default_socket() {
            None => Err(BindError::NoEndpointFolder { user: geteuid().as_raw() }),
            Some(_) => Self::take(endpoint_place()),
        }
    }

    fn take(place: Place) -> Result<Self, BindError> {
        make_ready(&place)?;
        let lock = lock(&place)?;
        Ok(Self { place, lock })
    }

    /// Makes the token, and writes the endpoint file of a broker that listens at `address`.
    ///
    /// # Errors
    /// [`BindError::EndpointFile`] if the operating system refuses.
    pub(in crate::listen) fn publish(self, address: SocketAddr, certificate_pem: &str) -> Result<AutoPort, BindError> {
        let (token, text) = OwnToken::make(own_account()).map_err(|error| problem(&self.place, error.to_string()))?;
        let text = endpoint_file::to_text(address, &text, certificate_pem, this_process());
        Ok(AutoPort { token, file: PublishedFile::write(self, text)? })
    }
}

impl AutoPort {
    /// The token in the endpoint file.
    pub(in crate::listen) fn token(&self) -> &OwnToken {
        &self.token
    }

    /// Keeps the endpoint file at its path from now on. Must be called inside a runtime.
    pub(in crate::listen) fn keep(self) -> EndpointGuard {
        EndpointGuard { _file: PathGuard::start(self.file, future::pending()) }
    }
}

impl EndpointGuard {
    /// Does nothing: the drop removes the file without waiting.
    pub(in crate::listen) async fn remove(&mut self) {}
}

impl fmt::Debug for PublishedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PublishedFile").field("place", &self.place).finish_non_exhaustive()
    }
}

impl PublishedFile {
    fn write(place: EndpointPlace, text: Zeroizing<String>) -> Result<Self, BindError> {
        let file = write(&place.place, &text)?;
        Ok(Self { place, text, file })
    }

    /// Whether path and lock are still those of this broker.
    fn is_held(&self) -> bool {
        self.place.lock.is_in_place() && names(self.path(), &self.file)
    }

    /// Writes the file again, after it or its lock was removed or replaced.
    ///
    /// # Errors
    /// [`BindError::OtherAutoPort`] if another broker has the lock; else the errors of [`EndpointPlace::prepare`].
    fn write_again(&mut self) -> Result<(), BindError> {
        let EndpointPlace { place, lock: kept } = &mut self.place;
        make_ready(place)?;
        // The lock file may have gone with the folder, and another broker may have made a new one.
        if !kept.is_in_place() {
            *kept = lock(place)?;
        }
        self.file = write(place, &self.text)?;
        Ok(())
    }
}

impl Kept for PublishedFile {
    const LOSS: &'static str = "the endpoint file was removed or replaced";

    fn path(&self) -> &Path {
        &self.place.place.path
    }

    fn check(&mut self) -> PathState {
        if self.is_held() {
            return PathState::Held;
        }
        match self.write_again() {
            Ok(()) => {
                let file = self.path().display();
                tracing::warn!(%file, "the endpoint file was removed or replaced: written again");
                PathState::Restored
            }
            Err(problem @ BindError::OtherAutoPort { .. }) => {
                tracing::error!("this broker cannot be found by tcp:auto any more: {problem}");
                PathState::Taken
            }
            Err(problem) => PathState::Failed(problem),
        }
    }
}

impl Drop for PublishedFile {
    fn drop(&mut self) {
        if self.place.lock.is_in_place()
            && let Err(error) = fs::remove_file(self.path())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.path().display(), "cannot remove the endpoint file");
        }
    }
}

/// Judges the path, makes the folder if it is missing, and checks that the file can be there.
fn make_ready(place: &Place) -> Result<(), BindError> {
    let user = geteuid().as_raw();
    match walk(place, user) {
        // A link is replaced and not followed.
        Err(Obstacle::Untrusted(Distrust::Link(link))) if link == place.path => {}
        Err(Obstacle::Untrusted(distrust)) => {
            return Err(problem(place, format!("clients do not trust this path: {distrust}: correct that")));
        }
        _ => {}
    }
    let folder = private_file::folder_of(&place.path);
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(problem(place, format!("cannot make its folder: {error}")));
        }
        _ => {}
    }
    let owner = fs::symlink_metadata(folder).map(|found| found.uid());
    if owner.map_err(|error| problem(place, format!("cannot check its folder: {error}")))? != user {
        return Err(problem(place, "its folder belongs to another user: choose a port with --tcp".into()));
    }
    match fs::symlink_metadata(&place.path) {
        Ok(found) if found.is_dir() => Err(problem(place, "it is a folder: remove it".into())),
        _ => Ok(()),
    }
}

fn lock(place: &Place) -> Result<LockFile, BindError> {
    LockFile::take(&place.path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let pid = read_running(place).ok().map(|found| found.broker.pid);
            BindError::OtherAutoPort { file: place.path.clone(), pid }
        }
        _ => problem(place, format!("cannot lock {}.lock: {error}", place.path.display())),
    })
}

/// Writes the file under another name, with access for its owner only, and renames it: it is complete from its first
/// moment. Replaces whatever file is there.
fn write(place: &Place, text: &str) -> Result<File, BindError> {
    let write = || {
        let folder = private_file::folder_of(&place.path);
        let mut file = tempfile::Builder::new().prefix(".endpoint-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(&place.path).map_err(|error| error.error)
    };
    write().map_err(|error| problem(place, error.to_string()))
}

fn problem(place: &Place, problem: String) -> BindError {
    BindError::EndpointFile { file: place.path.clone(), problem }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder_and_place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own/endpoint.json");
        (folder, Place { path, is_own: true })
    }

    fn published(place: &Place, text: &str) -> PublishedFile {
        let taken = EndpointPlace::take(place.clone()).unwrap();
        PublishedFile::write(taken, text.to_owned().into()).unwrap()
    }

    #[test]
    fn the_file_is_private_and_removed_at_the_end() {
        let (folder, place) = folder_and_place();
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        // A link is replaced and not followed.
        fs::write(folder.path().join("other"), "other").unwrap();
        std::os::unix::fs::symlink("../other", &place.path).unwrap();
        let file = published(&place, "text");
        let found = fs::symlink_metadata(&place.path).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o7777 == 0o600);
        let lock = fs::metadata(own.join("endpoint.json.lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o7777, 0o600);
        drop(file);
        assert_eq!(fs::read_to_string(folder.path().join("other")).unwrap(), "other");
        assert_eq!(fs::read_dir(own).unwrap().count(), 1, "nothing but the lock file is left behind");
    }

    #[test]
    fn a_second_broker_is_refused_whatever_the_file_holds() {
        let (_folder, place) = folder_and_place();
        let refused = || match EndpointPlace::take(place.clone()) {
            Err(BindError::OtherAutoPort { file, pid: None }) if file == place.path => {}
            other => panic!("{other:?}"),
        };
        let taken = EndpointPlace::take(place.clone()).unwrap();
        refused();
        let file = PublishedFile::write(taken, "no JSON".to_owned().into()).unwrap();
        refused();
        fs::remove_file(&place.path).unwrap();
        refused();
        drop(file);
        fs::write(&place.path, "damaged").unwrap();
        drop(published(&place, "text"));
    }

    #[test]
    fn a_lost_file_is_written_again_unless_another_broker_has_the_place() {
        let (folder, place) = folder_and_place();
        let mut first = published(&place, "first");
        for lose in [
            (|folder, _| fs::remove_dir_all(folder)) as fn(&Path, &Path) -> io::Result<()>,
            |_, file| fs::remove_file(file),
            |_, file| fs::remove_file(file).and_then(|()| fs::write(file, "other")),
            |folder, _| fs::remove_file(folder.join("endpoint.json.lock")),
        ] {
            lose(&folder.path().join("own"), &place.path).unwrap();
            assert!(!first.is_held());
            first.write_again().unwrap();
            assert!(first.is_held());
            assert_eq!(fs::read_to_string(&place.path).unwrap(), "first");
        }
        fs::remove_dir_all(folder.path().join("own")).unwrap();
        let second = published(&place, "second");
        assert!(matches!(first.write_again(), Err(BindError::OtherAutoPort { .. })));
        drop(first);
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "second");
        drop(second);
        assert!(!place.path.exists());
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_named_in_the_error() {
        let (_folder, place) = folder_and_place();
        fs::create_dir_all(&place.path).unwrap();
        let told = EndpointPlace::take(place).unwrap_err().to_string();
        assert!(told.ends_with("endpoint.json: it is a folder: remove it"), "{told}");
    }
}
