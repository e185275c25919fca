//! Converts a driver's output to messages of the contract: two forms of the same value become equal.

use anyhow::{Context, Result};
use cardbroker_proto::v1::{Delivery, ErrorReason};
use serde_json::{Map, Value, json};

use crate::{
    compare::{self, Bindings, Rest},
    contract::{self, Contract},
};

/// The type of the message in `ok` after an order, or in `response` of an error.
fn kind(order: &Value) -> Option<&'static str> {
    Some(match order.get("op")?.as_str()? {
        "get_broker" => "GetBrokerResponse",
        "readers" | "watch_next" => "ListReadersResponse",
        "reader" => "Reader",
        "turn_next" => "WatchTurnResponse",
        "transmit" => "TransmitResponse",
        "open" => "SessionOpened",
        "session_transmit" => "SessionTransmitted",
        "session_reset" => "SessionResetDone",
        _ => return None,
    })
}

/// Returns an answer with its messages as [`contract::to_json`] writes them.
///
/// # Errors
/// If one of them is not such a message.
pub(crate) fn canonical(contract: &Contract, order: &Value, answer: &Value) -> Result<Value> {
    let fields = answer.as_object().with_context(|| format!("no answer: {answer}"))?;
    let mut told = Map::new();
    for (key, value) in fields {
        let value = match key.as_str() {
            "ok" => ok(contract, order, value)?,
            "error" => error(contract, order, value)?,
            _ => value.clone(),
        };
        told.insert(key.clone(), value);
    }
    Ok(told.into())
}

fn ok(contract: &Contract, order: &Value, value: &Value) -> Result<Value> {
    if let Some(kind) = kind(order) {
        return contract::canonical(&contract.message(kind)?, value);
    }
    let (Some(orders), Some(answers)) = (orders(order), value.get("answers").and_then(Value::as_array)) else {
        return Ok(value.clone());
    };
    let answers = orders.zip(answers).map(|(order, answer)| canonical(contract, &order, answer));
    Ok(json!({"answers": answers.collect::<Result<Vec<_>>>()?}))
}

/// The orders in a pipeline.
fn orders(order: &Value) -> Option<impl Iterator<Item = Value>> {
    let messages = order.get("messages")?.as_array()?;
    let is_reset = |message: &Value| message.get("reset").is_some();
    Some(messages.iter().map(move |message| match is_reset(message) {
        true => json!({"op": "session_reset"}),
        false => json!({"op": "session_transmit"}),
    }))
}

fn error(contract: &Contract, order: &Value, value: &Value) -> Result<Value> {
    let mut error = value.as_object().with_context(|| format!("no error: {value}"))?.clone();
    if let Some(failure) = error.get_mut("failure").filter(|failure| !failure.is_null()) {
        *failure = told(contract, failure)?;
    }
    if let (Some(kind), Some(response)) =
        (kind(order), error.get_mut("response").filter(|response| !response.is_null()))
    {
        *response = contract::canonical(&contract.message(kind)?, response)?;
        // Drivers print it as the error's own `index` and `failure`.
        if let Some(response) = response.as_object_mut() {
            response.remove("stopped");
        }
    }
    Ok(error.into())
}

/// Reads a failure. An unknown reason stays as the client names it; an unknown delivery is UNKNOWN.
fn told(contract: &Contract, failure: &Value) -> Result<Value> {
    let mut failure = failure.clone();
    let fields = failure.as_object_mut().context("the failure is not an object")?;
    let is_newer = |reason: &Value| reason.as_str().is_some_and(|name| ErrorReason::from_str_name(name).is_none());
    let newer = fields.get("reason").cloned().filter(is_newer);
    if newer.is_some() {
        fields.remove("reason");
    }
    let mut told = contract::canonical(&contract.message("Failure")?, &failure)?;
    if told.get("delivery").is_some_and(Value::is_number) {
        told["delivery"] = Delivery::Unknown.as_str_name().into();
    }
    if let Some(reason) = newer {
        told["reason"] = reason;
    }
    Ok(told)
}

/// Returns the differences between an answer and the expected one. An error may have more than expected, because a
/// client has texts of its own; a result must be complete.
pub(crate) fn differences(expected: &Value, answer: &Value, bindings: &mut Bindings) -> Vec<String> {
    let answers = |value: &Value| value.pointer("/ok/answers").and_then(Value::as_array).cloned();
    if let (Some(expected), Some(answers)) = (answers(expected), answers(answer))
        && expected.len() == answers.len()
    {
        let pairs = expected.iter().zip(&answers).enumerate();
        let found = pairs.map(|(index, (expected, answer))| {
            let found = differences(expected, answer, bindings);
            found.into_iter().map(move |difference| format!("answers[{index}]{difference}")).collect::<Vec<_>>()
        });
        return found.collect::<Vec<_>>().concat();
    }
    let rest = if expected.get("error").is_some() { Rest::Any } else { Rest::Default };
    compare::differences(expected, answer, rest, bindings)
}
