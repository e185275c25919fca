//! The shared part of all handles of one connection: their process, and the thread that serves them.

use std::{
    process,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::error::Error;

/// The owner of the connection's thread, which ends with the last handle.
pub(crate) struct Home {
    pid: u32,
    runtime: Handle,
    /// Dropped to end the thread.
    life: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Home {
    /// # Errors
    /// The system refuses a thread, or what it needs.
    pub(crate) fn new() -> Result<Arc<Self>, Box<Error>> {
        let refused = |error| Error::without_thread(&error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let handle = runtime.handle().clone();
        let (life, ended) = oneshot::channel();
        // Keeps the connection and idle sessions alive. The calls themselves run on the threads of C.
        let serve = move || drop(runtime.block_on(ended));
        let thread = thread::Builder::new().name("cardbroker".into()).spawn(serve).map_err(refused)?;
        Ok(Arc::new(Self { pid: process::id(), runtime: handle, life: Some(life), thread: Some(thread) }))
    }

    /// # Errors
    /// This process is a fork of the owner: the thread does not exist here, and the connection is the parent's.
    pub(crate) fn check(&self) -> Result<(), Box<Error>> {
        if self.is_forked() { Err(Error::forked(self.pid)) } else { Ok(()) }
    }

    fn is_forked(&self) -> bool {
        process::id() != self.pid
    }

    /// Waits for a future on the caller's thread.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Frees a handle; in a fork leaves it alone, because its locks may be held by threads that do not exist there.
    pub(crate) fn free<T>(handle: Option<Box<T>>, home: impl FnOnce(&T) -> &Arc<Self>) {
        let Some(handle) = handle else { return };
        if home(&handle).is_forked() {
            std::mem::forget(handle);
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.life.take());
        if let Some(thread) = self.thread.take() {
            // The library may be unloaded after the last free, so its thread must be gone. A panic there was reported.
            let _ = thread.join();
        }
    }
}
