//! A wait for changes in a folder, by the operating system's own notices.

use std::{io, path::Path};

#[cfg(target_os = "linux")]
use futures_util::StreamExt;
#[cfg(target_os = "linux")]
use inotify::{EventStream, Inotify, WatchMask};

/// Room for one event with the longest name.
#[cfg(target_os = "linux")]
const BUFFER_BYTES: usize = 512;

/// Notices of entries that come, go or change their names, and of the end of the folder itself. Systems other than
/// Linux give none.
pub(super) struct FolderWatch {
    #[cfg(target_os = "linux")]
    notices: EventStream<[u8; BUFFER_BYTES]>,
}

#[cfg(target_os = "linux")]
impl FolderWatch {
    /// Watches the folder of `path` from now on. Must be called inside a runtime.
    ///
    /// # Errors
    /// There is no such folder, or the user has too many watches.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let changes = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
        let ends = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
        let inotify = Inotify::init()?;
        let folder = path.parent().unwrap_or(path);
        inotify.watches().add(folder, changes | ends | WatchMask::ONLYDIR | WatchMask::DONT_FOLLOW)?;
        Ok(Self { notices: inotify.into_event_stream([0; BUFFER_BYTES])? })
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// The notices cannot be read.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        self.notices.next().await.unwrap_or(Err(io::ErrorKind::UnexpectedEof.into())).map(drop)
    }
}

#[cfg(not(target_os = "linux"))]
impl FolderWatch {
    /// A watch without notices, for any path.
    pub(super) fn start(_: &Path) -> io::Result<Self> {
        Ok(Self {})
    }

    /// A wait without an end, because no notice comes.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        std::future::pending().await
    }
}
