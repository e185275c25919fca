//! Requests about a card, other than a command: which one it is, the state of a handle, and attributes.

use std::sync::Arc;

use cardbroker_core::{
    caller::Principal,
    pcsclite::{
        code::Code,
        handles::Connected,
        wire::{ATTRIBUTE_BYTES, Message, Reply, Request},
    },
};

use super::{connection::Connection, input::Ended, unserved::answered};

/// The attribute with the card's answer to reset.
const ATR_STRING: u32 = 0x0009_0303;
/// The attributes with the name of the reader.
const NAMES: [u32; 2] = [0x7FFF_0003, 0x7FFF_0004];
/// The attribute with the unique name of the broker's run, which tells brokers apart. Its class is that of vendors.
pub(super) const EPOCH: u32 = 0x0007_CB01;

impl Connection {
    /// Answers a request about a card, other than a command.
    pub(super) async fn on_card_request(&mut self, message: &Message) -> Result<(), Ended> {
        match &message.request {
            Request::Connect { context, reader, share, protocols } => {
                self.check_context(*context)?;
                let connected = answered(self.connect(reader, *share, *protocols).await)?;
                self.refresh();
                let reply = match connected {
                    Ok((handle, protocol)) => Reply::Connected { handle, protocol },
                    Err(code) => Reply::Code(code),
                };
                self.answer(message, reply).await
            }
            Request::Reconnect { handle, share, protocols, initialization } => {
                let reconnected = answered(self.reconnect(*handle, *share, *protocols, *initialization).await)?;
                self.refresh();
                self.answer(message, reconnected.map_or_else(Reply::Code, Reply::Reconnected)).await
            }
            Request::Disconnect { handle, disposition } => {
                let code = self.disconnect(*handle, *disposition).await?;
                self.refresh();
                self.answer(message, Reply::Code(code)).await
            }
            Request::Begin { handle } => {
                let code = self.begin(*handle).await?;
                self.answer(message, Reply::Code(code)).await
            }
            Request::End { handle, disposition } => {
                let code = self.end(*handle, *disposition).await?;
                self.answer(message, Reply::Code(code)).await
            }
            Request::Status { handle } => {
                let code = match self.insertion(*handle)? {
                    Some(insertion) => self.shared.state.handles(|handles| handles.status(*handle, &insertion)),
                    None => Code::READER_UNAVAILABLE,
                };
                self.answer(message, Reply::Code(code)).await
            }
            Request::GetAttribute { handle, attribute } => {
                let value = self.attribute(*handle, *attribute)?;
                let reply = value.as_deref().map_or(Reply::Code(Code::UNSUPPORTED_FEATURE), Reply::Attribute);
                self.answer(message, reply).await
            }
            Request::SetAttribute { handle } | Request::Control { handle } => {
                self.connected(*handle)?;
                self.answer(message, Reply::Code(Code::UNSUPPORTED_FEATURE)).await
            }
            _ => Err(Ended::Foreign),
        }
    }

    /// The connection of a handle of this context.
    pub(super) fn connected(&self, handle: u32) -> Result<Connected<Principal>, Ended> {
        let context = self.context()?;
        self.shared.state.handles(|handles| handles.get(context, handle).cloned()).ok_or(Ended::Foreign)
    }

    /// The id of the insertion in the handle's reader now, empty without a card; `None` if the reader is gone.
    pub(super) fn insertion(&self, handle: u32) -> Result<Option<String>, Ended> {
        let at = self.connected(handle)?;
        Ok(self.insertion_in(&at.reader))
    }

    /// As [`Connection::insertion`], in this reader.
    pub(super) fn insertion_in(&self, reader: &Arc<str>) -> Option<String> {
        self.see_resets(reader);
        self.reader(reader).map(|reader| reader.status.insertion_id.clone())
    }

    /// Takes note of the resets of a reader's card, with which all handles compare their knowledge.
    pub(super) fn see_resets(&self, reader: &Arc<str>) {
        if let Some(resets) = self.shared.broker.card_resets(reader) {
            self.shared.state.handles(|handles| handles.see_resets(reader, resets));
        }
    }

    /// The value of an attribute; `None` if it is not known.
    fn attribute(&self, handle: u32, attribute: u32) -> Result<Option<Vec<u8>>, Ended> {
        let at = self.connected(handle)?;
        let Some(reader) = self.reader(&at.reader) else { return Ok(None) };
        let text = |text: &str| [text.as_bytes(), &[0]].concat();
        let value = match attribute {
            ATR_STRING => Some(reader.status.atr.clone()).filter(|atr| !atr.is_empty()),
            EPOCH => Some(text(&self.shared.broker.epoch())),
            name if NAMES.contains(&name) => Some(text(&reader.names.display_name)),
            _ => None,
        };
        Ok(value.filter(|value| value.len() <= ATTRIBUTE_BYTES))
    }
}
