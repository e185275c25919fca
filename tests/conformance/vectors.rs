//! Cases in tables: endpoints, default places, names of readers, status words, codes, and invalid requests.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    contract,
    stage::{ANY_TIME, Stage},
    walk::plausible::{apdu, failed},
};

/// One row of a table, and its check.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    /// The name of the case: `endpoints/unix:/run/a.sock`
    pub(crate) name: String,
    kind: Kind,
    row: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Endpoint,
    Place,
    StatusWord,
    Code,
    Invalid,
    Transmit,
    Open,
    Reader,
    Turn,
}

/// The time after which a refused request would have arrived.
const A_MOMENT: Duration = Duration::from_millis(50);

const BY_NAME: [(Kind, &str); 4] =
    [(Kind::Transmit, "transmit"), (Kind::Open, "open"), (Kind::Reader, "reader"), (Kind::Turn, "watch_turn")];

/// Reads the tables of the kit.
///
/// # Errors
/// If one of them cannot be read.
pub(crate) fn read(kit: &Path) -> Result<Vec<Vector>> {
    let mut vectors = Vec::new();
    for row in rows(&kit.join("endpoints.json"))? {
        let name = format!("endpoints/{}", text(&row["text"]));
        vectors.push(Vector { name, kind: Kind::Endpoint, row });
    }
    for row in rows(&kit.join("places.json"))? {
        let name = format!("places/{}", text(&row["name"]));
        vectors.push(Vector { name, kind: Kind::Place, row });
    }
    for row in rows(&kit.join("readers.json"))? {
        for (kind, op) in BY_NAME {
            let name =
                format!("readers/{} of {}/{op}", text(&row["given"]), row["readers"].as_array().map_or(0, Vec::len));
            vectors.push(Vector { name, kind, row: row.clone() });
        }
    }
    for row in rows(&kit.join("status_words.json"))? {
        vectors.push(Vector { name: format!("status_words/{}", row["status_word"]), kind: Kind::StatusWord, row });
    }
    for row in rows(&kit.join("codes.json"))? {
        let [reason, delivery] = [("reason", "ERROR_REASON_"), ("delivery", "DELIVERY_")]
            .map(|(key, prefix)| text(&row[key]).replace(prefix, ""));
        vectors.push(Vector { name: format!("codes/{reason} {delivery}"), kind: Kind::Code, row });
    }
    for row in rows(&kit.join("invalid.json"))? {
        let name = format!("invalid/{}", text(&row["name"]));
        vectors.push(Vector { name, kind: Kind::Invalid, row });
    }
    Ok(vectors)
}

