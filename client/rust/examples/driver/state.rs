//! The driver's state between two lines, and the effect of each line.

use std::time::Duration;

use cardbroker_client::{Client, ConnectOptions, Endpoint, Error, Session, Transmit, Watch, WatchEvent, status_word};
use futures_util::{FutureExt, future::join_all};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    answer, places,
    read::{self, Mistake},
};

/// Connection, session and watches; each is `None` until a line has made it.
#[derive(Default)]
pub(crate) struct State {
    client: Option<Client>,
    session: Option<Session>,
    /// The reports of a watch that no line has fetched yet: answers in full.
    changes: Option<mpsc::UnboundedReceiver<Value>>,
    turns: Option<mpsc::UnboundedReceiver<Value>>,
}

/// Why a line has no answer that is `ok`.
enum Trouble {
    Client(Box<Error>),
    /// An error of a session's call.
    Session(Box<Error>),
    /// The line itself is malformed, or the driver lacks the state for it.
    Line(String),
    /// An error that a watch has already reported.
    Told(Value),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Client(error.into())
    }
}

impl From<Mistake> for Trouble {
    fn from(mistake: Mistake) -> Self {
        Self::Line(mistake)
    }
}

type Outcome = Result<Value, Trouble>;

impl State {
    /// Executes one line and returns its answer.
    pub(crate) async fn obey(&mut self, order: &Value) -> Value {
        told(self.outcome(order).await)
    }

    async fn outcome(&mut self, order: &Value) -> Outcome {
        match order["op"].as_str().unwrap_or_default() {
            "connect" => self.connect(order).await,
            "get_broker" => Ok(answer::broker(&self.client()?.broker().await?)),
            "readers" => Ok(answer::readers(&self.client()?.readers().await?)),
            "reader" => Ok(answer::reader(&self.client()?.reader(read::text(&order["name"])?).await?)),
            "watch" => self.watch(),
            "watch_next" => next(self.changes.as_mut()).await,
            "watch_turn" => self.watch_turn(order).await,
            "turn_next" => next(self.turns.as_mut()).await,
            "transmit" => Ok(answer::transmitted(&unit(self.client()?, order)?.send().await?)),
            "open" => self.open(order).await,
            "session_transmit" | "session_reset" => {
                let kind = order["op"].as_str().and_then(|op| op.strip_prefix("session_")).unwrap_or_default();
                message(self.session()?, kind, &order["request"], &order["restart"]).await
            }
            "session_pipeline" => self.pipeline(order).await,
            "session_close" => {
                let session = self.session.take().ok_or_else(|| Trouble::Line("no session".into()))?;
                session.close().await?;
                Ok(json!({}))
            }
            "session_drop" => {
                self.session = None;
                Ok(json!({}))
            }
            "parse_endpoint" => {
                let endpoint: Endpoint = read::text(&order["text"])?.parse().map_err(Error::from)?;
                Ok(json!({ "endpoint": endpoint.to_string() }))
            }
            "find" => Ok(places::find(order).await?),
            "meaning" => {
                let status_word = read::number(&order["status_word"])?;
                Ok(status_word::meaning(status_word).map_or(json!({}), |text| json!({ "text": text })))
            }
            other => Err(Trouble::Line(format!("no such op: {other}"))),
        }
    }

    async fn connect(&mut self, order: &Value) -> Outcome {
        let mut options = ConnectOptions::default();
        if let Some(group) = order["group"].as_str() {
            options.group = Some(group.to_owned());
        }
        if let Some(file) = order["token_file"].as_str() {
            options.token_file = Some(file.into());
        }
        if let Some(seconds) = seconds(&order["connect_timeout"])? {
            options.connect_timeout = seconds;
        }
        let endpoint = read::text(&order["endpoint"])?.parse().map_err(Error::from)?;
        *self = Self::default();
        self.client = Some(Client::connect_with(endpoint, options).await?);
        Ok(json!({}))
    }

    fn client(&self) -> Result<&Client, Trouble> {
        self.client.as_ref().ok_or_else(|| Trouble::Line("not connected".into()))
    }

    fn session(&self) -> Result<&Session, Trouble> {
        self.session.as_ref().ok_or_else(|| Trouble::Line("no session".into()))
    }

    fn watch(&mut self) -> Outcome {
        let mut watch = self.client()?.watch();
        let (tell, changes) = mpsc::unbounded_channel();
        tokio::spawn(async move { while tell.send(told(change(&mut watch).await)).is_ok() {} });
        self.changes = Some(changes);
        Ok(json!({}))
    }

