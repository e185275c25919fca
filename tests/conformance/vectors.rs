//! Cases that stand in tables: endpoints, names of readers, status words.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::stage::{ANY_TIME, Stage};

/// One row of a table, and what is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    /// `endpoints/unix:/run/a.sock`
    pub(crate) name: String,
    kind: Kind,
    row: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Endpoint,
    StatusWord,
    Transmit,
    Open,
    Reader,
    Turn,
}

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
    for row in rows(&kit.join("readers.json"))? {
        for (kind, op) in BY_NAME {
            let name =
                format!("readers/{} of {}/{op}", text(&row["given"]), row["readers"].as_array().map_or(0, Vec::len));
            vectors.push(Vector { name, kind, row: row.clone() });
        }
    }
    let words = kit.join("status_words.json");
    for row in if words.exists() { rows(&words)? } else { Vec::new() } {
        vectors.push(Vector { name: format!("status_words/{}", row["status_word"]), kind: Kind::StatusWord, row });
    }
    Ok(vectors)
}

fn rows(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Vector {
    /// Does what the row says with a driver that is connected.
    ///
    /// # Errors
    /// What the client did otherwise.
    pub(crate) async fn run(&self, stage: &mut Stage<'_>) -> Result<()> {
        let row = &self.row;
        match self.kind {
            Kind::Endpoint => {
                stage.tell(&json!({"op": "parse_endpoint", "text": row["text"]})).await?;
                let refused = json!({"error": {"kind": "invalid"}});
                let read = |endpoint: &Value| json!({"ok": {"endpoint": endpoint}});
                stage.expect(&row.get("endpoint").map_or(refused, read), ANY_TIME).await
            }
            Kind::StatusWord => {
                stage.tell(&json!({"op": "meaning", "status_word": row["status_word"]})).await?;
                let text = row.get("text").filter(|text| !text.is_null());
                let expected = text.map_or_else(|| json!({}), |text| json!({"text": text}));
                stage.expect(&json!({"ok": expected}), ANY_TIME).await
            }
            _ => self.call(stage).await,
        }
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
        // A watch looks its reader up at once, or when it is asked for news.
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
            stage.expect(&json!({"error": {"kind": "invalid"}}), ANY_TIME).await?;
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
