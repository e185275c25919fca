//! The files by which clients find the broker, while it runs: a file that was removed or replaced is made again, unless
//! another broker has taken its path.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::folder_watch::FolderWatch;
use crate::listen::BindError;

/// The pause after the first attempt to make a file again, doubled up to the longest while its path does not stay.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A file that must stay at its path. Dropping it removes the file, if the broker has made it.
pub(super) trait Kept: Send + 'static {
    /// The consequence of a failure to make the file again, for the log.
    const LOSS: &'static str;

    /// The path of the file.
    fn path(&self) -> &Path;

    /// Checks whether the path still names the file. Makes it again if not.
    fn check(&mut self) -> PathState;
}

/// A kept file and the watch of its path. Dropping it ends the watch and drops the file.
#[derive(Debug)]
pub(super) struct PathGuard<K> {
    file: SharedFile<K>,
    /// Cancelled by the watch once another broker has taken the path.
    taken: CancellationToken,
    _watch: AbortOnDropHandle<()>,
}

/// The file, owned by the guard; `None` once that was dropped.
type SharedFile<K> = Arc<Mutex<Option<K>>>;

impl<K: Kept> PathGuard<K> {
    /// Starts to watch the path of `file`, until `end`. Must be called inside a runtime.
    pub(super) fn start(file: K, end: impl Future<Output = ()> + Send + 'static) -> Self {
        let (file, taken) = (Arc::new(Mutex::new(Some(file))), CancellationToken::new());
        let (watched, on_taken) = (Arc::clone(&file), taken.clone());
        let watch = tokio::spawn(async move {
            tokio::select! {
                () = end => {}
                () = keep(&watched, &on_taken) => {}
            }
        });
        Self { file, taken, _watch: AbortOnDropHandle::new(watch) }
    }

    /// Waits until the path is lost, usually to another broker. Cancel-safe.
    pub(super) async fn taken(&self) {
        self.taken.cancelled().await;
    }
}

impl<K> Drop for PathGuard<K> {
    fn drop(&mut self) {
        drop(lock(&self.file).take());
    }
}

fn lock<K>(file: &SharedFile<K>) -> MutexGuard<'_, Option<K>> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the file again whenever its path does not name it any more, until the guard is dropped or another broker has
/// taken the path.
async fn keep<K: Kept>(file: &SharedFile<K>, taken: &CancellationToken) {
    let (mut folders, mut retry) = (FolderWatch::default(), Retry::Steady);
    loop {
        let state = {
            let mut file = lock(file);
            let Some(file) = file.as_mut() else { return };
            // Before the path is checked, so that no change falls between them.
            folders.follow(file.path());
            file.check()
        };
        match &state {
            PathState::Taken => return taken.cancel(),
            PathState::Failed(problem) if !matches!(retry, Retry::Failing { .. }) => {
                tracing::error!("{}: {problem}", K::LOSS);
            }
            _ => {}
        }
        retry = retry.after(&state).wait(&mut folders).await;
    }
}

/// The state of the path when it was checked.
#[derive(Debug)]
pub(super) enum PathState {
    /// It still names the file.
    Held,
    /// It did not; now it names a new one.
    Restored,
    /// It does not, and no new file can be made now.
    Failed(BindError),
    /// Another broker has the path and its lock, or the file is not this broker's to be made again.
    Taken,
}

/// How the last checks of the path went, which decides when the next one comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// The path names the file, as it did before: the next check follows a change in the folders.
    Steady,
    /// The path has named the new file once: the next check follows a change, or comes after the longest pause.
    Settling {
        /// The pause of the last attempt.
        pause: Duration,
    },
    /// The file was made again: the next check comes after the pause.
    Restored {
        /// The time until the next check.
        pause: Duration,
    },
    /// The file cannot be made: the next attempt comes after the pause.
    Failing {
        /// The time until the next check.
        pause: Duration,
    },
}

impl Retry {
    /// The retry after another check.
    fn after(self, state: &PathState) -> Self {
        let (last, next) = match self {
            Self::Steady => (None, SHORTEST_PAUSE),
            Self::Settling { pause } | Self::Restored { pause } | Self::Failing { pause } => {
                (Some(pause), LONGEST_PAUSE.min(pause * 2))
            }
        };
        match state {
            PathState::Held => last.map_or(Self::Steady, |pause| Self::Settling { pause }),
            PathState::Restored => Self::Restored { pause: next },
            PathState::Failed(_) | PathState::Taken => Self::Failing { pause: next },
        }
    }

    /// Waits until the next check is due. Returns the retry after the wait.
    async fn wait(self, folders: &mut FolderWatch) -> Self {
        match self {
            Self::Steady => _ = folders.changed(None).await,
            // A folder that is being removed may take the new file with it, without a notice of its own.
            Self::Settling { .. } if !folders.changed(Some(LONGEST_PAUSE)).await => return Self::Steady,
            Self::Settling { .. } => {}
            Self::Restored { pause } | Self::Failing { pause } => sleep(pause).await,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_the_path_has_settled() {
        let failed = || PathState::Failed(BindError::NoSocket { user: 0 });
        let ms = Duration::from_millis;
        let mut retry = Retry::Steady;
        for (state, expected) in [
            (PathState::Held, Retry::Steady),
            (PathState::Restored, Retry::Restored { pause: ms(50) }),
            (PathState::Restored, Retry::Restored { pause: ms(100) }),
            (failed(), Retry::Failing { pause: ms(200) }),
            (failed(), Retry::Failing { pause: ms(400) }),
            (PathState::Held, Retry::Settling { pause: ms(400) }),
            (PathState::Held, Retry::Settling { pause: ms(400) }),
            (PathState::Restored, Retry::Restored { pause: ms(800) }),
            (failed(), Retry::Failing { pause: ms(1_600) }),
            (failed(), Retry::Failing { pause: ms(3_200) }),
            (failed(), Retry::Failing { pause: ms(5_000) }),
            (PathState::Restored, Retry::Restored { pause: ms(5_000) }),
        ] {
            retry = retry.after(&state);
            assert_eq!(retry, expected, "after {state:?}");
        }
        assert_eq!(Retry::Steady.after(&failed()), Retry::Failing { pause: ms(50) });
    }
}