    async fn watch_turn(&mut self, order: &Value) -> Outcome {
        let mut watch = self.client()?.watch_turn();
        let (tell, turns) = mpsc::unbounded_channel();
        self.turns = Some(turns);
        if !order["reader"].is_null() {
            watch = watch.at(read::text(&order["reader"])?);
            // The first call of `next` reports a name that fits no reader.
            let _ = tell.send(told(Ok(answer::waiting(&watch.next().await?))));
        }
        tokio::spawn(async move {
            loop {
                let waiting = watch.next().await;
                let failed = waiting.is_err();
                let waiting = waiting.map(|waiting| answer::waiting(&waiting)).map_err(Trouble::from);
                if tell.send(told(waiting)).is_err() || failed {
                    break;
                }
            }
        });
        Ok(json!({}))
    }

    async fn open(&mut self, order: &Value) -> Outcome {
        let request = &order["request"];
        let mut open = self.client()?.open_session(read::text(&request["reader"])?);
        read::turn!(open, &request["turn"]);
        if let Some(timeout) = read::duration(&request["idle_timeout"])? {
            open = open.idle_timeout(timeout);
        }
        if let Some(disposition) = read::disposition(&request["disposition"])? {
            open = open.disposition(disposition);
        }
        self.session = None;
        let session = open.open().await?;
        let opened = answer::opened(&session);
        self.session = Some(session);
        Ok(opened)
    }

    async fn pipeline(&self, order: &Value) -> Outcome {
        let session = self.session()?;
        let each = |each: &Value| {
            let each = each.clone();
            async move {
                let kind = if each["reset"].is_null() { "transmit" } else { "reset" };
                told(message(session, kind, &each[kind], &each["restart"]).await)
            }
        };
        let messages = order["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(json!({ "answers": join_all(messages.iter().map(each)).await }))
    }
}

fn told(outcome: Outcome) -> Value {
    match outcome {
        Ok(value) => json!({ "ok": value }),
        Err(Trouble::Client(error)) => answer::error(&error, answer::transmitted),
        Err(Trouble::Session(error)) => answer::error(&error, answer::session_transmitted),
        Err(Trouble::Line(mistake)) => answer::malformed(&mistake),
        Err(Trouble::Told(error)) => error,
    }
}

/// One message of a session, and its answer.
async fn message(session: &Session, kind: &str, request: &Value, restart: &Value) -> Outcome {
    if kind == "reset" {
        let mut reset = session.reset(read::reset(&request["reset"])?.unwrap_or_default());
        if let Some(restart) = restart.as_bool() {
            reset = reset.restart(restart);
        }
        return Ok(answer::reset_done(&reset.send().await?));
    }
    let mut transmit = session.transmit(read::commands(&request["commands"])?);
    if let Some(restart) = restart.as_bool() {
        transmit = transmit.restart(restart);
    }
    let transmitted = transmit.send().await.map_err(|error| Trouble::Session(error.into()))?;
    Ok(answer::session_transmitted(&transmitted))
}

fn unit(client: &Client, order: &Value) -> Result<Transmit, Mistake> {
    let request = &order["request"];
    let mut unit = client.transmit(read::text(&request["reader"])?).commands(read::commands(&request["commands"])?);
    read::turn!(unit, &request["turn"]);
    if let Some(disposition) = read::disposition(&request["disposition"])? {
        unit = unit.disposition(disposition);
    }
    if let Some(id) = read::bytes(&request["request_id"])? {
        unit = unit.request_id(id);
    }
    if let Some(deadline) = seconds(&order["deadline"])? {
        unit = unit.deadline(deadline);
    }
    if order["repeat"] == true {
        unit = unit.repeatable();
    }
    if order["any_card"] == true {
        unit = unit.on_any_card();
    }
    Ok(unit)
}

/// All readers after the next change: one message's changes are reported together. The client follows the broker
/// through losses of the connection.
async fn change(watch: &mut Watch) -> Outcome {
    loop {
        let mut event = Some(watch.next().await);
        let mut has_changed = false;
        while let Some(told) = event {
            match told {
                WatchEvent::Disconnected(error) if error.is_permanent() => return Err(error.into()),
                WatchEvent::Disconnected(_) => {}
                _ => has_changed = true,
            }
            event = watch.next().now_or_never();
        }
        if has_changed {
            return Ok(answer::readers(watch.readers().values()));
        }
    }
}

async fn next(told: Option<&mut mpsc::UnboundedReceiver<Value>>) -> Outcome {
    let told = told.ok_or_else(|| Trouble::Line("no watch".into()))?;
    let mut answer = told.recv().await.ok_or_else(|| Trouble::Line("the watch has ended".into()))?;
    match answer["ok"].take() {
        Value::Null => Err(Trouble::Told(json!({ "error": answer["error"] }))),
        value => Ok(value),
    }
}

fn seconds(value: &Value) -> Result<Option<Duration>, Mistake> {
    match value.as_f64() {
        Some(seconds) => Duration::try_from_secs_f64(seconds).map(Some).map_err(|error| error.to_string()),
        None => Ok(None),
    }
}
