//! The port of `--tcp auto`: its token, and the endpoint file by which the clients of this user find it.
//!
//! A user has one such file. The broker that holds the lock beside it owns the file, whatever is in it; a second broker
//! does not start. While the broker runs it holds the file open, so that nobody can remove or replace it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    net::SocketAddr,
    os::windows::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use cardbroker_local::{
    endpoint_file,
    endpoint_place::{endpoint_place, read_running, this_process},
    private_file,
    socket::Place,
};
use tempfile::Builder;
use tokio::time::sleep;

use crate::{caller::own_token::OwnToken, listen::BindError, policy::accounts::own_account};

/// `FILE_SHARE_READ`: others may read the file meanwhile, but neither change, remove nor replace it.
const READERS_ONLY: u32 = 0x1;

/// `ERROR_ACCESS_DENIED` and `ERROR_SHARING_VIOLATION`, by which Windows refuses to replace or remove an open file.
const HELD: [i32; 2] = [5, 32];

/// How long another program may keep the file open, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The exclusive right to the endpoint file, before the file is written.
#[derive(Debug)]
pub(in crate::listen) struct EndpointPlace {
    place: Place,
    /// Locked. It stays when the broker ends.
    _lock: File,
}

/// A port that clients can find. Dropping it removes the endpoint file.
#[derive(Debug)]
pub(in crate::listen) struct AutoPort {
    /// The token in the file.
    token: OwnToken,
    file: EndpointGuard,
}

/// Keeps the endpoint file at its path. Dropping it removes the file if it is still there, then releases the lock.
#[derive(Debug)]
pub(in crate::listen) struct EndpointGuard {
    /// `None` once the file is being removed.
    held: Option<File>,
    is_removed: bool,
    place: EndpointPlace,
}

impl EndpointPlace {
    /// Takes the place of this user's endpoint file, before anything else is taken or made. Makes its folder if that is
    /// missing.
    ///
    /// # Errors
    /// [`BindError::OtherAutoPort`] if another broker of this user runs; [`BindError::EndpointFile`] if the file cannot
    /// be there, or others may change its folder.
    pub(in crate::listen) fn prepare() -> Result<Self, BindError> {
        Self::take(endpoint_place())
    }

    fn take(place: Place) -> Result<Self, BindError> {
        let folder = private_file::folder_of(&place.path);
        private_file::create_folder(folder)
            .map_err(|error| problem(&place, format!("cannot make its folder: {error}")))?;
        match private_file::excess(folder) {
            Ok(None) => {}
            Ok(Some(excess)) => return Err(problem(&place, format!("its folder {excess}: correct that"))),
            Err(error) => return Err(problem(&place, format!("cannot check its folder: {error}"))),
        }
        if place.path.is_dir() {
            return Err(problem(&place, "it is a folder: remove it".into()));
        }
        let lock = lock(&place)?;
        Ok(Self { place, _lock: lock })
    }

    /// Makes the token, and writes the endpoint file of a broker that listens at `address`.
    ///
    /// # Errors
    /// [`BindError::EndpointFile`] if the operating system refuses.
    pub(in crate::listen) fn publish(self, address: SocketAddr, certificate_pem: &str) -> Result<AutoPort, BindError> {
        let (token, text) = OwnToken::make(own_account()).map_err(|error| problem(&self.place, error.to_string()))?;
        let text = endpoint_file::to_text(address, &text, certificate_pem, this_process());
        let held = write(&self.place, &text)?;
        Ok(AutoPort { token, file: EndpointGuard { held: Some(held), is_removed: false, place: self } })
    }
}

impl AutoPort {
    /// The token in the endpoint file.
    pub(in crate::listen) fn token(&self) -> &OwnToken {
        &self.token
    }

    /// Keeps the endpoint file at its path, as it has been kept since it was written.
    pub(in crate::listen) fn keep(self) -> EndpointGuard {
        self.file
    }
}

impl EndpointGuard {
    /// Removes the file. Tries again while another program keeps it open, for [`PATIENCE`] at most, and leaves the
    /// runtime to others meanwhile, unlike the drop.
    pub(in crate::listen) async fn remove(&mut self) {
        let begin = Instant::now();
        let removed = loop {
            match self.try_remove() {
                Err(error) if is_held(&error) && begin.elapsed() < PATIENCE => sleep(PAUSE).await,
                removed => break removed,
            }
        };
        self.on_removed(removed);
    }

    fn try_remove(&mut self) -> io::Result<()> {
        // Closed first: nobody can remove the file while it is held.
        self.held = None;
        match fs::remove_file(&self.place.place.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Leaves the path alone from now on, and warns if the file stays.
    fn on_removed(&mut self, removed: io::Result<()>) {
        self.is_removed = true;
        if let Err(error) = removed {
            tracing::warn!(%error, file = %self.place.place.path.display(), "cannot remove the endpoint file");
        }
    }
}

impl Drop for EndpointGuard {
    fn drop(&mut self) {
        if !self.is_removed {
            let removed = with_patience(|| self.try_remove());
            self.on_removed(removed);
        }
    }
}

/// The file whose lock excludes a second broker.
fn lock_path(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".lock");
    name.into()
}

fn lock(place: &Place) -> Result<File, BindError> {
    let path = lock_path(&place.path);
    private_file::lock_file(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let pid = read_running(place).ok().map(|found| found.broker.pid);
            BindError::OtherAutoPort { file: place.path.clone(), pid }
        }
        _ => problem(place, format!("cannot lock {}: {error}", path.display())),
    })
}

