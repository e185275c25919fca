//! The endpoint file while the broker runs: a file that was removed or replaced is written again, like the socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::AbortOnDropHandle;

use super::{
    BindError,
    auto_port::PublishedFile,
    folder_watch::FolderWatch,
    socket_watch::{PathState, Retry},
};

/// The file, owned by the guard; `None` once that was dropped.
type SharedFile = Arc<Mutex<Option<PublishedFile>>>;

/// The endpoint file and the watch of its path. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct EndpointGuard {
    file: SharedFile,
    _watch: AbortOnDropHandle<()>,
}

impl EndpointGuard {
    /// Starts to watch the path of `file`. Must be called inside a runtime.
    pub(super) fn start(file: PublishedFile) -> Self {
        let file = Arc::new(Mutex::new(Some(file)));
        let watch = tokio::spawn(keep(Arc::clone(&file)));
        Self { file, _watch: AbortOnDropHandle::new(watch) }
    }
}

impl Drop for EndpointGuard {
    fn drop(&mut self) {
        drop(lock(&self.file).take());
    }
}

fn lock(file: &SharedFile) -> MutexGuard<'_, Option<PublishedFile>> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the file again whenever its path does not name it any more, until the guard is dropped or another broker has
/// taken the path.
async fn keep(file: SharedFile) {
    let (mut folders, mut retry) = (FolderWatch::default(), Retry::Steady);
    loop {
        let state = {
            let mut file = lock(&file);
            let Some(file) = file.as_mut() else { return };
            // Before the look at the path, so that no change falls between them.
            folders.follow(file.path());
            check_file(file)
        };
        match &state {
            PathState::Taken => return,
            PathState::Failed(problem) if !matches!(retry, Retry::Failing { .. }) => {
                tracing::error!("the endpoint file was removed or replaced: {problem}");
            }
            _ => {}
        }
        retry = retry.after(&state).wait(&mut folders).await;
    }
}

/// Looks whether path and lock are still those of this broker. Writes the file again if they are not.
fn check_file(file: &mut PublishedFile) -> PathState {
    if file.is_held() {
        return PathState::Held;
    }
    match file.write_again() {
        Ok(()) => {
            tracing::warn!(file = %file.path().display(), "the endpoint file was removed or replaced: written again");
            PathState::Reopened
        }
        Err(problem @ BindError::OtherAutoPort { .. }) => {
            tracing::error!("this broker cannot be found by tcp:auto any more: {problem}");
            PathState::Taken
        }
        Err(problem) => PathState::Failed(problem),
    }
}
