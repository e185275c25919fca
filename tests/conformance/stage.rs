//! One conversation: the kit's broker, a driver, and the messages of both.

use std::{collections::VecDeque, fs, ops::Range, os::unix::fs::PermissionsExt};

use anyhow::{Context, Result, bail};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

use crate::{
    LIMIT, answers,
    broker::{Broker, End},
    compare::{Bindings, Rest, differences},
    contract::{self, Contract},
    driver::Driver,
    status, tls,
};

/// The token in the file `$token_file`.
const TOKEN: &str = "conformance-token-0123456789abcdef0123456789abcdef";

/// No condition besides the limit of every wait.
pub(crate) const ANY_TIME: Range<Duration> = Duration::ZERO..LIMIT;

/// The kit's broker and a driver.
pub(crate) struct Stage<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) broker: Broker,
    /// The broker's side of TLS on its TCP port.
    pub(crate) tls: TlsAcceptor,
    driver: Driver,
    pub(crate) bindings: Bindings,
    /// The orders without an answer, with their times.
    asked: VecDeque<(Value, Instant)>,
    /// An answer that arrived during a wait for messages of the client.
    early: Option<Value>,
    /// The call of the message received last.
    heard: Option<usize>,
    /// The driver's last answer, as it was printed.
    pub(crate) last: Value,
    _folder: TempDir,
}

