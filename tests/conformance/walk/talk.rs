//! The conversations of the walk: how a message with one field is sent, and where it must appear.

use anyhow::Result;
use serde_json::{Value, json};

use super::plausible::{answer, apdu, commands, failed, named, outcome, plausible, told, with_id};
use crate::{
    broker::End,
    stage::{ANY_TIME, Stage},
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

/// The name of the reader in all conversations.
pub(super) const READER: &str = "readers/walk";

impl Talk {
    /// The name of the conversation, as the first part of the name of its cases.
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

    /// Holds the conversation with a driver.
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
    stage.begun().await?;
    stage.tell(&json!({"op": "watch_next"})).await?;
    stage.receive("WatchReaders", &json!({}), None).await?;
    let first = if as_change { json!({"name": "readers/before"}) } else { reader.clone() };
    stage.send(None, &json!({"snapshot": {"readers": [first]}, "resume_token": "1"}))?;
    stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
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
    stage.begun().await?;
    stage.tell(&json!({"op": "turn_next"})).await?;
    stage.receive("WatchTurn", request, None).await?;
    stage.send(None, response)?;
    stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
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
