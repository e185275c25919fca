//! `Transmit`: the request checked and turned into a unit, the outcome turned into the response.

use std::time::Duration;

use cardbroker_proto::{
    MAX_COMMANDS,
    v1::{self, CardStart, TransmitRequest, TransmitResponse},
};

use super::status::{wire_delivery, wire_reason};
use crate::{
    apdu::{CommandApdu, StatusPattern},
    backend::ResetKind,
    error::Failure,
    reader::{
        ticket::{Stop, UnitOutcome, UnitRequest},
        turn::{CardRequirement, DEFAULT_WAIT, Disposition, MAX_WAIT, TurnRequest},
        unit::{CommandResult, StatusWordSource, UnitCommand},
    },
};

const MAX_PATTERNS: usize = 16;
const REQUEST_ID_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
const MAX_IDENTIFIER_BYTES: usize = 128;

/// The unit that a request asks for, and its `request_id` if it has one. The APDU bytes move into their protected type.
///
/// # Errors
/// [`Reason::InvalidRequest`] naming the field.
pub(super) fn unit_request(request: TransmitRequest) -> Result<(UnitRequest, Option<Vec<u8>>), Failure> {
    let id = Some(request.request_id).filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| !REQUEST_ID_BYTES.contains(&id.len())) {
        return Err(Failure::invalid("request_id", "must have 16 to 64 bytes, 128 of the bits random"));
    }
    let turn = TurnRequest {
        reset_before: reset_before(request.start)?,
        if_insertion_id: condition("if_insertion_id", request.if_insertion_id)?,
        if_state_tag: condition("if_state_tag", request.if_state_tag)?,
        wait_timeout: wait_timeout(request.wait_timeout)?,
        card: card(request.wait_for_card),
    };
    let (commands, raw) = (unit_commands(request.commands)?, request.raw);
    // The contract has no other yet.
    Ok((UnitRequest { commands, raw, turn, disposition: Disposition::Leave }, id))
}

/// The commands of a unit, 1–64.
///
/// # Errors
/// [`Reason::InvalidRequest`] naming the field.
pub(super) fn unit_commands(commands: Vec<v1::Command>) -> Result<Vec<UnitCommand>, Failure> {
    match commands.len() {
        0 => return Err(Failure::invalid("commands", "empty: give at least one command")),
        count if count > MAX_COMMANDS => {
            let message = format!("{count} commands: at most {MAX_COMMANDS} fit into one unit");
            return Err(Failure::invalid("commands", message));
        }
        _ => {}
    }
    commands.into_iter().enumerate().map(|(index, command)| unit_command(index, command)).collect()
}

/// What a request needs of the card.
pub(super) fn card(wait_for_card: bool) -> CardRequirement {
    if wait_for_card { CardRequirement::Awaited } else { CardRequirement::Required }
}

/// How the card is reset before the turn begins.
///
/// # Errors
/// [`Reason::InvalidRequest`] if `start` is no `CardStart`.
pub(super) fn reset_before(start: i32) -> Result<Option<ResetKind>, Failure> {
    match CardStart::try_from(start) {
        Ok(CardStart::Unspecified | CardStart::AsIs) => Ok(None),
        Ok(CardStart::Reset) => Ok(Some(ResetKind::Warm)),
        Err(_) => Err(Failure::invalid("start", format!("{start} is no CardStart"))),
    }
}

fn unit_command(index: usize, command: v1::Command) -> Result<UnitCommand, Failure> {
    let field = |name: &str| format!("commands[{index}].{name}");
    let apdu = CommandApdu::parse(command.apdu).map_err(|error| Failure::invalid(field("apdu"), error.to_string()))?;
    if command.continue_on.len() > MAX_PATTERNS {
        return Err(Failure::invalid(field("continue_on"), format!("more than {MAX_PATTERNS} patterns")));
    }
    let continue_on = command.continue_on.into_iter().map(|pattern| {
        let half = |number: u32| {
            u16::try_from(number)
                .map_err(|_| Failure::invalid(field("continue_on"), format!("{number:#X} has more than 16 bits")))
        };
        Ok(StatusPattern { value: half(pattern.value)?, mask: half(pattern.mask.unwrap_or(0xFFFF))? })
    });
    let continue_instruction = match u8::try_from(command.continue_instruction) {
        Ok(0) => None,
        Ok(instruction) => Some(instruction),
        Err(_) => return Err(Failure::invalid(field("continue_instruction"), "an instruction is one byte: 0–255")),
    };
    Ok(UnitCommand {
        apdu,
        continue_on: continue_on.collect::<Result<_, _>>()?,
        continue_instruction,
        allow_last_try: command.allow_last_try,
    })
}

pub(super) fn condition(field: &str, value: String) -> Result<Option<String>, Failure> {
    if value.len() > MAX_IDENTIFIER_BYTES {
        return Err(Failure::invalid(field, "longer than 128 bytes: hand back the one that you were given"));
    }
    Ok(Some(value).filter(|value| !value.is_empty()))
}

