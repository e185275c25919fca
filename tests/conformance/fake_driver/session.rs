//! Sessions: one message after the other, and pipelines.

use anyhow::Context;
use cardbroker_conformance::{codes, contract};
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::{
    calls::{Connection, error, in_band, outcome},
    invalid,
};

/// An open session of the driver.
pub(crate) struct Session {
    messages: Option<mpsc::UnboundedSender<DynamicMessage>>,
    answers: Streaming<DynamicMessage>,
    last_id: i64,
}

impl Connection {
    /// Executes an order within a session. Both results are answers.
    pub(crate) async fn in_session(&mut self, op: &str, order: &Value) -> Result<Value, Value> {
        match op {
            "open" => self.open(&order["request"]).await,
            "session_close" => {
                let session = self.session()?;
                session.messages = None;
                while session.next().await?.is_some() {}
                Ok(json!({"ok": {}}))
            }
            "session_pipeline" => {
                let mut ids = Vec::new();
                for message in order["messages"].as_array().into_iter().flatten() {
                    let kind = if message.get("reset").is_some() { "reset" } else { "transmit" };
                    ids.push(self.say(kind, &message[kind], &message["restart"])?);
                }
                let mut answers = Vec::new();
                for id in ids {
                    answers.push(self.session()?.hear(id).await.unwrap_or_else(|told| told));
                }
                Ok(json!({"ok": {"answers": answers}}))
            }
            "session_transmit" | "session_reset" => {
                let id = self.say(op.trim_start_matches("session_"), &order["request"], &order["restart"])?;
                self.session()?.hear(id).await
            }
            _ => Err(invalid(&anyhow::anyhow!("no such order"))),
        }
    }

    async fn open(&mut self, request: &Value) -> Result<Value, Value> {
        let (open, path, codec) =
            self.request("OpenSession", &json!({"open": request})).map_err(|error| invalid(&error))?;
        let (messages, stream) = mpsc::unbounded_channel();
        let _ = messages.send(open);
        self.grpc.ready().await.map_err(|told| error(&Status::unavailable(told.to_string())))?;
        let request = Request::new(UnboundedReceiverStream::new(stream));
        let answers = self.grpc.streaming(request, path, codec).await.map_err(|status| error(&status))?.into_inner();
        let mut session = Session { messages: Some(messages), answers, last_id: 0 };
        let opened = loop {
            let message = session.next().await?.ok_or_else(|| error(&Status::unavailable("not opened")))?;
            if let Some(opened) = message.get("opened") {
                break opened.clone();
            }
        };
        self.session = Some(session);
        Ok(json!({"ok": opened}))
    }

    fn session(&mut self) -> Result<&mut Session, Value> {
        self.session.as_mut().context("no session").map_err(|error| invalid(&error))
    }

    fn say(&mut self, kind: &str, request: &Value, restart: &Value) -> Result<i64, Value> {
        let id = self.session()?.last_id + 1;
        let mut request = request.clone();
        request["id"] = id.into();
        let message = json!({kind: request, "restart": *restart == true});
        let (message, ..) = self.request("OpenSession", &message).map_err(|error| invalid(&error))?;
        let session = self.session()?;
        session.last_id = id;
        if let Some(messages) = &session.messages {
            let _ = messages.send(message);
        }
        Ok(id)
    }
}

impl Session {
    async fn next(&mut self) -> Result<Option<Value>, Value> {
        let message = self.answers.message().await.map_err(|status| error(&status))?;
        message.map(|message| contract::to_json(&message).map_err(|error| invalid(&error))).transpose()
    }

    /// The answer to one message.
    async fn hear(&mut self, id: i64) -> Result<Value, Value> {
        while let Some(message) = self.next().await? {
            for kind in ["transmitted", "reset_done", "failed"] {
                let Some(answer) = message.get(kind) else { continue };
                if answer["id"].as_str() != Some(&id.to_string()) {
                    return Err(error(&Status::internal("answered out of order")));
                }
                let mut answer = answer.clone();
                answer.as_object_mut().map(|fields| fields.remove("id"));
                if kind != "failed" {
                    return outcome(answer);
                }
                let failure = in_band(&answer["failure"]);
                let permanent = codes::is_permanent(&failure["code"]);
                return Err(json!({"error": {"kind": "failed", "failure": failure, "permanent": permanent}}));
            }
        }
        Err(error(&Status::unavailable("the session has ended")))
    }
}
