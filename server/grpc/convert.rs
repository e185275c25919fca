//! Conversion between the contract's types and the core's types, shared by units and sessions.

use std::{borrow::Cow, fmt::Display, ops::RangeInclusive, time::Duration};

use cardbroker_core::{
    apdu::{ApduBytes, CommandApdu, StatusPattern, StopRule},
    card::unit::{CommandResult, StatusWordSource, Stop, UnitCommand},
    error::{Failure, Reason},
    slot::ResetKind,
    turns::turn::{CardRequirement, DEFAULT_WAIT, Disposition, MAX_WAIT, TurnRequest},
};
use cardbroker_proto::{
    MAX_COMMANDS,
    v1::{
        self, ApduCommand, ApduResult, CardRequirement as WireRequirement, CardReset, Command,
        Disposition as WireDisposition, StatusWordPattern, StopRule as WireStopRule, TurnOptions, UnitStop,
        command::Action, command_result::Outcome,
    },
};

use super::status::wire_failure;

const MAX_PATTERNS: usize = 16;
const MAX_IDENTIFIER_BYTES: usize = 128;

/// Converts the commands of a unit, 1–64; `path` is their field in the request. The APDU bytes move into their
/// protected type.
///
/// # Errors
/// [`Reason::InvalidRequest`] naming the field, [`Reason::NotImplemented`] for an action without an implementation.
pub(super) fn unit_commands(path: &str, commands: Vec<Command>) -> Result<Vec<UnitCommand>, Failure> {
    match commands.len() {
        0 => return Err(Failure::invalid(path, "empty: give at least one command")),
        count if count > MAX_COMMANDS => {
            let message = format!("{count} commands: at most {MAX_COMMANDS} fit into one unit");
            return Err(Failure::invalid(path, message));
        }
        _ => {}
    }
    commands
        .into_iter()
        .enumerate()
        .map(|(index, command)| unit_command(|field| format!("{path}[{index}].{field}"), command))
        .collect()
}

fn unit_command(at: impl Fn(&str) -> String, command: Command) -> Result<UnitCommand, Failure> {
    let apdu = match command.action {
        Some(Action::Apdu(apdu)) => apdu,
        Some(Action::Control(_)) => return Err(not_implemented(&at("control"))),
        Some(Action::GetAttribute(_)) => return Err(not_implemented(&at("get_attribute"))),
        Some(Action::SetAttribute(_)) => return Err(not_implemented(&at("set_attribute"))),
        Some(Action::PinPad(_)) => return Err(not_implemented(&at("pin_pad"))),
        None => return Err(Failure::invalid(at("action"), "missing: give an apdu")),
    };
    let mut unit_command = apdu_command(apdu, |field| at(&format!("apdu.{field}")))?;
    if command.continue_on.len() > MAX_PATTERNS {
        return Err(Failure::invalid(at("continue_on"), format!("more than {MAX_PATTERNS} patterns")));
    }
    let pattern = |(place, pattern)| status_pattern(pattern, |field| at(&format!("continue_on[{place}].{field}")));
    unit_command.continue_on = command.continue_on.into_iter().enumerate().map(pattern).collect::<Result<_, _>>()?;
    unit_command.stop_rule = stop_rule(command.stop_rule).ok_or_else(|| {
        Failure::invalid(
            at("stop_rule"),
            format!("{} is not a StopRule: use one of the contract's values", command.stop_rule),
        )
    })?;
    Ok(unit_command)
}

fn apdu_command(apdu: ApduCommand, at: impl Fn(&str) -> String) -> Result<UnitCommand, Failure> {
    let command = if apdu.raw { UnitCommand::raw(apdu.bytes) } else { CommandApdu::parse(apdu.bytes).map(Into::into) };
    let mut command = command.map_err(|error| Failure::invalid(at("bytes"), error.to_string()))?;
    if let Some(class) = apdu.continue_class {
        let class =
            u8::try_from(class).map_err(|_| Failure::invalid(at("continue_class"), "a class is one byte: 0–255"))?;
        let continued = command.continue_in(class);
        command = continued.map_err(|error| Failure::invalid(at("continue_class"), error.to_string()))?;
    }
    let instruction = u8::try_from(apdu.continue_instruction)
        .map_err(|_| Failure::invalid(at("continue_instruction"), "an instruction is one byte: 0–255"))?;
    command.continue_instruction = Some(instruction).filter(|instruction| *instruction != 0);
    command.allow_last_try = apdu.allow_last_try;
    command.allow_known_wrong = apdu.allow_known_wrong;
    Ok(command)
}

fn status_pattern(pattern: StatusWordPattern, at: impl Fn(&str) -> String) -> Result<StatusPattern, Failure> {
    let half = |field: &str, number: i32, least: u16| {
        let half = u16::try_from(number).ok().filter(|half| *half >= least);
        half.ok_or_else(|| Failure::invalid(at(field), format!("{number} is out of range: 0x{least:04X}–0xFFFF")))
    };
    let mask = pattern.mask.map_or(Ok(0xFFFF), |mask| half("mask", mask, 1))?;
    Ok(StatusPattern { value: half("value", pattern.value, 0)?, mask })
}

fn stop_rule(rule: i32) -> Option<StopRule> {
    Some(match WireStopRule::try_from(rule).ok()? {
        WireStopRule::Unspecified => StopRule::Default,
        WireStopRule::Sim => StopRule::Sim,
        WireStopRule::Any => StopRule::Any,
        WireStopRule::Only9000 => StopRule::Only9000,
    })
}

