//! Transactions and commands.

use std::time::Instant;

use cardbroker_core::{
    apdu::ApduBytes,
    card::unit::{UnitCommand, UnitOutcome},
    error::{Delivery, Failure, Reason},
    pcsclite::{
        code::Code,
        handles::{Ask, PcscDisposition},
        wire::{Message, Reply, Request},
    },
    slot::{CardInfo, ResetKind},
};
use tracing::Span;

use super::{
    connection::Connection,
    holding::Need,
    input::Ended,
    turns::{Event, Held, Turn},
    unserved::{Unserved, answered},
};
use crate::reader::{
    session::{SessionEvent, SessionReset, SessionUnit},
    spans,
};

/// The least room for an answer, which a status word needs.
const MIN_ROOM: usize = 2;
/// The bit of the protocol in which bytes are passed unchanged. Programs may send so on any protocol.
const RAW: u32 = 4;
/// The protocol that old programs name for any.
const ANY_OLD: u32 = 0x1000;

impl Connection {
    pub(super) async fn begin(&mut self, handle: u32) -> Result<Code, Ended> {
        let Some(insertion) = self.insertion(handle)? else { return Ok(Code::READER_UNAVAILABLE) };
        self.end_rest(handle);
        let code = match self.shared.state.handles(|handles| handles.begin(handle, &insertion)) {
            Ask::Answer(code) => self.refuse(handle, code),
            Ask::Ready => Code::SUCCESS,
            Ask::Turn => {
                let need = Need { begins: true, keeps_place: true, ..Need::default() };
                match answered(self.acquire(handle, need).await)? {
                    Ok(()) => Code::SUCCESS,
                    Err(code) => self.without_turn(handle, code)?,
                }
            }
        };
        self.settle_turn(handle);
        Ok(code)
    }

    pub(super) async fn end(&mut self, handle: u32, disposition: u32) -> Result<Code, Ended> {
        let Some(insertion) = self.insertion(handle)? else {
            self.end_turn(handle);
            return Ok(Code::READER_UNAVAILABLE);
        };
        let Some(PcscDisposition(reset)) = PcscDisposition::new(disposition) else { return Ok(Code::INVALID_VALUE) };
        // What the reset tells the handle itself is no reason to wait for its reconnecting.
        let had_news = self.has_news(handle);
        let end = self.shared.state.handles(|handles| handles.end(handle, &insertion));
        let mut code = end.code;
        if let Some(kind) = reset.filter(|_| end.was_open && code.is_success()) {
            code = answered(self.reset(handle, kind, false).await)?.err().unwrap_or(code);
        }
        self.settle_turn_with(handle, had_news);
        Ok(code)
    }

    /// Answers the request for a command.
    pub(super) async fn on_transmit(&mut self, mut message: Message) -> Result<(), Ended> {
        let Request::Transmit { handle, protocol, room, command } = &mut message.request else {
            return Err(Ended::Foreign);
        };
        let (handle, protocol, room, command) = (*handle, *protocol, *room, std::mem::take(command));
        let answer = answered(self.transmit(handle, protocol, room, command).await)?;
        self.settle_turn(handle);
        match answer {
            Ok(answer) => self.answer(&message, Reply::Transmitted(&answer)).await,
            Err(code) => self.answer(&message, Reply::Code(code)).await,
        }
    }

    async fn transmit(
        &mut self,
        handle: u32,
        protocol: u32,
        room: usize,
        command: ApduBytes,
    ) -> Result<ApduBytes, Unserved> {
        let at = self.connected(handle)?;
        if room < MIN_ROOM {
            return Err(Code::INSUFFICIENT_BUFFER.into());
        }
        if ![at.protocol, RAW, ANY_OLD].contains(&protocol) {
            return Err(Code::PROTO_MISMATCH.into());
        }
        let command = UnitCommand::raw(command).map_err(|_| Code::INVALID_PARAMETER)?;
        let selects = command.header().selects_by_name();
        let insertion = self.insertion_in(&at.reader).ok_or(Code::READER_UNAVAILABLE)?;
        self.end_rest(handle);
        match self.shared.state.handles(|handles| handles.ask(handle, &insertion)) {
            Ask::Answer(code) => return Err(self.refuse(handle, code).into()),
            Ask::Ready => {}
            Ask::Turn => {
                let need = Need { selects: Some(selects), keeps_place: true, ..Need::default() };
                if let Err(code) = answered(self.acquire(handle, need).await)? {
                    return Err(self.without_turn(handle, code)?.into());
                }
            }
        }
        self.shared.state.handles(|handles| handles.on_command(handle, selects))?;
        let held = self.take_held(handle).ok_or(Code::INTERNAL_ERROR)?;
        let span = spans::unit(&Span::current());
        let resets = held.session.marks().resets();
        let outcome = match span.in_scope(|| held.session.transmit(vec![command], true, Instant::now())) {
            Ok(unit) => self.carry_out(handle, held, unit).await,
            Err(failure) => {
                self.turns.put(handle, Turn::Held(held));
                Err(failure)
            }
        };
        let answer = outcome.and_then(answer);
        if !answer.as_ref().is_err_and(|failure| failure.delivery == Delivery::NotSent) {
            self.shared.state.handles(|handles| handles.on_sent(handle, selects, resets));
        }
        Ok(answer.or_else(refusal)?)
    }

