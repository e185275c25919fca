//! The broker's ends of the pipe. Each is disconnected before it is closed: the system keeps the pipe's name while a
//! client holds the other end of an instance that was only closed, and then no broker can create the pipe again.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::windows::named_pipe::NamedPipeServer,
    runtime::Handle,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::pipe::PipeLock;

/// How long a client may take to read the last bytes and to close its end.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// Maximum clients that are given this time at once. A further one is disconnected without it.
const MAX_CLOSING: usize = 64;

/// The broker's end of an instance. Dropping it disconnects the client, which loses the bytes that it has not read.
#[derive(Debug)]
pub(super) struct End {
    pipe: NamedPipeServer,
    /// The lock of the broker, which is released after the last end is closed.
    _lock: Arc<PipeLock>,
}

/// The bytes of a client. Dropping it closes the connection once the client has closed its end, or after
/// [`CLOSE_TIME`].
#[derive(Debug)]
pub(crate) struct Stream {
    /// `None` only while it is dropped.
    end: Option<End>,
    closing: Closing,
}

/// The connections that the broker has ended and their clients have not. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Closing(TaskTracker);

impl End {
    pub(super) fn new(pipe: NamedPipeServer, lock: Arc<PipeLock>) -> Self {
        Self { pipe, _lock: lock }
    }

    /// The system's handle of this end.
    pub(super) fn pipe(&self) -> &NamedPipeServer {
        &self.pipe
    }

    /// Waits until the client has closed its end. Its further bytes are thrown away.
    async fn closed_by_client(&self) {
        let mut rest = [0; 1024];
        while self.pipe.readable().await.is_ok() {
            match self.pipe.try_read(&mut rest) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // An error means that no client was connected.
        let _ = self.pipe.disconnect();
    }
}

impl Closing {
    /// Waits until the last bytes of all ended connections have been read, for [`CLOSE_TIME`] at most.
    pub(super) async fn wait(&self) {
        self.0.close();
        // The connections that are left are disconnected at the end of the runtime.
        let _ = timeout(CLOSE_TIME, self.0.wait()).await;
    }

    fn add(&self, end: End) {
        // Without a runtime nothing can be waited for.
        if self.0.len() < MAX_CLOSING
            && let Ok(runtime) = Handle::try_current()
        {
            let wait = async move { drop(timeout(CLOSE_TIME, end.closed_by_client()).await) };
            self.0.spawn_on(wait, &runtime);
        }
    }
}

impl Stream {
    pub(super) fn new(end: End, closing: Closing) -> Self {
        Self { end: Some(end), closing }
    }

    /// Writes what fits now.
    ///
    /// # Errors
    /// An error of the operating system; [`io::ErrorKind::WouldBlock`] if nothing fits.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.end.as_ref().ok_or(io::ErrorKind::NotConnected)?.pipe.try_write(bytes)
    }

    fn pipe(&mut self) -> io::Result<Pin<&mut NamedPipeServer>> {
        let end = self.end.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(&mut end.pipe))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.closing.add(end);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pipe()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pipe()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.pipe.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe()?.poll_shutdown(context)
    }
}
