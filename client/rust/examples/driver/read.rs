//! Reads requests in the JSON mapping of protobuf and passes them to the client's builders.

use std::{str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use cardbroker_client::{
    CardRequirement, CardReset, Command, Disposition, PinEncoding, PinPad, PinPadOperation, StopRule,
};
use serde_json::Value;

/// Why a line cannot be used.
pub(crate) type Mistake = String;

type Read<T> = Result<T, Mistake>;

/// Sets the terms of a turn on a unit or a session, which have the same options, but no type in common.
macro_rules! turn {
    ($request:ident, $turn:expr) => {
        let turn: &serde_json::Value = $turn;
        if let Some(timeout) = crate::read::duration(&turn["wait_timeout"])? {
            $request = $request.wait_timeout(timeout);
        }
        if let Some(card) = crate::read::card(&turn["card"])? {
            $request = $request.card(card);
        }
        if let Some(id) = turn["if_insertion_id"].as_str() {
            $request = $request.if_insertion_id(id);
        }
        if let Some(tag) = turn["if_state_tag"].as_str() {
            $request = $request.if_state_tag(tag);
        }
        if turn["if_not_raised"] == true {
            $request = $request.if_not_raised();
        }
        if let Some(reset) = crate::read::reset(&turn["reset_before"])? {
            $request = $request.reset_before(reset);
        }
    };
}
pub(crate) use turn;

pub(crate) fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or_else(|| "a text is missing".to_owned())
}

/// A number, or a number in a text, as protobuf writes 64-bit integers.
pub(crate) fn number<T: FromStr>(value: &Value) -> Read<T> {
    let digits = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    digits.parse().map_err(|_| format!("{digits} is not a number, or out of range"))
}

fn number_or_default<T: FromStr + Default>(value: &Value) -> Read<T> {
    if value.is_null() { Ok(T::default()) } else { number(value) }
}

pub(crate) fn bytes(value: &Value) -> Read<Option<Vec<u8>>> {
    value.as_str().map(|text| STANDARD.decode(text).map_err(|error| error.to_string())).transpose()
}

fn bytes_or_none(value: &Value) -> Read<Vec<u8>> {
    Ok(bytes(value)?.unwrap_or_default())
}

/// Reads a duration such as `"1.500s"`.
pub(crate) fn duration(value: &Value) -> Read<Option<Duration>> {
    let Some(text) = value.as_str() else { return Ok(None) };
    let digits = text.strip_suffix('s').unwrap_or(text);
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let nanoseconds = format!("{fraction:0<9}").parse();
    match (seconds.parse(), nanoseconds) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanoseconds))),
        _ => Err(format!("{text} is not a duration")),
    }
}

/// An enumeration's value by its name.
fn named<T>(value: &Value, of_name: fn(&str) -> Option<T>) -> Read<Option<T>> {
    let Some(name) = value.as_str() else { return Ok(None) };
    of_name(name).map(Some).ok_or_else(|| format!("{name} is not known"))
}

pub(crate) fn card(value: &Value) -> Read<Option<CardRequirement>> {
    named(value, CardRequirement::from_str_name)
}

pub(crate) fn reset(value: &Value) -> Read<Option<CardReset>> {
    named(value, CardReset::from_str_name)
}

pub(crate) fn disposition(value: &Value) -> Read<Option<Disposition>> {
    named(value, Disposition::from_str_name)
}

pub(crate) fn commands(value: &Value) -> Read<Vec<Command>> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(command).collect()
}

fn command(value: &Value) -> Read<Command> {
    let mut command = action(value)?;
    for pattern in value["continue_on"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let word = number_or_default(&pattern["value"])?;
        command = match &pattern["mask"] {
            Value::Null => command.continue_on_exactly(word),
            mask => command.continue_on(word, number(mask)?),
        };
    }
    match named(&value["stop_rule"], StopRule::from_str_name)? {
        Some(rule) => Ok(command.stop_rule(rule)),
        None => Ok(command),
    }
}

fn action(value: &Value) -> Read<Command> {
    let given = |name: &str| value.get(name).filter(|action| action.is_object());
    if let Some(control) = given("control") {
        return Ok(Command::control(number_or_default(&control["code"])?, bytes_or_none(&control["data"])?));
    }
    if let Some(get) = given("get_attribute") {
        return Ok(Command::get_attribute(number_or_default(&get["tag"])?));
    }
    if let Some(set) = given("set_attribute") {
        return Ok(Command::set_attribute(number_or_default(&set["tag"])?, bytes_or_none(&set["value"])?));
    }
    if let Some(pad) = given("pin_pad") {
        return pin_pad(pad).map(Command::pin_pad);
    }
    apdu(given("apdu").ok_or("a command without an action")?)
}

fn apdu(apdu: &Value) -> Read<Command> {
    let mut command = Command::new(bytes_or_none(&apdu["bytes"])?)
        .continue_instruction(number_or_default(&apdu["continue_instruction"])?);
    if apdu["raw"] == true {
        command = command.raw();
    }
    if !apdu["continue_class"].is_null() {
        command = command.continue_class(number(&apdu["continue_class"])?);
    }
    if apdu["allow_last_try"] == true {
        command = command.allow_last_try();
    }
    if apdu["allow_known_wrong"] == true {
        command = command.allow_known_wrong();
    }
    Ok(command)
}

fn pin_pad(pad: &Value) -> Read<PinPad> {
    let operation = named(&pad["operation"], PinPadOperation::from_str_name)?.unwrap_or_default();
    let encoding = named(&pad["encoding"], PinEncoding::from_str_name)?.unwrap_or_default();
    let pin_pad = PinPad::new(bytes_or_none(&pad["template"])?, operation)
        .encoding(encoding)
        .pin_offset(number_or_default(&pad["pin_offset"])?)
        .pin_block_length(number_or_default(&pad["pin_block_length"])?)
        .min_digits(number_or_default(&pad["min_digits"])?)
        .max_digits(number_or_default(&pad["max_digits"])?);
    match duration(&pad["key_timeout"])? {
        Some(timeout) => Ok(pin_pad.key_timeout(timeout)),
        None => Ok(pin_pad),
    }
}
