//! A wait for changes in a folder, by the operating system's own notices where there are any.

use std::{io, mem, path::Path, time::Duration};

use tokio::time::{sleep, timeout};

/// The time between two looks at a folder without notices.
const WITHOUT_NOTICES: Duration = Duration::from_secs(5);

/// Notices of entries that come, go or change their names, and of the end of the folder itself. One instance serves for
/// the whole life of its owner, whatever becomes of the folder.
#[derive(Default)]
pub(super) struct FolderWatch {
    /// `None` before the first folder, and while the system gives no notices.
    notices: Option<notices::Notices>,
    /// Whether a missing ability to watch was logged.
    is_blind: bool,
}

impl FolderWatch {
    /// Watches the folder of `path` from now on; it may be another one than at the last call. Must be called inside a
    /// runtime.
    pub(super) fn follow(&mut self, path: &Path) {
        let folder = path.parent().unwrap_or(path);
        let followed = match &mut self.notices {
            Some(notices) => notices.follow(folder),
            None => notices::Notices::new().and_then(|notices| self.notices.insert(notices).follow(folder)),
        };
        if let Err(error) = followed {
            self.on_blind(&error);
        }
    }

    /// Waits for the next change, for at most `longest`. Returns whether there may have been one.
    pub(super) async fn changed(&mut self, longest: Option<Duration>) -> bool {
        let Some(notices) = &mut self.notices else {
            sleep(WITHOUT_NOTICES).await;
            return longest.is_none();
        };
        let noticed = match longest {
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
            tracing::warn!(%error, "cannot watch the socket's folder: raise fs.inotify.max_user_instances");
        }
    }
}

#[cfg(target_os = "linux")]
mod notices {
    use std::{io, path::Path};

    use futures_util::StreamExt;
    use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask};

    /// Room for one event with the longest name.
    const BUFFER_BYTES: usize = 512;

    /// One instance of inotify, with a watch for one folder.
    pub(super) struct Notices {
        stream: EventStream<[u8; BUFFER_BYTES]>,
        folder: Option<WatchDescriptor>,
    }

    impl Notices {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self { stream: Inotify::init()?.into_event_stream([0; BUFFER_BYTES])?, folder: None })
        }

        /// Watches the folder now at `path`, and no other. A missing folder gives no notices.
        pub(super) fn follow(&mut self, path: &Path) -> io::Result<()> {
            let changes = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
            let ends = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
            let mask = changes | ends | WatchMask::ONLYDIR | WatchMask::DONT_FOLLOW;
            let followed = match self.stream.watches().add(path, mask) {
                Ok(folder) => Some(folder),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
                Err(error) => return Err(error),
            };
            if let Some(before) = self.folder.take().filter(|before| followed.as_ref() != Some(before)) {
                // The system has removed it already if its folder has gone.
                let _ = self.stream.watches().remove(before);
            }
            self.folder = followed;
            Ok(())
        }

        /// The number of the watch in its instance, which gives each number once.
        #[cfg(test)]
        pub(super) fn number(&self) -> Option<i32> {
            self.folder.as_ref().map(WatchDescriptor::get_watch_descriptor_id)
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

        pub(super) fn follow(&mut self, _: &Path) -> io::Result<()> {
            match *self {}
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

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
        for number in 1..=3 {
            fs::create_dir(&folder).unwrap();
            for _ in 0..3 {
                watch.follow(&socket);
                assert_eq!(watch.notices.as_ref().unwrap().number(), Some(number));
            }
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
}