    /// Resets the card in the turn of the handle, which gets the news itself unless it `acknowledges` the reset.
    pub(super) async fn reset(&mut self, handle: u32, kind: ResetKind, acknowledges: bool) -> Result<(), Unserved> {
        let held = self.take_held(handle).ok_or(Code::INTERNAL_ERROR)?;
        match held.session.reset(kind, true) {
            Ok(reset) => self.carry_out(handle, held, reset).await?,
            Err(failure) => {
                self.turns.put(handle, Turn::Held(held));
                return Err(failure.into());
            }
        };
        if let Some(resets) = self.turns.held(handle).map(|held| held.session.marks().resets()) {
            self.shared.state.handles(|handles| handles.on_reset(handle, resets, acknowledges));
        }
        Ok(())
    }

    /// The answer to a call that has got no turn, for the reason `code`.
    fn without_turn(&mut self, handle: u32, code: Code) -> Result<Code, Ended> {
        let Some(insertion) = self.insertion(handle)? else { return Ok(Code::READER_UNAVAILABLE) };
        let answer = self.shared.state.handles(|handles| handles.refused(handle, &insertion, code));
        // After news, a place in the queue is of no use.
        Ok(if answer == code { code } else { self.refuse(handle, answer) })
    }

    fn take_held(&mut self, handle: u32) -> Option<Box<Held>> {
        match self.turns.take(handle)? {
            Turn::Held(held) => Some(held),
            waiting => {
                self.turns.put(handle, waiting);
                None
            }
        }
    }

    /// Waits for a task in the turn of the handle, and serves the turns of the other handles meanwhile.
    async fn carry_out<T: Task>(
        &mut self,
        handle: u32,
        mut held: Box<Held>,
        mut task: T,
    ) -> Result<T::Outcome, Failure> {
        let mut over = None;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = task.outcome() => break outcome,
                news = held.session.news() => if let SessionEvent::Over(event) = news {
                    if event.hangs {
                        task.abandon(&event.failure);
                    }
                    // A second event has the failure of the task, not the cause of the end.
                    over.get_or_insert(event);
                },
                (other, event) = self.turns.next() => self.on_turn_event(other, event),
                Ok(()) = self.member.kept.changed() => self.leave_own_queue(),
            }
        };
        self.turns.put(handle, Turn::Held(held));
        if let Some(over) = over {
            self.on_turn_event(handle, Event::Over(over));
        }
        outcome
    }
}

/// A task in a session.
trait Task {
    type Outcome;

    async fn outcome(&mut self) -> Result<Self::Outcome, Failure>;

    /// Ends the wait for a driver that hangs.
    fn abandon(&mut self, failure: &Failure);
}

impl Task for SessionUnit {
    type Outcome = UnitOutcome;

    async fn outcome(&mut self) -> Result<UnitOutcome, Failure> {
        SessionUnit::outcome(self).await
    }

    fn abandon(&mut self, failure: &Failure) {
        SessionUnit::abandon(self, failure, Instant::now());
    }
}

impl Task for SessionReset {
    type Outcome = CardInfo;

    async fn outcome(&mut self) -> Result<CardInfo, Failure> {
        SessionReset::outcome(self).await
    }

    fn abandon(&mut self, failure: &Failure) {
        SessionReset::abandon(self, failure);
    }
}

/// The answer to a command that the broker has refused. A PIN that the card has rejected before gets the status word of
/// a wrong PIN, with the number of tries that the card has left: every program shows that right.
fn refusal(failure: Failure) -> Result<ApduBytes, Code> {
    match (failure.reason, failure.tries()) {
        (Reason::PinKnownWrong, Some(tries @ 1..=15)) => Ok([0x63, 0xC0 | tries].into()),
        _ => Err(Code::from(&failure)),
    }
}

/// The card's answer to the only command of a unit.
fn answer(outcome: UnitOutcome) -> Result<ApduBytes, Failure> {
    match (outcome.results.first(), outcome.stopped) {
        (_, Some(stop)) => Err(stop.failure),
        (Some(result), None) => Ok(ApduBytes::concat([&result.data, &result.status_word.0.to_be_bytes()])),
        (None, None) => Err(Failure::unknown(Reason::Internal, "the unit has no answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_wrong_pin_has_the_count_that_the_card_gave() {
        for (tries, answer) in [
            (Some(15), Ok([0x63, 0xCF].into())),
            (Some(1), Ok([0x63, 0xC1].into())),
            (Some(0), Err(Code::WRONG_CHV)),
            (Some(16), Err(Code::WRONG_CHV)),
            (None, Err(Code::WRONG_CHV)),
        ] {
            assert_eq!(refusal(Failure::known_wrong(tries, "m")), answer, "{tries:?}");
        }
        assert_eq!(refusal(Failure::last_try("m")), Err(Code::SECURITY_VIOLATION));
    }
}
