//! One connection of a client to the kit's broker: reads the client's messages on its streams.

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};

use crate::broker::{End, Event, PREFIX, Received, Shared};

/// Serves one connection until it ends. Its streams end with it.
pub(crate) async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, shared: Shared) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(read(request, respond, shared.clone()));
    }
}

async fn read(request: Request<RecvStream>, respond: SendResponse<Bytes>, shared: Shared) {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let metadata = request.headers().clone();
    let number = shared.begin(method, metadata, respond);
    // Also when the task is dropped with its connection.
    let mut ending = TellsEnd { shared: shared.clone(), number, end: End::Broken };
    let mut body = request.into_body();
    let mut buffer = BytesMut::new();
    loop {
        match body.data().await {
            Some(Ok(data)) => {
                let _ = body.flow_control().release_capacity(data.len());
                buffer.extend_from_slice(&data);
            }
            Some(Err(_)) => return,
            None => break,
        }
        while let Some(message) = take_message(&mut buffer) {
            shared.tell(Event::Message(Received { call: number, body: message }));
        }
    }
    ending.end = End::HalfClosed;
    drop(ending);
    broken(&shared, number).await;
}

/// Waits until the client resets the stream that it has half-closed.
async fn broken(shared: &Shared, number: usize) {
    std::future::poll_fn(|context| shared.poll_reset(number, context)).await;
    shared.tell(Event::Ended(number, End::Broken));
}

struct TellsEnd {
    shared: Shared,
    number: usize,
    end: End,
}

impl Drop for TellsEnd {
    fn drop(&mut self) {
        self.shared.tell(Event::Ended(self.number, self.end));
    }
}

fn take_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = buffer.get(1..PREFIX)?.try_into().map(u32::from_be_bytes).ok()?;
    let end = PREFIX.checked_add(length.try_into().ok()?)?;
    if buffer.len() < end {
        return None;
    }
    let mut frame = buffer.split_to(end);
    Some(frame.split_off(PREFIX).freeze())
}
