//! The door for programs that use PC/SC: its path, and a stream that keeps it and the isolation group in existence.

use std::path::{Path, PathBuf};

use cardbroker_proto::pcsc::v1::{OpenDoorRequest, OpenDoorResponse, pcsc_service_client::PcscServiceClient};
use tonic::{Status, Streaming};

use crate::{Client, Error, incoming::Incoming, query::AfterLoss};

/// A door for programs that use PC/SC; made by [`Client::open_door`]. Dropping it closes a private door.
pub struct Door {
    client: Client,
    socket: PathBuf,
    messages: Incoming<Box<Streaming<OpenDoorResponse>>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Door").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Door {
    /// The path of the socket: the value of `PCSCLITE_CSOCK_NAME` for the programs.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until the broker stops, or the connection is lost. Returns the reason. Cancel-safe.
    pub async fn closed(&mut self) -> Error {
        loop {
            let status = match self.messages.message().await {
                Ok(Some(_)) => continue,
                Ok(None) => Status::unavailable("the broker closed the door"),
                Err(status) => status,
            };
            return Error::of_query(self.client.endpoint(), &status);
        }
    }
}

impl Client {
    /// Finds the broker's door for programs that use PC/SC, or opens a private one, whose programs belong to the
    /// isolation group of this client.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no broker answers in time, otherwise [`Error::Failed`]: with
    /// [`NotImplemented`](crate::ErrorReason::NotImplemented) on TCP and if the broker has no door.
    pub async fn open_door(&self, is_private: bool) -> Result<Door, Error> {
        let call = |request| {
            let mut stub = PcscServiceClient::new(self.route());
            async move { stub.open_door(request).await }
        };
        let stream = self.call(OpenDoorRequest { is_private }, AfterLoss::Repeat, call).await?;
        let mut messages = Incoming::of(Box::new(stream));
        let status = match messages.message().await {
            Ok(Some(OpenDoorResponse { socket })) => {
                return Ok(Door { client: self.clone(), socket: socket.into(), messages });
            }
            Ok(None) => Status::unavailable("the broker named no door"),
            Err(status) => status,
        };
        Err(Error::of_query(self.endpoint(), &status))
    }
}
