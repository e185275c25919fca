//! A wait for changes of the folders in a path, by the operating system's own notices where there are any.

use std::{io, mem, path::Path, time::Duration};

use tokio::time::{sleep, timeout};

/// The time between two checks of a path without notices of all its folders.
const WITHOUT_NOTICES: Duration = Duration::from_secs(5);

/// Notices of a path's folder: of entries that come, go or change their names. Also notices of the end or the move of
/// that folder, of every folder above it and of every link among them; a mount over one of them gives none. One
/// instance serves for the whole life of its owner, whatever becomes of the folders.
#[derive(Default)]
pub(super) struct FolderWatch {
    /// `None` before the first folder, and while the system gives no notices.
    notices: Option<notices::Notices>,
    /// Whether a folder above gives no notices, because the broker may not read it.
    has_gap: bool,
    /// Whether a missing ability to watch was logged.
    is_blind: bool,
}

impl FolderWatch {
    /// Watches the folders of `path` from now on; they may be others than at the last call. Must be called inside a
    /// runtime.
    pub(super) fn follow(&mut self, path: &Path) {
        let folder = path.parent().unwrap_or(path);
        let followed = match &mut self.notices {
            Some(notices) => notices.follow(folder),
            None => notices::Notices::new().and_then(|notices| self.notices.insert(notices).follow(folder)),
        };
        match followed {
            Ok(is_complete) => self.has_gap = !is_complete,
            Err(error) => self.on_blind(&error),
        }
    }

    /// Waits for the next change, for at most `longest`. Returns whether there may have been one.
    pub(super) async fn changed(&mut self, longest: Option<Duration>) -> bool {
        let Some(notices) = &mut self.notices else {
            sleep(WITHOUT_NOTICES).await;
            return longest.is_none();
        };
        let noticed = match longest.or(self.has_gap.then_some(WITHOUT_NOTICES)) {
            Some(longest) => match timeout(longest, notices.next()).await {
                Ok(noticed) => noticed,
                Err(_) => return false,
            },
            None => notices.next().await,
        };
        if let Err(error) = noticed {
            self.on_blind(&error);
        }
        true
    }

    fn on_blind(&mut self, error: &io::Error) {
        self.notices = None;
        let was_blind = mem::replace(&mut self.is_blind, true);
        if !was_blind && error.kind() != io::ErrorKind::Unsupported {
            let remedy = "raise max_user_instances and max_user_watches of fs.inotify";
            tracing::warn!(%error, "cannot watch the folders of socket and endpoint file: {remedy}");
        }
    }
}

#[cfg(target_os = "linux")]
mod notices {
    use std::{collections::HashSet, fs, io, path::Path};

    use futures_util::StreamExt;
    use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};

    /// Room for one event with the longest name.
    const BUFFER_BYTES: usize = 512;

    /// One instance of inotify, with a watch for each folder of a path.
    pub(super) struct Notices {
        stream: EventStream<[u8; BUFFER_BYTES]>,
        folders: HashSet<WatchDescriptor>,
    }

    impl Notices {
        pub(super) fn new() -> io::Result<Self> {
            let stream = Inotify::init()?.into_event_stream([0; BUFFER_BYTES])?;
            Ok(Self { stream, folders: HashSet::new() })
        }

        /// Watches the folder now at `path` and those above it, and no others. A missing folder gives no notices.
        /// Returns whether each folder that exists does.
        pub(super) fn follow(&mut self, path: &Path) -> io::Result<bool> {
            // One folder may be named twice, so a mask adds to the one before.
            let ends = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::DONT_FOLLOW | WatchMask::MASK_ADD;
            let changes = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::ONLYDIR;
            let (mut followed, mut is_complete) = (HashSet::new(), true);
            // Folders that are reached by a link: their own path matters, and the link.
            let real = fs::canonicalize(path).unwrap_or_default();
            let above = path.ancestors().skip(1).chain(real.ancestors()).map(|folder| (folder, ends));
            for (folder, mask) in [(path, ends | changes)].into_iter().chain(above) {
                if folder.as_os_str().is_empty() {
                    continue;
                }
                match self.stream.watches().add(folder, mask) {
                    Ok(watch) => _ = followed.insert(watch),
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => is_complete = false,
                    Err(error) => return Err(error),
                }
            }
            for before in self.folders.difference(&followed) {
                // The system has removed it already if its folder has gone.
                let _ = self.stream.watches().remove(before.clone());
            }
            self.folders = followed;
            Ok(is_complete)
        }

        /// The numbers of the watches in their instance, which gives each number once.
        #[cfg(test)]
        pub(super) fn numbers(&self) -> std::collections::BTreeSet<i32> {
            self.folders.iter().map(WatchDescriptor::get_watch_descriptor_id).collect()
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            self.stream.next().await.unwrap_or(Err(io::ErrorKind::UnexpectedEof.into())).map(drop)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod notices {
    use std::{io, path::Path};

    /// Cannot be made: the system gives no notices.
    pub(super) enum Notices {}

    impl Notices {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn follow(&mut self, _: &Path) -> io::Result<bool> {
            match *self {}
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(20));
    const SHORT: Option<Duration> = Some(Duration::from_millis(50));

    #[tokio::test]
    async fn one_instance_follows_a_folder_that_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, away) = (parent.path().join("folder"), parent.path().join("away"));
        let socket = folder.join("socket");
        let mut watch = FolderWatch::default();
        // A folder that does not exist yet is no failure.
        watch.follow(&socket);
        for _ in 0..3 {
            fs::create_dir(&folder).unwrap();
            watch.follow(&socket);
            let numbers = watch.notices.as_ref().unwrap().numbers();
            assert_eq!(numbers.len(), folder.canonicalize().unwrap().ancestors().count());
            watch.follow(&socket);
            assert_eq!(watch.notices.as_ref().unwrap().numbers(), numbers, "they stay");
            while watch.changed(SHORT).await {}
            fs::write(&socket, "").unwrap();
            assert!(watch.changed(LONG).await);
            fs::rename(&folder, &away).unwrap();
            assert!(watch.changed(LONG).await);
            watch.follow(&socket);
            while watch.changed(SHORT).await {}
            fs::remove_dir_all(&away).unwrap();
            assert!(!watch.changed(SHORT).await, "it is not the folder at the path any more");
        }
        assert!(!watch.is_blind);
    }

    #[tokio::test]
    async fn every_folder_and_every_link_above_is_watched() {
        let top = tempfile::tempdir().unwrap();
        let place = |name: &str| top.path().join(name);
        fs::create_dir_all(place("real/b/c/folder")).unwrap();
        symlink(place("real"), place("link")).unwrap();
        let socket = place("link/b/c/folder/socket");
        let mut watch = FolderWatch::default();
        for moved in ["link", "real", "real/b", "real/b/c", "real/b/c/folder"] {
            watch.follow(&socket);
            while watch.changed(SHORT).await {}
            fs::rename(place(moved), place("away")).unwrap();
            assert!(watch.changed(LONG).await, "{moved}");
            fs::rename(place("away"), place(moved)).unwrap();
        }
        watch.follow(&socket);
        while watch.changed(SHORT).await {}
        symlink(place("elsewhere"), place("new")).unwrap();
        fs::rename(place("new"), place("link")).unwrap();
        assert!(watch.changed(LONG).await, "a link in place of the link");
        watch.follow(&socket);
        while watch.changed(SHORT).await {}
        fs::write(place("file"), "").unwrap();
        assert!(!watch.changed(SHORT).await, "other files in a folder above are no business of this path");
        assert!(!watch.is_blind && !watch.has_gap);
    }
}
