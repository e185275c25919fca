//! Sockets that raise no SIGPIPE: a write to a broker that is gone fails, and the program lives.
//!
//! Rust programs ignore the signal. A program in another language that loads this client as a library does not, and the
//! disposition of a signal is the program's. The standard library's own `writev` cannot suppress it.

#[cfg(not(unix))]
pub(crate) use no_signals::*;
#[cfg(unix)]
pub(crate) use unix::*;

/// Streams stay as they are on systems without the signal.
#[cfg(not(unix))]
mod no_signals {
    pub(crate) type Quiet<S> = S;

    pub(crate) fn quiet<S>(stream: S) -> S {
        stream
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        io::{self, IoSlice},
        os::fd::AsFd,
        pin::Pin,
        task::{Context, Poll, ready},
    };

    use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
    use tokio::{
        io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
        net::{TcpStream, UnixStream},
    };

    /// On Apple's systems the standard library sets the same for each socket.
    #[cfg(target_vendor = "apple")]
    const FLAGS: SendFlags = SendFlags::empty();
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: SendFlags = SendFlags::NOSIGNAL;

    /// As many buffers as HTTP/2 and TLS pass at once; each system accepts more.
    const MAX_BUFFERS: usize = 64;

    /// A socket whose writes raise no signal.
    #[derive(Debug)]
    pub(crate) struct Quiet<S>(S);

    pub(crate) fn quiet<S: Socket>(stream: S) -> Quiet<S> {
        Quiet(stream)
    }

    /// The operations that the sockets of tokio have in common.
    pub(crate) trait Socket: AsFd + AsyncRead + AsyncWrite + Unpin {
        /// Polls until the socket may be written.
        fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

        /// Runs a write that may find the socket full.
        fn try_write_by(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
    }

    macro_rules! socket {
        ($($stream:ty),*) => {$(
            impl Socket for $stream {
                fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                    self.poll_write_ready(context)
                }

                fn try_write_by(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
                    self.try_io(Interest::WRITABLE, write)
                }
            }
        )*};
    }

    socket!(UnixStream, TcpStream);

    impl<S: Socket> Quiet<S> {
        fn poll_write_by(
            &self,
            context: &mut Context<'_>,
            write: impl Fn(&S) -> rustix::io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            loop {
                ready!(self.0.poll_writable(context))?;
                match self.0.try_write_by(|| Ok(write(&self.0)?)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    written => return Poll::Ready(written),
                }
            }
        }
    }

    impl<S: Socket> AsyncRead for Quiet<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl<S: Socket> AsyncWrite for Quiet<S> {
        fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_by(context, |socket| send(socket, bytes, FLAGS))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffers: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let buffers = buffers.get(..MAX_BUFFERS).unwrap_or(buffers);
            self.poll_write_by(context, |socket| sendmsg(socket, buffers, &mut SendAncillaryBuffer::default(), FLAGS))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    #[cfg(test)]
    mod tests {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        use super::*;

        #[tokio::test]
        async fn many_buffers_arrive_in_order_through_a_full_socket() {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let sent: Vec<u8> = (0..2_000_000u32).flat_map(u32::to_le_bytes).collect();
            let expected = sent.clone();
            let writing = tokio::spawn(async move {
                let mut ours = quiet(ours);
                assert!(ours.is_write_vectored());
                let mut left = &*sent;
                while !left.is_empty() {
                    let buffers: Vec<_> = left.chunks(1000).take(100).map(IoSlice::new).collect();
                    let count = ours.write_vectored(&buffers).await.unwrap();
                    left = &left[count..];
                    let count = ours.write(&left[..left.len().min(10)]).await.unwrap();
                    left = &left[count..];
                }
                ours.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            writing.await.unwrap();
            assert!(received == expected);
        }

        #[tokio::test]
        async fn a_write_to_nobody_fails() {
            let (ours, theirs) = UnixStream::pair().unwrap();
            drop(theirs);
            let mut ours = quiet(ours);
            assert_eq!(ours.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            let buffers = [IoSlice::new(b"a"), IoSlice::new(b"b")];
            assert_eq!(ours.write_vectored(&buffers).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
