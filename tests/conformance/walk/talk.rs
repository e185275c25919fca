//! The conversations of the walk: how a message with one field comes to be sent, and where it must show.

use anyhow::{Context, Result};
use cardbroker_proto::codes;
use serde_json::{Value, json};

use crate::{
    broker::End,
    stage::{ANY_TIME, Stage},
    status,
};

/// A conversation around one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    Broker,
    ReaderRequest,
    Reader,
    Readers,
    Snapshot,
    Change,
    TurnRequest,
    Turn,
    TransmitRequest,
    Transmit,
    Status,
    OpenStatus,
    InBand,
    OpenRequest,
    Opened,
    SessionTransmitRequest,
    SessionTransmitted,
    SessionResetRequest,
    SessionResetDone,
}

const READER: &str = "readers/walk";

impl Talk {
    /// Where the message is sent, as the first part of the name of its cases.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Broker => "get_broker/response",
            Self::ReaderRequest => "reader/request",
            Self::Reader => "reader/response",
            Self::Readers => "readers/response",
            Self::Snapshot => "watch/snapshot",
            Self::Change => "watch/change",
            Self::TurnRequest => "watch_turn/request",
            Self::Turn => "watch_turn/response",
            Self::TransmitRequest => "transmit/request",
            Self::Transmit => "transmit/response",
            Self::Status => "transmit/status",
            Self::OpenStatus => "open/status",
            Self::InBand => "session_transmit/failed",
            Self::OpenRequest => "open/request",
            Self::Opened => "open/response",
            Self::SessionTransmitRequest => "session_transmit/request",
            Self::SessionTransmitted => "session_transmit/response",
            Self::SessionResetRequest => "session_reset/request",
            Self::SessionResetDone => "session_reset/response",
        }
    }

    /// Has the conversation.
    pub(super) async fn run(self, stage: &mut Stage<'_>, message: Value) -> Result<()> {
        match self {
            Self::Broker => {
                unary(stage, &json!({"op": "get_broker"}), ("GetBroker", &json!({})), &message, &message).await
            }
            Self::ReaderRequest => {
                let name = &message["name"];
                let reader = json!({"name": name});
                let order = json!({"op": "reader", "name": name});
                unary(stage, &order, ("GetReader", &message), &json!({"reader": reader}), &reader).await
            }
            Self::Reader => {
                let reader = named(message);
                let order = json!({"op": "reader", "name": READER});
                let call = json!({"name": READER});
                unary(stage, &order, ("GetReader", &call), &json!({"reader": reader}), &reader).await
            }
            Self::Readers => {
                let list = json!({"readers": [named(message)]});
                unary(stage, &json!({"op": "readers"}), ("ListReaders", &json!({})), &list, &list).await
            }
            Self::Snapshot | Self::Change => watch(stage, named(message), self == Self::Change).await,
            Self::TurnRequest => {
                let order = json!({"op": "watch_turn", "reader": message["reader"]});
                turn(stage, &order, &message, &json!({"waiting": [{"reader": READER}]})).await
            }
            Self::Turn => turn(stage, &json!({"op": "watch_turn"}), &json!({}), &message).await,
            Self::TransmitRequest => {
                let results = message["commands"].as_array().map(|commands| commands.iter().map(answer).collect());
                let response = json!({"results": Value::Array(results.unwrap_or_default())});
                let order = json!({"op": "transmit", "request": message});
                unary(stage, &order, ("Transmit", &message), &response, &response).await
            }
            Self::Transmit => {
                let response = plausible(message)?;
                let request = json!({"reader": READER, "commands": commands(&response)});
                let order = json!({"op": "transmit", "request": request});
                stage.tell(&order).await?;
                stage.receive("Transmit", &request, None).await?;
                stage.send(None, &response)?;
                stage.expect(&outcome(&response), ANY_TIME).await
            }
            Self::Status => {
                let failure = told(message)?;
                let request = json!({"reader": READER, "commands": [apdu()]});
                stage.tell(&json!({"op": "transmit", "request": request})).await?;
                stage.receive("Transmit", &request, None).await?;
                stage.fail(None, &failure)?;
                stage.expect(&failed(&failure), ANY_TIME).await
            }
            Self::OpenStatus => {
                let failure = told(message)?;
                stage.tell(&json!({"op": "open", "request": {"reader": READER}})).await?;
                stage.receive("OpenSession", &json!({"open": {"reader": READER}}), None).await?;
                stage.fail(None, &failure)?;
                stage.expect(&failed(&failure), ANY_TIME).await
            }
            Self::OpenRequest => {
                open(stage, &message, &json!({})).await?;
                close(stage).await
            }
            Self::Opened => {
                open(stage, &json!({"reader": READER}), &message).await?;
                close(stage).await
            }
            _ => {
                open(stage, &json!({"reader": READER}), &json!({})).await?;
                self.in_session(stage, message).await?;
                close(stage).await
            }
        }
    }

    async fn in_session(self, stage: &mut Stage<'_>, message: Value) -> Result<()> {
        let (name, request, key, response) = match self {
            Self::SessionTransmitRequest => {
                let results = message["commands"].as_array().map(|commands| commands.iter().map(answer).collect());
                let results = Value::Array(results.unwrap_or_default());
                ("transmit", message, "transmitted", json!({"results": results}))
            }
            Self::SessionTransmitted => {
                let response = plausible(message)?;
                ("transmit", json!({"commands": commands(&response)}), "transmitted", response)
            }
            Self::SessionResetRequest => ("reset", message, "reset_done", json!({"atr": "OwA="})),
            Self::SessionResetDone => ("reset", json!({"reset": "CARD_RESET_WARM"}), "reset_done", message),
            _ => ("transmit", json!({"commands": [apdu()]}), "failed", json!({"failure": told(message)?})),
        };
        stage.bindings.remove("$id");
        stage.tell(&json!({"op": format!("session_{name}"), "request": request})).await?;
        stage.receive("OpenSession", &json!({name: with_id(&request)}), None).await?;
        stage.send(None, &json!({key: with_id(&response)}))?;
        let expected = if key == "failed" { failed(&response["failure"]) } else { outcome(&response) };
        stage.expect(&expected, ANY_TIME).await
    }
}

