//! A stream of the broker that is opened again after an error.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tonic::{Status, Streaming};

use crate::{Client, Error, incoming::Incoming};

/// A call that opens a stream.
pub(crate) type Opening<T> = Pin<Box<dyn Future<Output = Result<Streaming<T>, Error>> + Send>>;

/// A stream that the first poll opens, and the first one after each error.
pub(crate) enum Reopening<T> {
    Closed,
    Opening(Opening<T>),
    Open(Incoming<Box<Streaming<T>>>),
}

impl<T> fmt::Debug for Reopening<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closed => "Closed",
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
        })
    }
}

impl<T> Reopening<T> {
    /// The next message of the stream at the endpoint of `client`, which `open` opens.
    ///
    /// # Errors
    /// That of `open`; the status with which the broker ends the stream; the end of the stream or 90 s of silence as a
    /// lost connection.
    pub(crate) fn poll_message(
        &mut self,
        context: &mut Context<'_>,
        client: &Client,
        open: impl Fn() -> Opening<T>,
    ) -> Poll<Result<T, Error>> {
        loop {
            let error = match self {
                Self::Closed => {
                    *self = Self::Opening(open());
                    continue;
                }
                Self::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(stream) => {
                        *self = Self::Open(Incoming::of(Box::new(stream)));
                        continue;
                    }
                    Err(error) => error,
                },
                Self::Open(messages) => {
                    let status = match ready!(messages.poll_message(context)) {
                        Ok(Some(message)) => return Poll::Ready(Ok(message)),
                        Ok(None) => Status::unavailable("the broker ended the watch"),
                        Err(status) => status,
                    };
                    Error::of_query(client.endpoint(), &status)
                }
            };
            *self = Self::Closed;
            return Poll::Ready(Err(error));
        }
    }
}