pub(super) fn wait_timeout(given: Option<prost_types::Duration>) -> Result<Duration, Failure> {
    let Some(given) = given else { return Ok(DEFAULT_WAIT) };
    Duration::try_from(given)
        .ok()
        .filter(|wait| *wait <= MAX_WAIT)
        .ok_or_else(|| Failure::invalid("wait_timeout", "out of range: 0 s – 24 h"))
}

/// The response to a unit of which at least one command was answered.
pub(super) fn response(outcome: UnitOutcome, replayed: bool) -> TransmitResponse {
    TransmitResponse {
        results: results(outcome.results),
        stopped: outcome.stopped.map(unit_stop),
        insertion_id: outcome.insertion_id,
        state_tag: outcome.state_tag,
        queue_duration: outcome.queue_duration.try_into().ok(),
        card_duration: outcome.card_duration.try_into().ok(),
        reset_before_unit: outcome.reset_before_unit,
        replayed,
    }
}

/// Where a unit stopped, as written in the contract.
pub(super) fn unit_stop(stop: Stop) -> v1::UnitStop {
    v1::UnitStop {
        index: u32::try_from(stop.index).unwrap_or(u32::MAX),
        reason: wire_reason(stop.failure.reason).into(),
        delivery: wire_delivery(stop.failure.delivery).into(),
        message: stop.failure.message.into_owned(),
    }
}

/// The answers of a unit, as written in the contract.
pub(super) fn results(results: Vec<CommandResult>) -> Vec<v1::CommandResult> {
    results.into_iter().map(result).collect()
}

fn result(result: CommandResult) -> v1::CommandResult {
    let source = match result.source {
        StatusWordSource::Command => v1::StatusWordSource::Command,
        StatusWordSource::CorrectedCommand => v1::StatusWordSource::CorrectedCommand,
        StatusWordSource::GetResponse => v1::StatusWordSource::GetResponse,
    };
    v1::CommandResult {
        data: result.data.into_unprotected(),
        status_word: result.status_word.0.into(),
        status_word_source: source.into(),
        get_response_count: result.get_response_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn request(apdus: &[&[u8]]) -> TransmitRequest {
        let commands = apdus.iter().map(|apdu| v1::Command { apdu: apdu.to_vec(), ..v1::Command::default() });
        TransmitRequest { reader: "readers/x".into(), commands: commands.collect(), ..TransmitRequest::default() }
    }

    fn field_at_fault(request: TransmitRequest) -> String {
        let failure = unit_request(request).unwrap_err();
        assert_eq!(failure.reason, Reason::InvalidRequest);
        failure.field.unwrap()
    }

    const SELECT: &[u8] = &[0x00, 0xA4, 0x00, 0x00];

    #[test]
    fn defaults_are_those_of_the_contract() {
        let (unit, id) = unit_request(request(&[SELECT])).unwrap();
        assert_eq!(id, None);
        assert_eq!(
            (unit.turn.wait_timeout, unit.turn.card, unit.raw, unit.turn.reset_before),
            (DEFAULT_WAIT, CardRequirement::Required, false, None)
        );
        assert_eq!((unit.turn.if_insertion_id, unit.turn.if_state_tag), (None, None));
    }

    #[test]
    fn every_broken_rule_names_its_field() {
        assert_eq!(field_at_fault(request(&[])), "commands");
        assert_eq!(field_at_fault(request(&vec![SELECT; 65])), "commands");
        assert_eq!(field_at_fault(request(&[SELECT, &[0x00]])), "commands[1].apdu");
        assert_eq!(field_at_fault(TransmitRequest { start: 9, ..request(&[SELECT]) }), "start");
        assert_eq!(
            field_at_fault(TransmitRequest { if_state_tag: "x".repeat(129), ..request(&[SELECT]) }),
            "if_state_tag"
        );
        for (seconds, nanos) in [(-1, 0), (0, -1), (24 * 3600 + 1, 0)] {
            let wait_timeout = Some(prost_types::Duration { seconds, nanos });
            assert_eq!(field_at_fault(TransmitRequest { wait_timeout, ..request(&[SELECT]) }), "wait_timeout");
        }
        let mut wide = request(&[SELECT]);
        wide.commands[0].continue_on = vec![v1::StatusWordPattern { value: 0x1_0000, mask: None }];
        assert_eq!(field_at_fault(wide), "commands[0].continue_on");
        let mut wide = request(&[SELECT]);
        wide.commands[0].continue_instruction = 256;
        assert_eq!(field_at_fault(wide), "commands[0].continue_instruction");
    }

    #[test]
    fn sixty_four_commands_fit() {
        assert_eq!(unit_request(request(&vec![SELECT; 64])).unwrap().0.commands.len(), 64);
    }

    #[test]
    fn a_request_id_has_16_to_64_bytes() {
        let with_id = |bytes| TransmitRequest { request_id: vec![7; bytes], ..request(&[SELECT]) };
        assert_eq!(field_at_fault(with_id(15)), "request_id");
        assert_eq!(field_at_fault(with_id(65)), "request_id");
        assert_eq!(unit_request(with_id(16)).unwrap().1, Some(vec![7; 16]));
    }
}