fn not_implemented(field: &str) -> Failure {
    Failure::not_sent(
        Reason::NotImplemented,
        format!("{field}: not supported by this version of the broker: leave it out"),
    )
}

/// Converts the terms of a turn; `path` is their field in the request.
///
/// # Errors
/// [`Reason::InvalidRequest`] naming the field, [`Reason::NotImplemented`] for a turn without a card.
pub(super) fn turn_request(path: &str, turn: Option<TurnOptions>) -> Result<TurnRequest, Failure> {
    let turn = turn.unwrap_or_default();
    let at = |field: &str| format!("{path}.{field}");
    let card = match WireRequirement::try_from(turn.card) {
        Ok(WireRequirement::Unspecified | WireRequirement::Required) => CardRequirement::Required,
        Ok(WireRequirement::Awaited) => CardRequirement::Awaited,
        Ok(WireRequirement::NotNeeded) => return Err(not_implemented(&at("card"))),
        Err(_) => {
            return Err(Failure::invalid(
                at("card"),
                format!("{} is not a CardRequirement: use one of the contract's values", turn.card),
            ));
        }
    };
    let reset_before = match CardReset::try_from(turn.reset_before) {
        Ok(CardReset::Unspecified | CardReset::None) => None,
        Ok(CardReset::Warm) => Some(ResetKind::Warm),
        Ok(CardReset::Cold) => Some(ResetKind::Cold),
        Err(_) => {
            return Err(Failure::invalid(
                at("reset_before"),
                format!("{} is not a CardReset: use one of the contract's values", turn.reset_before),
            ));
        }
    };
    let wait_timeout = turn.wait_timeout.map_or(Ok(DEFAULT_WAIT), |given| {
        let field = format_args!("{path}.wait_timeout");
        duration_in(given, Duration::ZERO..=MAX_WAIT, field, "out of range: 0 s – 24 h")
    })?;
    Ok(TurnRequest {
        reset_before,
        if_insertion_id: condition(format_args!("{path}.if_insertion_id"), turn.if_insertion_id)?,
        if_state_tag: condition(format_args!("{path}.if_state_tag"), turn.if_state_tag)?,
        if_not_raised: turn.if_not_raised,
        wait_timeout,
        card,
    })
}

fn condition(field: impl Display, value: String) -> Result<Option<String>, Failure> {
    if value.len() > MAX_IDENTIFIER_BYTES {
        return Err(Failure::invalid(
            field.to_string(),
            "longer than 128 bytes: send the value that the broker returned, unchanged",
        ));
    }
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// Converts a duration that must be in `range`.
///
/// # Errors
/// [`Reason::InvalidRequest`] naming the field.
pub(super) fn duration_in(
    given: prost_types::Duration,
    range: RangeInclusive<Duration>,
    field: impl Display,
    message: impl Into<Cow<'static, str>>,
) -> Result<Duration, Failure> {
    let duration = Duration::try_from(given).ok().filter(|duration| range.contains(duration));
    duration.ok_or_else(|| Failure::invalid(field.to_string(), message))
}

/// Converts the disposition of the card after a turn.
///
/// # Errors
/// [`Reason::InvalidRequest`] naming the field.
pub(super) fn disposition(field: &str, given: i32, default: Disposition) -> Result<Disposition, Failure> {
    match WireDisposition::try_from(given) {
        Ok(WireDisposition::Unspecified) => Ok(default),
        Ok(WireDisposition::Leave) => Ok(Disposition::Leave),
        Ok(WireDisposition::Reset) => Ok(Disposition::Reset),
        Ok(WireDisposition::Unpower) => Ok(Disposition::Unpower),
        Err(_) => {
            Err(Failure::invalid(field, format!("{given} is not a Disposition: use one of the contract's values")))
        }
    }
}

/// Returns the stop of a unit in the contract's type; `reader` is the request's reader.
pub(super) fn unit_stop(stop: &Stop, reader: &str) -> UnitStop {
    UnitStop { index: to_i32(stop.index), failure: Some(wire_failure(&stop.failure, Some(reader))) }
}

/// Returns the responses of a unit in the contract's type.
pub(super) fn results(results: Vec<CommandResult>) -> Vec<v1::CommandResult> {
    results.into_iter().map(result).collect()
}

fn result(result: CommandResult) -> v1::CommandResult {
    let source = match result.source {
        StatusWordSource::Command => v1::StatusWordSource::Command,
        StatusWordSource::CorrectedCommand => v1::StatusWordSource::CorrectedCommand,
        StatusWordSource::GetResponse => v1::StatusWordSource::GetResponse,
    };
    let apdu = ApduResult {
        data: result.data.expose_for_wire(),
        status_word: result.status_word.0.into(),
        status_word_source: source.into(),
        get_response_count: to_i32(result.get_response_count),
    };
    v1::CommandResult { outcome: Some(Outcome::Apdu(apdu)), card_duration: result.card_duration.try_into().ok() }
}

/// Copies bytes of a command or a response for a message.
pub(super) fn wire_bytes(bytes: &ApduBytes) -> Vec<u8> {
    bytes.clone().expose_for_wire()
}

/// Returns a count as a 32-bit number, capped at its maximum.
pub(super) fn to_i32(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// Returns a count as a 64-bit number, capped at its maximum.
pub(super) fn to_i64(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