async fn unary(
    stage: &mut Stage<'_>,
    order: &Value,
    (method, request): (&str, &Value),
    response: &Value,
    answer: &Value,
) -> Result<()> {
    stage.tell(order).await?;
    stage.receive(method, request, None).await?;
    stage.send(None, response)?;
    stage.expect(&json!({"ok": answer}), ANY_TIME).await
}

async fn watch(stage: &mut Stage<'_>, reader: Value, as_change: bool) -> Result<()> {
    stage.tell(&json!({"op": "watch"})).await?;
    stage.receive("WatchReaders", &json!({}), None).await?;
    let first = if as_change { json!({"name": "readers/before"}) } else { reader.clone() };
    stage.send(None, &json!({"snapshot": {"readers": [first]}, "resume_token": "1"}))?;
    stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
    stage.tell(&json!({"op": "watch_next"})).await?;
    stage.expect(&json!({"ok": {"readers": [first]}}), ANY_TIME).await?;
    if as_change {
        stage.tell(&json!({"op": "watch_next"})).await?;
        let change = json!({"updated": [reader], "removed_names": ["readers/before"]});
        stage.send(None, &json!({"change": change, "resume_token": "2"}))?;
        stage.expect(&json!({"ok": {"readers": [reader]}}), ANY_TIME).await?;
    }
    Ok(())
}

async fn turn(stage: &mut Stage<'_>, order: &Value, request: &Value, response: &Value) -> Result<()> {
    stage.tell(order).await?;
    stage.receive("WatchTurn", request, None).await?;
    stage.send(None, response)?;
    stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
    stage.tell(&json!({"op": "turn_next"})).await?;
    stage.expect(&json!({"ok": response}), ANY_TIME).await
}

async fn open(stage: &mut Stage<'_>, request: &Value, opened: &Value) -> Result<()> {
    stage.tell(&json!({"op": "open", "request": request})).await?;
    stage.receive("OpenSession", &json!({"open": request}), None).await?;
    stage.send(None, &json!({"opened": opened}))?;
    stage.expect(&json!({"ok": opened}), ANY_TIME).await
}

async fn close(stage: &mut Stage<'_>) -> Result<()> {
    stage.tell(&json!({"op": "session_close"})).await?;
    stage.receive_end("OpenSession", End::HalfClosed).await?;
    stage.end(None)?;
    stage.expect(&json!({"ok": {}}), ANY_TIME).await
}

fn apdu() -> Value {
    json!({"apdu": {"bytes": "AKQEAA=="}})
}

/// A reader has a name.
fn named(mut reader: Value) -> Value {
    if reader.get("name").is_none() {
        reader["name"] = READER.into();
    }
    reader
}

fn with_id(message: &Value) -> Value {
    let mut message = message.clone();
    message["id"] = "$id".into();
    message
}

/// What may come of a command.
fn answer(command: &Value) -> Value {
    for (action, outcome) in [("control", "control"), ("get_attribute", "attribute"), ("set_attribute", "attribute")] {
        if command.get(action).is_some() {
            return json!({outcome: {}});
        }
    }
    let outcome = if command.get("pin_pad").is_some() { "pin_pad" } else { "apdu" };
    json!({outcome: {"status_word": 0x9000}})
}

/// The commands that a response may be the answer to.
fn commands(response: &Value) -> Value {
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
fn plausible(mut response: Value) -> Result<Value> {
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
fn told(mut failure: Value) -> Result<Value> {
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
    use cardbroker_proto::v1::{Delivery, ErrorReason};
    let reason = failure["reason"].as_str().and_then(ErrorReason::from_str_name);
    let delivery = failure["delivery"].as_str().and_then(Delivery::from_str_name);
    match (reason, delivery) {
        (Some(reason), Some(delivery)) => status::code(reason as i32, delivery as i32),
        (None, Some(_)) => Ok(codes::code(ErrorReason::NoCard, Delivery::NotSent) as i32),
        (_, None) => Ok(codes::code(ErrorReason::NoCard, Delivery::Unknown) as i32),
    }
}

/// What a client tells of a failure that the broker has told. Of a delivery that it does not know it may tell the number, or UNKNOWN.
fn failed(failure: &Value) -> Value {
    json!({"error": {"kind": "failed", "failure": shown(failure), "permanent": crate::codes::is_permanent(&failure["code"])}})
}

fn shown(failure: &Value) -> Value {
    let mut failure = failure.clone();
    if failure["delivery"].is_number() {
        failure["delivery"] = "DELIVERY_UNKNOWN".into();
    }
    failure
}

/// What a client tells of a response: a result, or where it stopped.
fn outcome(response: &Value) -> Value {
    let Some(stopped) = response.get("stopped") else { return json!({"ok": response}) };
    let mut rest = response.clone();
    rest.as_object_mut().map(|rest| rest.remove("stopped"));
    let failure = &stopped["failure"];
    let permanent = crate::codes::is_permanent(&failure["code"]);
    let index = &stopped["index"];
    json!({"error": {
        "kind": "stopped", "index": index, "failure": shown(failure), "permanent": permanent, "response": rest,
    }})
}
