//! Calls with one response and watches, and the conversion of statuses.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cardbroker_conformance::{
    codes,
    contract::{self, Contract},
};
use cardbroker_proto::v1::StatusDetails;
use hyper_util::rt::TokioIo;
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use crate::{codec::AnyMessage, invalid, session::Session};

/// A connection to the broker.
pub(crate) struct Connection {
    pub(crate) contract: Contract,
    pub(crate) grpc: Grpc<Channel>,
    pub(crate) session: Option<Session>,
    watch: Option<Streaming<DynamicMessage>>,
    /// The readers of the watch, after its last message.
    readers: Vec<Value>,
}

/// Connects to the Unix socket of an order.
pub(crate) async fn connect(contract: Contract, order: &Value) -> Result<Connection> {
    let path =
        order["endpoint"].as_str().and_then(|endpoint| endpoint.strip_prefix("unix:")).context("no Unix socket")?;
    let path = PathBuf::from(path);
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
    Ok(Connection { contract, grpc: Grpc::new(channel), session: None, watch: None, readers: Vec::new() })
}

impl Connection {
    /// Executes an order. Both results are answers.
    pub(crate) async fn call(&mut self, op: &str, order: &Value) -> Result<Value, Value> {
        match op {
            "get_broker" => self.unary("GetBroker", &json!({})).await.map(|ok| json!({"ok": ok})),
            "readers" => self.unary("ListReaders", &json!({})).await.map(|ok| json!({"ok": ok})),
            "reader" => {
                let response = self.unary("GetReader", &json!({"name": order["name"]})).await?;
                Ok(json!({"ok": response["reader"]}))
            }
            "transmit" => outcome(self.unary("Transmit", &order["request"]).await?),
            "watch" => self.follow("WatchReaders", &json!({})).await,
            "watch_turn" => {
                let reader = order.get("reader").filter(|reader| !reader.is_null());
                let request = reader.map_or_else(|| json!({}), |reader| json!({"reader": reader}));
                self.follow("WatchTurn", &request).await
            }
            "watch_next" => self.changed().await.map_err(|status| error(&status)),
            "turn_next" => loop {
                let message = self.followed().await.map_err(|status| error(&status))?;
                if message["is_heartbeat"] != true {
                    return Ok(json!({"ok": message}));
                }
            },
            _ => Err(invalid(&anyhow::anyhow!("no such order"))),
        }
    }

    async fn unary(&mut self, method: &str, request: &Value) -> Result<Value, Value> {
        let (request, path, codec) = self.request(method, request).map_err(|error| invalid(&error))?;
        self.grpc.ready().await.map_err(|told| error(&Status::unavailable(told.to_string())))?;
        let response = self.grpc.unary(Request::new(request), path, codec).await.map_err(|status| error(&status))?;
        contract::to_json(response.get_ref()).map_err(|error| invalid(&error))
    }

    async fn follow(&mut self, method: &str, request: &Value) -> Result<Value, Value> {
        let (request, path, codec) = self.request(method, request).map_err(|error| invalid(&error))?;
        self.grpc.ready().await.map_err(|told| error(&Status::unavailable(told.to_string())))?;
        let response = self.grpc.server_streaming(Request::new(request), path, codec).await;
        self.watch = Some(response.map_err(|status| error(&status))?.into_inner());
        Ok(json!({"ok": {}}))
    }

    async fn followed(&mut self) -> Result<Value, Status> {
        let watch = self.watch.as_mut().ok_or_else(|| Status::internal("no watch"))?;
        let message = watch.message().await?.ok_or_else(|| Status::unavailable("the watch has ended"))?;
        contract::to_json(&message).map_err(|error| Status::internal(error.to_string()))
    }

    async fn changed(&mut self) -> Result<Value, Status> {
        loop {
            let message = self.followed().await?;
            if let Some(snapshot) = message.get("snapshot") {
                self.readers = snapshot["readers"].as_array().cloned().unwrap_or_default();
            } else if let Some(change) = message.get("change") {
                let updated = change["updated"].as_array().cloned().unwrap_or_default();
                let removed = change["removed_names"].as_array().cloned().unwrap_or_default();
                let is_gone = |reader: &Value| {
                    removed.contains(&reader["name"]) || updated.iter().any(|new| new["name"] == reader["name"])
                };
                self.readers.retain(|reader| !is_gone(reader));
                self.readers.extend(updated);
                self.readers.sort_by_key(|reader| reader["name"].to_string());
            } else {
                continue;
            }
            return Ok(json!({"ok": {"readers": self.readers}}));
        }
    }

    /// The request, path and codec of a method.
    pub(crate) fn request(&self, method: &str, request: &Value) -> Result<(DynamicMessage, PathAndQuery, AnyMessage)> {
        let method = self.contract.method(method)?;
        let request = contract::from_json(&method.input(), request)?;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        Ok((request, path.parse()?, AnyMessage(method.output())))
    }
}

/// The answer for a response: a result, or the stop.
pub(crate) fn outcome(mut response: Value) -> Result<Value, Value> {
    let stopped = response.as_object_mut().and_then(|fields| fields.remove("stopped"));
    let Some(stopped) = stopped else { return Ok(json!({"ok": response})) };
    let failure = in_band(&stopped["failure"]);
    let permanent = codes::is_permanent(&failure["code"]);
    Err(json!({"error": {
        "kind": "stopped", "failure": failure, "permanent": permanent, "index": stopped["index"], "response": response,
    }}))
}

/// A failure in band: without a code of its own, there is no status to take it from.
pub(crate) fn in_band(failure: &Value) -> Value {
    let mut failure = failure.clone();
    if failure["code"].is_null() {
        failure["code"] = (Code::Unknown as i32).into();
    }
    failure
}

/// The answer for a status.
pub(crate) fn error(status: &Status) -> Value {
    let failure = failure(status).unwrap_or_else(
        || json!({"delivery": "DELIVERY_UNKNOWN", "code": status.code() as i32, "message": status.message()}),
    );
    let permanent = codes::is_permanent(&failure["code"]);
    json!({"error": {"kind": "failed", "failure": failure, "permanent": permanent}})
}

fn failure(status: &Status) -> Option<Value> {
    let details = StatusDetails::decode(status.details()).ok()?;
    let failure = details.details.into_iter().find(|detail| detail.type_url.ends_with("/cardbroker.v1.Failure"))?;
    let kind = Contract::load().ok()?.message("Failure").ok()?;
    contract::to_json(&contract::decode(&kind, &failure.value).ok()?).ok()
}
