//! Completes messages so that a client accepts them, and derives the client's expected output.

use anyhow::{Context, Result};
use cardbroker_proto::{
    codes,
    v1::{Delivery, ErrorReason},
};
use serde_json::{Value, json};

use super::talk::READER;
use crate::{codes::is_permanent, status};

/// A minimal command with an APDU.
pub(crate) fn apdu() -> Value {
    json!({"apdu": {"bytes": "AKQEAA=="}})
}

/// Names a reader without a name.
pub(super) fn named(mut reader: Value) -> Value {
    if reader.get("name").is_none() {
        reader["name"] = READER.into();
    }
    reader
}

pub(super) fn with_id(message: &Value) -> Value {
    let mut message = message.clone();
    message["id"] = "$id".into();
    message
}

/// A possible answer to a command.
pub(super) fn answer(command: &Value) -> Value {
    for (action, outcome) in [("control", "control"), ("get_attribute", "attribute"), ("set_attribute", "attribute")] {
        if command.get(action).is_some() {
            return json!({outcome: {}});
        }
    }
    let outcome = if command.get("pin_pad").is_some() { "pin_pad" } else { "apdu" };
    json!({outcome: {"status_word": 0x9000}})
}

/// Commands that fit the results of a response.
pub(super) fn commands(response: &Value) -> Value {
    let command = |result: &Value| {
        for (outcome, command) in [
            ("control", json!({"control": {"code": 1}})),
            ("attribute", json!({"get_attribute": {"tag": 1}})),
            ("pin_pad", json!({"pin_pad": {"template": "ACAAAQ==", "operation": "PIN_PAD_OPERATION_VERIFY"}})),
        ] {
            if result.get(outcome).is_some() {
                return command;
            }
        }
        apdu()
    };
    let results = response["results"].as_array();
    let mut commands: Vec<_> = results.into_iter().flatten().map(command).collect();
    if commands.is_empty() || response.get("stopped").is_some() {
        commands.push(apdu());
    }
    commands.into()
}

/// Completes a response: each result is an answer, and a stop has an index, as many results as that, and a failure.
pub(super) fn plausible(mut response: Value) -> Result<Value> {
    if let Some(results) = response.get_mut("results").and_then(Value::as_array_mut) {
        for result in results {
            if ["apdu", "control", "attribute", "pin_pad"].iter().all(|outcome| result.get(outcome).is_none()) {
                result["apdu"] = json!({});
            }
            for outcome in ["apdu", "pin_pad"] {
                if let Some(answer) = result.get_mut(outcome)
                    && answer.get("status_word").is_none()
                {
                    answer["status_word"] = 0x9000.into();
                }
            }
        }
    }
    if let Some(stopped) = response.get_mut("stopped") {
        if stopped.get("index").is_none() {
            stopped["index"] = 1.into();
        }
        let failure = stopped.get("failure").cloned().unwrap_or_else(|| json!({}));
        stopped["failure"] = told(failure)?;
        let count = stopped["index"].as_u64().context("an index")?;
        let results = (0..count).map(|_| json!({"apdu": {"status_word": 0x9000}})).collect();
        response["results"] = Value::Array(results);
    } else if response.get("results").is_none() {
        response["results"] = json!([{"apdu": {"status_word": 0x9000}}]);
    }
    Ok(response)
}

/// Completes a failure: a reason, a delivery, and the code that follows.
pub(super) fn told(mut failure: Value) -> Result<Value> {
    if failure.get("reason").is_none() {
        failure["reason"] = "ERROR_REASON_NO_CARD".into();
    }
    if failure.get("delivery").is_none() {
        failure["delivery"] = "DELIVERY_NOT_SENT".into();
    }
    if failure.get("code").is_none() {
        failure["code"] = code(&failure)?.into();
    }
    Ok(failure)
}

fn code(failure: &Value) -> Result<i32> {
    let reason = failure["reason"].as_str().and_then(ErrorReason::from_str_name);
    let delivery = failure["delivery"].as_str().and_then(Delivery::from_str_name);
    match (reason, delivery) {
        (Some(reason), Some(delivery)) => status::code(reason as i32, delivery as i32),
        (None, Some(_)) => Ok(codes::code(ErrorReason::NoCard, Delivery::NotSent) as i32),
        (_, None) => Ok(codes::code(ErrorReason::NoCard, Delivery::Unknown) as i32),
    }
}

/// A client's output for a failure from the broker. An unknown delivery is UNKNOWN.
pub(crate) fn failed(failure: &Value) -> Value {
    let permanent = is_permanent(&failure["code"]);
    json!({"error": {
        "kind": "failed", "failure": shown(failure), "permanent": permanent, "index": null, "response": null,
    }})
}

/// The fields that a client must not invent: all but the message, which may be its own text.
const TOLD_ONLY: [&str; 9] =
    ["reason", "delivery", "code", "retry_after", "rule", "cause", "field_violations", "reader", "tries_left"];

fn shown(failure: &Value) -> Value {
    let mut failure = failure.clone();
    for field in TOLD_ONLY {
        if failure.get(field).is_none() {
            failure[field] = Value::Null;
        }
    }
    if failure["delivery"].is_number() {
        failure["delivery"] = "DELIVERY_UNKNOWN".into();
    }
    failure
}

/// A client's output for a response: a result, or the stop.
pub(super) fn outcome(response: &Value) -> Value {
    let Some(stopped) = response.get("stopped") else { return json!({"ok": response}) };
    let mut rest = response.clone();
    rest.as_object_mut().map(|rest| rest.remove("stopped"));
    let failure = &stopped["failure"];
    let permanent = is_permanent(&failure["code"]);
    let index = &stopped["index"];
    json!({"error": {
        "kind": "stopped", "index": index, "failure": shown(failure), "permanent": permanent, "response": rest,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Contract;

    #[test]
    fn invented_fields_of_a_failure_are_found() {
        let failure = Contract::load().unwrap().message("Failure").unwrap();
        let mut fields: Vec<_> = failure.fields().map(|field| field.name().to_owned()).collect();
        fields.retain(|field| field != "message");
        fields.sort();
        let mut told_only = TOLD_ONLY;
        told_only.sort_unstable();
        assert_eq!(fields, told_only);
    }
}