fn rows(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// A client's error for a request that it refuses itself.
fn invalid(field: &str) -> Value {
    json!({"error": {"kind": "invalid", "permanent": true, "failure": {
        "reason": "ERROR_REASON_INVALID_REQUEST",
        "delivery": "DELIVERY_NOT_SENT",
        "code": 3,
        "field_violations": [{"field": field, "description": "?"}],
    }}})
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Vector {
    /// Whether the order to the driver has this operation, of those that a client may lack.
    pub(crate) fn has(&self, operation: &str) -> bool {
        match self.kind {
            Kind::Endpoint => operation == "parse_endpoint",
            Kind::Place => operation == "find",
            _ => false,
        }
    }

    /// Runs the row's check with a connected driver.
    ///
    /// # Errors
    /// The client's deviation from the row.
    pub(crate) async fn run(&self, stage: &mut Stage<'_>) -> Result<()> {
        let row = &self.row;
        match self.kind {
            Kind::Endpoint => {
                stage.tell(&json!({"op": "parse_endpoint", "text": row["text"]})).await?;
                let refused = json!({"error": {"kind": "invalid"}});
                let read = |endpoint: &Value| json!({"ok": {"endpoint": endpoint}});
                stage.expect(&row.get("endpoint").map_or(refused, read), ANY_TIME).await
            }
            Kind::Place => {
                let [uid, environment, found] = ["uid", "environment", "found"].map(|key| &row[key]);
                stage.tell(&json!({"op": "find", "uid": uid, "environment": environment, "found": found})).await?;
                let mut expected = json!({"tried": row["tried"]});
                if let Some(endpoint) = row.get("endpoint") {
                    expected["endpoint"] = endpoint.clone();
                }
                stage.expect(&json!({"ok": expected}), ANY_TIME).await
            }
            Kind::StatusWord => {
                stage.tell(&json!({"op": "meaning", "status_word": row["status_word"]})).await?;
                let text = row.get("text").filter(|text| !text.is_null());
                let expected = text.map_or_else(|| json!({}), |text| json!({"text": text}));
                stage.expect(&json!({"ok": expected}), ANY_TIME).await
            }
            Kind::Code => self.status(stage).await,
            Kind::Invalid => self.refused(stage).await,
            _ => self.call(stage).await,
        }
    }

    /// A status of one reason and delivery: the client reports all of it, and nothing else.
    async fn status(&self, stage: &mut Stage<'_>) -> Result<()> {
        let mut failure = json!({});
        for key in ["reason", "delivery", "code", "retry_after"] {
            if !self.row[key].is_null() {
                failure[key] = self.row[key].clone();
            }
        }
        let failure = contract::canonical(&stage.contract.message("Failure")?, &failure)?;
        let mut expected = failed(&failure);
        expected["error"]["permanent"] = self.row["permanent"].clone();
        let request = json!({"reader": "readers/a", "commands": [apdu()]});
        stage.tell(&json!({"op": "transmit", "request": request})).await?;
        stage.receive("Transmit", &request, None).await?;
        stage.fail(None, &failure)?;
        stage.expect(&expected, ANY_TIME).await
    }

    /// A request that the client refuses, or, where the row allows it, leaves to the broker to refuse.
    async fn refused(&self, stage: &mut Stage<'_>) -> Result<()> {
        let row = &self.row;
        let in_session = text(&row["order"]["op"]).starts_with("session_");
        if in_session {
            stage.tell(&json!({"op": "open", "request": {"reader": "readers/a"}})).await?;
            stage.receive("OpenSession", &json!({"open": {"reader": "readers/a"}}), None).await?;
            stage.send(None, &json!({"opened": {}}))?;
            stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
        }
        stage.tell(&row["order"]).await?;
        let mut expected = invalid(text(&row["field"]));
        if row["may_be_sent"] == true && !stage.begun().await? {
            stage.take("Transmit").await?;
            let failure = &expected["error"]["failure"];
            stage.fail(
                None,
                &json!({
                    "reason": failure["reason"], "delivery": failure["delivery"],
                    "field_violations": [{"field": row["field"], "description": "broken"}],
                }),
            )?;
            expected["error"]["kind"] = "failed".into();
        }
        stage.expect(&expected, ANY_TIME).await?;
        stage.broker.silence(A_MOMENT).await?;
        if in_session {
            stage.tell(&json!({"op": "session_close"})).await?;
            stage.receive_end("OpenSession", crate::broker::End::HalfClosed).await?;
            stage.end(None)?;
            stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
        } else if row["order"]["op"] == "connect" {
            stage.connect().await?;
        }
        Ok(())
    }

    async fn call(&self, stage: &mut Stage<'_>) -> Result<()> {
        let (given, sent) = (&self.row["given"], self.row.get("sends"));
        let commands = json!([{"apdu": {"bytes": "AKQEAA=="}}]);
        let answered = json!({"results": [{"apdu": {"status_word": 0x9000}}]});
        let reader = json!({"name": sent});
        let (order, method, message, response, told) = match self.kind {
            Kind::Open => (
                json!({"op": "open", "request": {"reader": given}}),
                "OpenSession",
                json!({"open": {"reader": sent}}),
                json!({"opened": {}}),
                json!({}),
            ),
            Kind::Reader => (
                json!({"op": "reader", "name": given}),
                "GetReader",
                json!({"name": sent}),
                json!({"reader": reader}),
                reader,
            ),
            Kind::Turn => (
                json!({"op": "watch_turn", "reader": given}),
                "WatchTurn",
                json!({"reader": sent}),
                json!({"waiting": []}),
                json!({}),
            ),
            _ => (
                json!({"op": "transmit", "request": {"reader": given, "commands": commands}}),
                "Transmit",
                json!({"reader": sent, "commands": commands}),
                answered.clone(),
                answered,
            ),
        };
        stage.tell(&order).await?;
        let is_turn = self.kind == Kind::Turn;
        // A watch looks its reader up at once, or at the order for the next report.
        if is_turn && (stage.begun().await? || sent.is_some()) {
            stage.tell(&json!({"op": "turn_next"})).await?;
        }
        if self.row["is_looked_up"] == true {
            stage.receive("ListReaders", &json!({}), None).await?;
            stage.send(None, &json!({"readers": self.row["readers"]}))?;
        }
        if sent.is_none() {
            if stage.owed_answers() > 1 {
                stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
            }
            stage.expect(&invalid("reader"), ANY_TIME).await?;
            let told = stage.last.pointer("/error/failure/message").map(text).unwrap_or_default();
            let names = self.row["lists"].as_array().into_iter().flatten().map(text);
            let missing: Vec<_> = names.filter(|name| !told.contains(name)).collect();
            return if missing.is_empty() { Ok(()) } else { bail!("the message lacks {missing:?}: {}", stage.last) };
        }
        stage.receive(method, &message, None).await?;
        stage.send(None, &response)?;
        stage.expect(&json!({"ok": told}), ANY_TIME).await?;
        if is_turn {
            stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
        }
        if self.kind == Kind::Open {
            stage.tell(&json!({"op": "session_close"})).await?;
            stage.receive_end("OpenSession", crate::broker::End::HalfClosed).await?;
            stage.end(None)?;
            stage.expect(&json!({"ok": {}}), ANY_TIME).await?;
        }
        Ok(())
    }
}
