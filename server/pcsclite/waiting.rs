//! The messages to a client that waits for a change of the readers.

use cardbroker_core::pcsclite::{
    chain,
    notification::{Message, Notification, Signal},
    reader_states::{ELEMENTS, OLD_ELEMENTS},
    wire::{self, Reply, Version},
};

use super::{connection::Connection, input::Ended};

/// Whether the client waits, and what it knows.
#[derive(Default)]
pub(super) struct Waits {
    machine: Notification,
    /// The revision of the readers that the client has.
    revision: u64,
}

impl Connection {
    /// Answers a request about readers, which is answered at once.
    pub(super) async fn on_readers_request(&mut self, message: &wire::Message) -> Result<(), Ended> {
        let notice = match message.request {
            wire::Request::ReaderStates => {
                self.refresh();
                let mut array = self.shared.state.shown(&self.member, OLD_ELEMENTS).array;
                chain::write(&mut array, &self.shared.broker.chain());
                self.answer(message, Reply::Array(&array)).await?;
                None
            }
            wire::Request::Wait => {
                let reads_array = self.version == Version::V4_6;
                if !self.waits.machine.is_waiting() {
                    self.forget_cancellation();
                }
                self.refresh();
                if reads_array {
                    self.waits.revision = self.shared.state.shown(&self.member, 0).revision;
                } else {
                    self.waits.revision = self.send_array(message, OLD_ELEMENTS).await?;
                }
                self.waits.machine.on_wait(reads_array);
                None
            }
            wire::Request::Array => {
                self.send_array(message, ELEMENTS).await?;
                self.waits.machine.on_array_sent()
            }
            wire::Request::StopWaiting => self.waits.machine.on_stop(),
            wire::Request::ArraySize => {
                self.answer(message, Reply::Size(u32::try_from(ELEMENTS).unwrap_or(0))).await?;
                None
            }
            wire::Request::ReaderEvents => {
                self.refresh();
                let events = self.shared.state.events(&self.member);
                self.answer(message, Reply::Events(events)).await?;
                None
            }
            _ => None,
        };
        self.notify(notice).await
    }

    /// Sends the readers as they are now. Returns their revision.
    async fn send_array(&mut self, message: &wire::Message, elements: usize) -> Result<u64, Ended> {
        self.refresh();
        let shown = self.shared.state.shown(&self.member, elements);
        self.answer(message, Reply::Array(&shown.array)).await?;
        Ok(shown.revision)
    }

    /// The readers of the process may have changed.
    pub(super) async fn on_shown(&mut self) -> Result<(), Ended> {
        let revision = *self.member.changed.borrow_and_update();
        if !self.waits.machine.is_waiting() || revision == self.waits.revision {
            return Ok(());
        }
        let notice = self.waits.machine.on_signal(Signal::Changed);
        self.notify(notice).await
    }

    /// Another connection of the process has cancelled the wait.
    pub(super) async fn on_cancelled(&mut self) -> Result<(), Ended> {
        let notice = self.waits.machine.on_signal(Signal::Cancelled);
        self.notify(notice).await
    }

    async fn notify(&mut self, notice: Option<Message>) -> Result<(), Ended> {
        match notice {
            Some(notice) => self.input.send(&wire::message(notice)).await,
            None => Ok(()),
        }
    }
}
