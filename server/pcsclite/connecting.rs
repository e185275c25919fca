//! How a handle is connected, reconnected and disconnected.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    pcsclite::{
        code::Code,
        handles::{Connected, PcscDisposition, ShareMode},
        reader_states::protocol_bit,
    },
    slot::ResetKind,
    status::State,
};
use tokio::time::{Instant, sleep_until};

use super::{
    connection::Connection,
    holding::Need,
    input::Ended,
    unserved::{Unserved, answered},
};
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

impl Connection {
    /// Connects a new handle. Returns its number, and the bit of its protocol.
    pub(super) async fn connect(&mut self, name: &str, share: u32, protocols: u32) -> Result<(u32, u32), Unserved> {
        let context = self.context()?;
        let share = ShareMode::new(share).ok_or(Code::INVALID_VALUE)?;
        self.refresh();
        let id = self.shared.state.reader(&self.member, name).ok_or(Code::UNKNOWN_READER)?;
        let reader = self.settled(&id).await?.ok_or(Code::READER_UNAVAILABLE)?;
        self.see_resets(&id);
        let protocol = usable(&reader, share, protocols)?;
        if share != ShareMode::Direct {
            self.shared.broker.check_session(&self.request_context(&id), &self.session_request(share))?;
        }
        let at = Connected {
            user: self.user.clone(),
            process: self.member.process,
            context,
            reader: Arc::clone(&id),
            rule: self.shared.exclusive(&reader.names.display_name),
            share,
            protocol: protocol.unwrap_or_default(),
            insertion: reader.status.insertion_id.clone(),
        };
        let handle = self.shared.state.connect(at)?;
        match self.keep_or_learn(handle, share, protocol, protocols).await {
            Ok(protocol) => {
                self.shared.broker.record_handle(&self.request_context(&id));
                Ok((handle, protocol))
            }
            Err(unserved) => {
                self.abandon_turn(handle);
                self.shared.state.handles(|handles| handles.disconnect(handle));
                Err(unserved)
            }
        }
    }

    /// Gets an exclusive handle its turn. Without a known protocol the card is not taken yet; a turn takes it.
    async fn keep_or_learn(
        &mut self,
        handle: u32,
        share: ShareMode,
        protocol: Option<u32>,
        protocols: u32,
    ) -> Result<u32, Unserved> {
        if let (Some(protocol), true) = (protocol, share != ShareMode::Exclusive) {
            return Ok(protocol);
        }
        self.acquire(handle, Need { hold: EXCLUSIVE_TIME, ..Need::default() }).await?;
        let found = self.turns.held(handle).map(|held| protocol_bit(Some(held.session.protocol())));
        self.settle_turn(handle);
        let protocol = protocol.or(found).unwrap_or_default();
        if protocols & protocol == 0 {
            return Err(Code::PROTO_MISMATCH.into());
        }
        self.shared.state.handles(|handles| handles.set_protocol(handle, protocol));
        Ok(protocol)
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
                Ok(()) = self.member.kept.changed() => self.leave_own_queue(),
                () = sleep_until(deadline) => {}
                ended = self.input.gone() => return Err(ended),
            }
        }
    }

    pub(super) async fn reconnect(
        &mut self,
        handle: u32,
        share: u32,
        protocols: u32,
        initialization: u32,
    ) -> Result<u32, Unserved> {
        let at = self.connected(handle)?;
        let share = ShareMode::new(share).ok_or(Code::INVALID_VALUE)?;
        let PcscDisposition(reset) = PcscDisposition::new(initialization).ok_or(Code::INVALID_VALUE)?;
        let reader = self.settled(&at.reader).await?.ok_or(Code::READER_UNAVAILABLE)?;
        self.see_resets(&at.reader);
        let protocol = usable(&reader, share, protocols)?;
        let insertion = &reader.status.insertion_id;
        let known = protocol.unwrap_or(at.protocol);
        let (had_news, had_turn) = (self.has_news(handle), self.has_begun(handle));
        let before = self.shared.state.handles(|handles| handles.reconnect(handle, share, known, insertion))?;
        let reset = reset.filter(|_| share != ShareMode::Direct);
        let reconnected = answered(self.reset_and_keep(handle, reset, share, protocol, protocols).await)?;
        if reconnected.is_err() {
            if !had_turn {
                // The turn began for a handle that knew nothing about the card.
                self.end_turn(handle);
            }
            self.shared.state.handles(|handles| handles.undo_reconnect(handle, before));
        }
        // The turn in which the handle got the news is for its next call.
        let keeps = self.shared.state.handles(|handles| handles.keeps_turn(handle));
        let rests_longer = had_news && !keeps || self.has_news(handle);
        self.settle_turn_with(handle, rests_longer);
        Ok(reconnected?)
    }

    /// Resets the card for a handle that reconnects, if it asks for that. Then as [`Connection::keep_or_learn`].
    async fn reset_and_keep(
        &mut self,
        handle: u32,
        reset: Option<ResetKind>,
        share: ShareMode,
        protocol: Option<u32>,
        protocols: u32,
    ) -> Result<u32, Unserved> {
        if let Some(kind) = reset {
            self.acquire(handle, Need::default()).await?;
            self.reset(handle, kind, true).await?;
        }
        self.keep_or_learn(handle, share, protocol, protocols).await
    }

    /// Disconnects the handle. A disposition that resets the card is for the effects of the handle's commands: without
    /// any in the card it does nothing. The card is reset when the turn in progress has ended, the handle's own or that
    /// of others, and before any other turn.
    pub(super) async fn disconnect(&mut self, handle: u32, disposition: u32) -> Result<Code, Ended> {
        let at = self.connected(handle)?;
        let Some(PcscDisposition(reset)) = PcscDisposition::new(disposition) else { return Ok(Code::INVALID_VALUE) };
        let mut stays = Ok(());
        let reader = self.reader(&at.reader);
        if let (Some(kind), Some(reader), Some(resets)) = (reset, reader, self.shared.broker.card_resets(&at.reader)) {
            let insertion = &reader.status.insertion_id;
            if self.shared.state.handles(|handles| handles.has_effect(handle, insertion, resets)) {
                // For a request that waits, a turn that only rests ends.
                let acquired = self.acquire(handle, Need { hold: RESTS, ..Need::default() }).await;
                stays = answered(acquired).map(drop);
                self.shared.broker.reset_after_turn(&at.reader, resets, kind);
            }
        }
        self.end_turn(handle);
        self.shared.state.handles(|handles| handles.disconnect(handle));
        stays.map(|()| Code::SUCCESS)
    }
}

/// The bit of the protocol for a handle of this share mode; `None` if the card is there and was not taken yet.
fn usable(reader: &ReaderView, share: ShareMode, protocols: u32) -> Result<Option<u32>, Code> {
    if share == ShareMode::Direct {
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