/// Writes the file under another name, with access for its owner only, and renames it: it is complete from its first
/// moment. Replaces whatever file is there, and holds the new one.
fn write(place: &Place, text: &str) -> Result<File, BindError> {
    let write = || {
        let folder = private_file::folder_of(&place.path);
        let mut file = Builder::new().prefix(".endpoint-").make_in(folder, private_file::create_new)?;
        file.write_all(text.as_bytes())?;
        // Closed before it is held, which its own right to write would contradict.
        let mut file = Some(file.into_temp_path());
        with_patience(|| match file.take().map(|path| path.persist(&place.path)) {
            Some(Err(error)) => {
                file = Some(error.path);
                Err(error.error)
            }
            _ => Ok(()),
        })
        .map_err(held_by_another)?;
        File::options().read(true).share_mode(READERS_ONLY).open(&place.path)
    };
    write().map_err(|error| problem(place, error.to_string()))
}

/// Tries again while another program, such as a reader of the file or one against viruses, keeps it open without
/// letting others replace or remove it. Blocks for [`PATIENCE`] at most.
fn with_patience<T>(mut action: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begin = Instant::now();
    loop {
        match action() {
            Err(error) if is_held(&error) && begin.elapsed() < PATIENCE => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn is_held(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| HELD.contains(&code))
}

/// The error of the system with its likely cause.
fn held_by_another(error: io::Error) -> io::Error {
    match is_held(&error) {
        true => io::Error::other(format!("{error}: another program may have the file open: close it")),
        false => error,
    }
}

fn problem(place: &Place, problem: String) -> BindError {
    BindError::EndpointFile { file: place.path.clone(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_and_place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(r"own\endpoint.json");
        (folder, Place { path, is_own: true })
    }

    fn published(place: &Place) -> AutoPort {
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        EndpointPlace::take(place.clone()).unwrap().publish(([127, 0, 0, 1], 7).into(), pem).unwrap()
    }

    #[test]
    fn the_file_names_this_process_and_is_removed_at_the_end() {
        let (folder, place) = folder_and_place();
        let guard = published(&place).keep();
        let read = read_running(&place).unwrap();
        assert_eq!((read.address, read.broker), (([127, 0, 0, 1], 7).into(), this_process()));
        assert!(!format!("{guard:?}").contains(read.token.expose()));
        drop(guard);
        let left: Vec<_> =
            fs::read_dir(folder.path().join("own")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["endpoint.json.lock"], "nothing but the lock file is left behind");
    }

    #[test]
    fn nobody_can_remove_or_replace_the_file_of_a_running_broker() {
        let (folder, place) = folder_and_place();
        let port = published(&place);
        let other = folder.path().join("other");
        fs::write(&other, "other").unwrap();
        assert!(fs::remove_file(&place.path).is_err());
        assert!(fs::rename(&other, &place.path).is_err());
        assert!(fs::write(&place.path, "other").is_err());
        assert!(read_running(&place).is_ok());
        drop(port);
        fs::rename(&other, &place.path).unwrap();
    }

    #[test]
    fn a_program_that_reads_the_file_delays_its_change() {
        let (_folder, place) = folder_and_place();
        let port = published(&place);
        let reader = |time| {
            let file = File::options().read(true).share_mode(READERS_ONLY).open(&place.path).unwrap();
            thread::spawn(move || {
                thread::sleep(time);
                drop(file);
            })
        };
        let short = reader(PATIENCE / 4);
        drop(port);
        assert!(!place.path.exists(), "it is removed once the program has closed it");
        short.join().unwrap();
        fs::write(&place.path, "left by a broker that was killed").unwrap();
        let short = reader(PATIENCE / 4);
        let port = published(&place);
        assert!(read_running(&place).is_ok(), "it is replaced once the program has closed it");
        short.join().unwrap();
        drop(port);
        fs::write(&place.path, "left by a broker that was killed").unwrap();
        let long = reader(2 * PATIENCE);
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let refused = EndpointPlace::take(place.clone()).unwrap().publish(([127, 0, 0, 1], 7).into(), pem);
        assert!(refused.unwrap_err().to_string().contains("another program may have the file open"));
        long.join().unwrap();
    }

    #[tokio::test]
    async fn others_work_while_the_file_is_removed() {
        let (_folder, place) = folder_and_place();
        let mut guard = published(&place).keep();
        let file = File::options().read(true).share_mode(READERS_ONLY).open(&place.path).unwrap();
        let other = async {
            sleep(PATIENCE / 8).await;
            assert!(place.path.exists());
            drop(file);
        };
        tokio::join!(guard.remove(), other);
        assert!(!place.path.exists());
        // Another broker's by now: the drop leaves it alone.
        fs::write(&place.path, "other").unwrap();
        drop(guard);
        assert!(place.path.exists());
    }

    #[test]
    fn a_second_broker_is_refused_and_a_left_file_is_replaced() {
        let (_folder, place) = folder_and_place();
        let first = published(&place);
        match EndpointPlace::take(place.clone()) {
            Err(BindError::OtherAutoPort { file, pid }) => {
                assert_eq!((file, pid), (place.path.clone(), Some(std::process::id())));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        fs::write(&place.path, "left by a broker that was killed").unwrap();
        let _second = published(&place);
        assert!(read_running(&place).is_ok());
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_named_in_the_error() {
        let (_folder, place) = folder_and_place();
        fs::create_dir_all(&place.path).unwrap();
        let told = EndpointPlace::take(place).unwrap_err().to_string();
        assert!(told.ends_with("endpoint.json: it is a folder: remove it"), "{told}");
    }
}