impl<'a> Stage<'a> {
    /// Starts the driver. The broker does not listen yet.
    pub(crate) fn new(contract: &'a Contract, driver: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("broker.sock");
        let (tls, certificate) = tls::identity()?;
        let token_file = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok::<_, std::io::Error>(path.display().to_string())
        };
        let named = [
            ("$endpoint", format!("unix:{}", socket.display())),
            ("$token_file", token_file("token", format!("{TOKEN}\n{certificate}"))?),
            ("$foreign_token_file", token_file("foreign", format!("{TOKEN}\n{}", tls::identity()?.1))?),
            ("$plain_token_file", token_file("plain", format!("{TOKEN}\n"))?),
            ("$bearer", format!("Bearer {TOKEN}")),
        ];
        let bindings = named.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        let driver = Driver::start(driver)?;
        let broker = Broker::new(socket);
        Ok(Self {
            contract,
            broker,
            tls,
            driver,
            bindings,
            asked: VecDeque::new(),
            early: None,
            heard: None,
            last: Value::Null,
            _folder: folder,
        })
    }

    /// Sends an order to the driver, and does not wait.
    pub(crate) async fn tell(&mut self, order: &Value) -> Result<()> {
        let order = self.filled(order)?;
        self.driver.tell(&order).await?;
        self.asked.push_back((order, Instant::now()));
        Ok(())
    }

    /// Has the driver connect to this broker, which listens.
    pub(crate) async fn connect(&mut self) -> Result<()> {
        self.tell(&json!({"op": "connect", "endpoint": "$endpoint"})).await?;
        self.expect(&json!({"ok": {}}), ANY_TIME).await
    }

    /// Checks the next answer of the driver, which must come within these times counted from its order.
    pub(crate) async fn expect(&mut self, expected: &Value, between: Range<Duration>) -> Result<()> {
        let (order, since) = self.asked.pop_front().context("the driver has nothing to answer")?;
        let left = between.end.saturating_sub(since.elapsed()).max(Duration::from_millis(100));
        let answer = match self.early.take() {
            Some(answer) => answer,
            None => self.driver.answer(left).await.with_context(|| format!("the answer to {order}"))?,
        };
        if since.elapsed() < between.start {
            bail!("the answer to {order} came before {} s had passed: {answer}", between.start.as_secs_f32());
        }
        self.last = answer.clone();
        let told = answers::canonical(self.contract, &order, &answer)?;
        // Errors, and expectations with wildcards or names, are compared as they are.
        let expected = match expected.get("ok").and_then(|ok| ok.get("answers")).or(expected.get("error")) {
            Some(_) => expected.clone(),
            None => answers::canonical(self.contract, &order, expected).unwrap_or_else(|_| expected.clone()),
        };
        let found = answers::differences(&expected, &told, &mut self.bindings);
        if found.is_empty() {
            return Ok(());
        }
        bail!("the answer to {order}\n  {}\n  expected: {expected}\n  answer:   {answer}", found.join("\n  "))
    }

    /// Checks that one of the next answers of the driver is as expected.
    pub(crate) async fn expect_one_of(&mut self, count: u64, expected: &Value, between: Range<Duration>) -> Result<()> {
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(self.expect(expected, between.clone()).await);
        }
        match found.iter().any(Result::is_ok) {
            true => Ok(()),
            false => found.into_iter().collect(),
        }
    }

    /// Takes the next message of the client, which must be of this method, with any content.
    pub(crate) async fn take(&mut self, method: &str) -> Result<()> {
        let message = self.broker.message().await?;
        let called = self.broker.call(message.call, |call| call.method.clone())?;
        if called != method {
            bail!("{method} expected, the client called {called}");
        }
        self.heard = Some(message.call);
        Ok(())
    }

    /// Checks the next message of the client.
    pub(crate) async fn receive(&mut self, method: &str, expected: &Value, metadata: Option<&Value>) -> Result<()> {
        let message = match self.broker.message().await {
            Ok(message) => message,
            Err(error) => bail!("{method} expected: {error}{}", self.last_words().await),
        };
        let called = self.broker.call(message.call, |call| call.method.clone())?;
        let kind = self.contract.method(&called)?.input();
        let received = contract::to_json(&contract::decode(&kind, &message.body)?)?;
        if called != method {
            bail!("{method} expected, the client called {called}: {received}");
        }
        self.heard = Some(message.call);
        let expected = contract::canonical(&kind, expected).unwrap_or_else(|_| expected.clone());
        let mut found = differences(&expected, &received, Rest::Default, &mut self.bindings);
        for (name, value) in metadata.and_then(Value::as_object).into_iter().flatten() {
            let sent = |call: &mut crate::broker::Call| {
                call.metadata.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let sent = self.broker.call(message.call, sent)?.map_or(Value::Null, Value::from);
            let differing = differences(value, &sent, Rest::Default, &mut self.bindings);
            found.extend(differing.into_iter().map(|difference| format!("metadata {name}{difference}")));
        }
        if found.is_empty() {
            return Ok(());
        }
        bail!("{method}\n  {}\n  expected: {expected}\n  received: {received}", found.join("\n  "))
    }

    /// Waits until the driver has answered, or the client has called: some clients call only at the order for the next
    /// report. Returns whether the driver has answered.
    pub(crate) async fn begun(&mut self) -> Result<bool> {
        tokio::select! {
            answer = self.driver.answer(LIMIT) => self.early = Some(answer?),
            message = self.broker.message() => self.broker.unread(message?),
        }
        Ok(self.early.is_some())
    }

    /// Closes the connection at each call of a method until the driver answers, which must be after so many calls.
    pub(crate) async fn lose(&mut self, method: &str, expected: &Value, times: usize) -> Result<()> {
        for lost in 0..=times {
            tokio::select! {
                biased;
                answer = self.driver.answer(LIMIT) => {
                    self.early = Some(answer?);
                    if lost < times {
                        bail!("{method} was called {lost} times, {times} expected");
                    }
                    return Ok(());
                }
                message = self.broker.message() => self.broker.unread(message?),
            }
            self.receive(method, expected, None).await?;
            self.broker.close().await;
        }
        bail!("{method} was called more than {times} times")
    }

    /// Checks how the client ends its half of the latest call of a method.
    pub(crate) async fn receive_end(&mut self, method: &str, expected: End) -> Result<()> {
        let call = self.broker.latest(Some(method)).with_context(|| format!("no call of {method}"))?;
        self.heard = Some(call);
        match self.broker.end(call).await? {
            end if end == expected => Ok(()),
            end => bail!("{method}: {expected:?} expected, got {end:?}"),
        }
    }

    /// Sends a message on the call received last, or on the latest one of a method. A call with one response ends with
    /// it.
    pub(crate) fn send(&mut self, on: Option<&str>, message: &Value) -> Result<()> {
        let call = self.speaker(on)?;
        let method = self.contract.method(&self.broker.call(call, |call| call.method.clone())?)?;
        let message = match message.get("bytes").and_then(Value::as_str) {
            Some(text) => base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text)?,
            None => contract::from_json(&method.output(), &self.filled(message)?)?.encode_to_vec(),
        };
        self.broker.send(call, &message)?;
        if method.is_server_streaming() { Ok(()) } else { self.end(on) }
    }

    /// From now on, answers each call of a method with one response by this message.
    pub(crate) fn serve(&self, method: &str, response: &Value) -> Result<()> {
        let kind = self.contract.method(method)?;
        if kind.is_server_streaming() {
            bail!("{method} has more than one response");
        }
        let response = contract::from_json(&kind.output(), response)?.encode_to_vec();
        self.broker.serve(method, response);
        Ok(())
    }

    /// Ends the call received last with OK.
    pub(crate) fn end(&mut self, on: Option<&str>) -> Result<()> {
        self.broker.finish(self.speaker(on)?, status::Ending::ok())
    }

    /// Ends the call received last with a status.
    pub(crate) fn fail(&mut self, on: Option<&str>, fail: &Value) -> Result<()> {
        self.broker.finish(self.speaker(on)?, status::ending(self.contract, fail)?)
    }

    /// The number of orders without an answer.
    pub(crate) fn owed_answers(&self) -> usize {
        self.asked.len()
    }

    fn speaker(&self, on: Option<&str>) -> Result<usize> {
        let call = if on.is_some() { self.broker.latest(on) } else { self.heard };
        call.context("there is no open call")
    }

    /// The driver's unexpected answer, to show with a failure.
    async fn last_words(&mut self) -> String {
        match self.driver.answer(Duration::from_millis(100)).await {
            Ok(answer) => format!("; the driver printed {answer}"),
            Err(_) => String::new(),
        }
    }

    /// Replaces names by their bound values.
    fn filled(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(name) if name.starts_with('$') => {
                self.bindings.get(name).with_context(|| format!("{name} is not bound yet"))?.clone()
            }
            Value::Array(values) => values.iter().map(|value| self.filled(value)).collect::<Result<_>>()?,
            Value::Object(fields) => {
                let filled = fields.iter().map(|(key, value)| Ok((key.clone(), self.filled(value)?)));
                Value::Object(filled.collect::<Result<_>>()?)
            }
            _ => value.clone(),
        })
    }
}
