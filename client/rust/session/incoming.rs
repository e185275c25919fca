//! The broker's half of a session's stream.

use std::pin::Pin;

use cardbroker_proto::v1::OpenSessionResponse;
use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::watch::SILENCE_LIMIT;

/// The messages of the broker, which sends a heartbeat every 30 s. A silence of 90 s ends them.
pub(super) struct Incoming<S> {
    messages: S,
    silence: Pin<Box<Sleep>>,
}

impl<S: Stream<Item = Result<OpenSessionResponse, Status>> + Unpin> Incoming<S> {
    pub(super) fn of(messages: S) -> Self {
        Self { messages, silence: Box::pin(sleep(SILENCE_LIMIT)) }
    }

    /// The next message, or `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The status with which the broker has ended the stream, or UNAVAILABLE after 90 s of silence.
    pub(super) async fn message(&mut self) -> Result<Option<OpenSessionResponse>, Status> {
        tokio::select! {
            biased;
            message = self.messages.next() => {
                self.silence.as_mut().reset(Instant::now() + SILENCE_LIMIT);
                message.transpose()
            }
            () = self.silence.as_mut() => Err(Status::unavailable("the broker fell silent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
