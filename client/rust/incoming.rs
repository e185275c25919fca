//! The messages of a stream that the broker keeps alive.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::Stream;
use tonic::Status;

/// A silence that counts as a lost connection: three heartbeats of the broker, which sends one every 30 s.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(90);

/// The messages of the broker. A silence of 90 s ends them.
pub(crate) struct Incoming<S> {
    messages: S,
    silence: Pin<Box<Sleep>>,
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Incoming<S> {
    pub(crate) fn of(messages: S) -> Self {
        Self { messages, silence: Box::pin(sleep(SILENCE_LIMIT)) }
    }

    /// The next message, or `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The status with which the broker has ended the stream, or UNAVAILABLE after 90 s of silence.
    pub(crate) async fn message(&mut self) -> Result<Option<T>, Status> {
        poll_fn(|context| self.poll_message(context)).await
    }

    /// [`Incoming::message`] for a program that polls.
    pub(crate) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<T>, Status>> {
        if let Poll::Ready(message) = Pin::new(&mut self.messages).poll_next(context) {
            self.silence.as_mut().reset(Instant::now() + SILENCE_LIMIT);
            return Poll::Ready(message.transpose());
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(Status::unavailable("the broker fell silent")))
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_proto::v1::OpenSessionResponse;
    use tokio::{
        sync::mpsc,
        time::{advance, timeout},
    };
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silence_of_90_s_is_a_lost_connection() {
        let (sender, messages) = mpsc::channel(1);
        let mut incoming = Incoming::of(ReceiverStream::new(messages));
        for _ in 0..3 {
            advance(Duration::from_secs(80)).await;
            sender.send(Ok(OpenSessionResponse::default())).await.unwrap();
            assert!(incoming.message().await.unwrap().is_some(), "each message ends the silence");
        }
        let began = Instant::now();
        let status = timeout(Duration::from_secs(600), incoming.message()).await.unwrap().unwrap_err();
        assert_eq!((status.code(), began.elapsed().as_secs()), (Code::Unavailable, 90));
    }
}
