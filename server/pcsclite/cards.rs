//! Handles: connect, reconnect, disconnect, state and attributes.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    caller::Principal,
    pcsclite::{
        code::Code,
        handles::{Connected, Disposition, Share},
        reader_states::protocol_bit,
        wire::{ATTRIBUTE_BYTES, Message, Reply, Request},
    },
    status::State,
};
use tokio::time::{Instant, sleep_until};

use super::{connection::Connection, holding::Need, input::Ended};
use crate::registry::ReaderView;

/// The time for a card that was just inserted to be taken.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// The time for an exclusive handle to get its turn.
const EXCLUSIVE_TIME: Duration = Duration::from_secs(5);

/// The time in which a turn that only rests ends. `SCardDisconnect` waits no longer, because meanwhile all threads of
/// its process may wait for it.
const RESTS: Duration = Duration::from_millis(20);

/// The protocols that a program may accept: T=0, T=1, raw and T=15.
const PROTOCOLS: u32 = 0x0F;

/// The attribute with the card's answer to reset.
const ATR_STRING: u32 = 0x0009_0303;
/// The attributes with the name of the reader.
const NAMES: [u32; 2] = [0x7FFF_0003, 0x7FFF_0004];

impl Connection {
    /// Answers a request about a card, other than a command.
    pub(super) async fn on_card_request(&mut self, message: &Message) -> Result<(), Ended> {
        match &message.request {
            Request::Connect { context, reader, share, protocols } => {
                self.check_context(*context)?;
                let connected = self.connect(reader, *share, *protocols).await?;
                self.refresh();
                let reply = match connected {
                    Ok((handle, protocol)) => Reply::Connected { handle, protocol },
                    Err(code) => Reply::Code(code),
                };
                self.answer(message, reply).await
            }
            Request::Reconnect { handle, share, protocols, initialization } => {
                let reconnected = self.reconnect(*handle, *share, *protocols, *initialization).await?;
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
                    Some(insertion) => self.shared.desk.handles(|handles| handles.status(*handle, &insertion)),
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
        self.shared.desk.handles(|handles| handles.get(context, handle).cloned()).ok_or(Ended::Foreign)
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
    fn see_resets(&self, reader: &Arc<str>) {
        let resets = self.shared.broker.card_resets(reader);
        self.shared.desk.handles(|handles| handles.see_resets(reader, resets));
    }

    async fn connect(&mut self, name: &str, share: u32, protocols: u32) -> Result<Result<(u32, u32), Code>, Ended> {
        let context = self.context()?;
        let Some(share) = Share::new(share) else { return Ok(Err(Code::INVALID_VALUE)) };
        self.refresh();
        let Some(id) = self.shared.desk.reader(&self.member, name) else { return Ok(Err(Code::UNKNOWN_READER)) };
        let Some(reader) = self.settled(&id).await? else { return Ok(Err(Code::READER_UNAVAILABLE)) };
        self.see_resets(&id);
        let protocol = match usable(&reader, share, protocols) {
            Ok(protocol) => protocol,
            Err(code) => return Ok(Err(code)),
        };
        if share != Share::Direct
            && let Err(failure) =
                self.shared.broker.check_session(&self.request_context(&id), &self.session_request(share))
        {
            return Ok(Err(Code::from(&failure)));
        }
        let at = Connected {
            user: self.user.clone(),
            process: self.member.process,
            context,
            reader: Arc::clone(&id),
            share,
            protocol: protocol.unwrap_or_default(),
            insertion: reader.status.insertion_id.clone(),
        };
        let handle = match self.shared.desk.connect(at) {
            Ok(handle) => handle,
            Err(code) => return Ok(Err(code)),
        };
        match self.keep_or_learn(handle, share, protocol, protocols).await? {
            Ok(protocol) => {
                self.shared.broker.record_handle(&self.request_context(&id));
                Ok(Ok((handle, protocol)))
            }
            Err(code) => {
                self.abandon_turn(handle);
                self.shared.desk.handles(|handles| handles.disconnect(handle));
                Ok(Err(code))
            }
        }
    }

    /// Gets an exclusive handle its turn. Without a known protocol the card is not taken yet; a turn takes it.
    async fn keep_or_learn(
        &mut self,
        handle: u32,
        share: Share,
        protocol: Option<u32>,
        protocols: u32,
    ) -> Result<Result<u32, Code>, Ended> {
        if let (Some(protocol), true) = (protocol, share != Share::Exclusive) {
            return Ok(Ok(protocol));
        }
        if let Err(code) = self.acquire(handle, Need { hold: EXCLUSIVE_TIME, ..Need::default() }).await? {
            return Ok(Err(code));
        }
        let found = self.turns.held(handle).map(|held| protocol_bit(Some(held.session.protocol())));
        self.settle_turn(handle);
        let protocol = protocol.or(found).unwrap_or_default();
        if protocols & protocol == 0 {
            return Ok(Err(Code::PROTO_MISMATCH));
        }
        self.shared.desk.handles(|handles| handles.set_protocol(handle, protocol));
        Ok(Ok(protocol))
    }

    /// Waits until the reader has taken a card that was just inserted; `None` if the reader is gone.
    async fn settled(&mut self, id: &str) -> Result<Option<Arc<ReaderView>>, Ended> {
        let deadline = Instant::now() + SETTLE_TIME;
        loop {
            match self.reader(id) {
                Some(reader) if reader.status.state == State::Settling && Instant::now() < deadline => {}
                reader => return Ok(reader),
            }
            let closing = self.closing.clone();
            tokio::select! {
                () = closing.cancelled() => return Err(Ended::Stopping),
                changed = self.readers.changed() => {
                    changed.map_err(|_| Ended::Stopping)?;
                    self.refresh();
                }
                (handle, event) = self.turns.next() => self.on_turn_event(handle, event),
                () = sleep_until(deadline) => {}
                ended = self.input.gone() => return Err(ended),
            }
        }
    }

    async fn reconnect(
        &mut self,
        handle: u32,
        share: u32,
        protocols: u32,
        initialization: u32,
    ) -> Result<Result<u32, Code>, Ended> {
        let at = self.connected(handle)?;
        let (Some(share), Some(Disposition(reset))) = (Share::new(share), Disposition::new(initialization)) else {
            return Ok(Err(Code::INVALID_VALUE));
        };
        let Some(reader) = self.settled(&at.reader).await? else { return Ok(Err(Code::READER_UNAVAILABLE)) };
        self.see_resets(&at.reader);
        let protocol = match usable(&reader, share, protocols) {
            Ok(protocol) => protocol,
            Err(code) => return Ok(Err(code)),
        };
        let insertion = &reader.status.insertion_id;
        let known = protocol.unwrap_or(at.protocol);
        let (had_news, had_turn) = (self.has_news(handle), self.has_begun(handle));
        let before = match self.shared.desk.handles(|handles| handles.reconnect(handle, share, known, insertion)) {
            Ok(before) => before,
            Err(code) => return Ok(Err(code)),
        };
        let mut reconnected = Ok(known);
        if let Some(kind) = reset.filter(|_| share != Share::Direct) {
            reconnected = self.acquire(handle, Need::default()).await?.map(|()| known);
            if reconnected.is_ok() {
                reconnected = self.reset(handle, kind, true).await?.map(|()| known);
            }
        }
        if reconnected.is_ok() {
            reconnected = self.keep_or_learn(handle, share, protocol, protocols).await?;
        }
        if reconnected.is_err() {
            if !had_turn {
                // The turn began for a handle that knew nothing about the card.
                self.end_turn(handle);
            }
            self.shared.desk.handles(|handles| handles.undo_reconnect(handle, before));
        }
        // The turn in which the handle got the news is for its next call.
        let keeps = self.shared.desk.handles(|handles| handles.keeps_turn(handle));
        let rests_longer = had_news && !keeps || self.has_news(handle);
        self.settle_turn_with(handle, rests_longer);
        Ok(reconnected)
    }

    /// Disconnects the handle. Its reset is for what it has done to the card: without a command none is needed. While
    /// others have the turn, the card is reset at its end.
    async fn disconnect(&mut self, handle: u32, disposition: u32) -> Result<Code, Ended> {
        let at = self.connected(handle)?;
        let Some(Disposition(reset)) = Disposition::new(disposition) else { return Ok(Code::INVALID_VALUE) };
        if let Some(kind) = reset.filter(|_| self.shared.desk.handles(|handles| handles.has_sent(handle))) {
            let resets = self.shared.broker.card_resets(&at.reader);
            // The handle may have its turn in spite of an error, which is news that it needs no more.
            let _ = self.acquire(handle, Need { hold: RESTS, ..Need::default() }).await?;
            if !self.has_begun(handle) || self.reset(handle, kind, true).await?.is_err() {
                self.shared.broker.reset_after_turn(&at.reader, resets);
            }
        }
        self.end_turn(handle);
        self.shared.desk.handles(|handles| handles.disconnect(handle));
        Ok(Code::SUCCESS)
    }

    /// The value of an attribute; `None` if it is not known.
    fn attribute(&self, handle: u32, attribute: u32) -> Result<Option<Vec<u8>>, Ended> {
        let at = self.connected(handle)?;
        let Some(reader) = self.reader(&at.reader) else { return Ok(None) };
        let text = |text: &str| [text.as_bytes(), &[0]].concat();
        let value = match attribute {
            ATR_STRING => Some(reader.status.atr.clone()).filter(|atr| !atr.is_empty()),
            name if NAMES.contains(&name) => Some(text(&reader.names.display_name)),
            _ => None,
        };
        Ok(value.filter(|value| value.len() <= ATTRIBUTE_BYTES))
    }
}

/// The bit of the protocol for a handle of this share mode; `None` if the card is there and was not taken yet.
fn usable(reader: &ReaderView, share: Share, protocols: u32) -> Result<Option<u32>, Code> {
    if share == Share::Direct {
        return Ok(Some(0));
    }
    if protocols & PROTOCOLS == 0 {
        return Err(Code::PROTO_MISMATCH);
    }
    match reader.status.state {
        State::Ready => {}
        State::Empty | State::Settling => return Err(Code::NO_SMARTCARD),
        State::Mute => return Err(Code::UNPOWERED_CARD),
        State::HeldElsewhere => return Err(Code::SHARING_VIOLATION),
        State::Unresponsive | State::Unavailable => return Err(Code::READER_UNAVAILABLE),
    }
    match protocol_bit(reader.status.protocol) {
        0 => Ok(None),
        bit if protocols & bit == 0 => Err(Code::PROTO_MISMATCH),
        bit => Ok(Some(bit)),
    }
}
