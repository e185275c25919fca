//! Scenarios: conversations in files.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::time::Duration;

use crate::{LIMIT, broker::End, contract::Contract, stage::Stage};

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The file's name and the scenario's: `sessions/in order`.
    pub(crate) name: String,
    /// Whether it takes long, and runs beside the others.
    pub(crate) is_slow: bool,
    steps: Vec<Value>,
}

/// The keys that a step may have.
const KEYS: [&str; 15] = [
    "driver",
    "answer",
    "answers",
    "receive",
    "send",
    "fail",
    "close",
    "lose",
    "serve",
    "listen",
    "expect_no_call",
    "wait",
    "after",
    "within",
    "on",
];

/// Reads all scenarios of a folder: a file holds one, or a list.
///
/// # Errors
/// If a file is not a scenario, or a step has an unknown key.
pub(crate) fn read(folder: &Path) -> Result<Vec<Scenario>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut scenarios = Vec::new();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file)?;
        let json: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let found = match json {
            Value::Array(found) => found,
            one => vec![one],
        };
        for one in found {
            scenarios.push(parse(&stem, &one).with_context(|| file.display().to_string())?);
        }
    }
    Ok(scenarios)
}

fn parse(stem: &str, json: &Value) -> Result<Scenario> {
    let name = json["name"].as_str().context("a scenario without \"name\"")?;
    let name = format!("{stem}/{name}");
    let steps = json["steps"].as_array().with_context(|| format!("{name} has no steps"))?.clone();
    for step in &steps {
        let keys = step.as_object().with_context(|| format!("{name}: {step}"))?.keys();
        for key in keys {
            if !KEYS.contains(&key.as_str()) {
                bail!("{name}: no step has the key \"{key}\"");
            }
        }
    }
    Ok(Scenario { name, is_slow: json["slow"] == true, steps })
}

impl Scenario {
    /// Whether an order to the driver has this operation.
    pub(crate) fn has(&self, operation: &str) -> bool {
        self.steps.iter().any(|step| step.pointer("/driver/op").is_some_and(|op| op == operation))
    }

    /// Runs the conversation with a driver of its own.
    ///
    /// # Errors
    /// The client's first deviation from the scenario.
    pub(crate) async fn run(&self, contract: &Contract, driver: &str) -> Result<()> {
        let mut stage = Stage::new(contract, driver)?;
        let starts_late = self.steps.first().is_some_and(|step| step.get("listen").is_some());
        if !starts_late {
            stage.broker.listen()?;
        }
        let connects_to =
            |name| self.steps.iter().any(|step| step.pointer("/driver/endpoint").is_some_and(|to| to == name));
        for (name, scheme, tls) in [("$tcp", "https", Some(stage.tls.clone())), ("$plain", "http", None)] {
            if connects_to(name) {
                let port = stage.broker.listen_on_tcp(tls).await?;
                stage.bindings.insert(name.to_owned(), format!("{scheme}://127.0.0.1:{port}").into());
            }
        }
        for (index, step) in self.steps.iter().enumerate() {
            run(&mut stage, step).await.with_context(|| format!("step {}", index + 1))?;
        }
        if stage.owed_answers() > 0 {
            bail!("the scenario has ended, but the driver has not answered every order");
        }
        Ok(())
    }
}

async fn run(stage: &mut Stage<'_>, step: &Value) -> Result<()> {
    let on = step.get("on").and_then(Value::as_str);
    let seconds = |key| step.get(key).and_then(Value::as_f64).map(Duration::from_secs_f64);
    let between = seconds("after").unwrap_or_default()..seconds("within").unwrap_or(LIMIT);
    if let Some(order) = step.get("driver") {
        stage.tell(order).await?;
        match step.get("wait") {
            Some(Value::Bool(false)) => {}
            Some(wait) if wait == "begun" => {
                stage.begun().await?;
            }
            _ => stage.expect(step.get("answer").unwrap_or(&json!({"ok": {}})), between).await?,
        }
    } else if let (Some(answer), Some(count)) = (step.get("answer"), step.get("answers").and_then(Value::as_u64)) {
        stage.expect_one_of(count, answer, between).await?;
    } else if let Some(answer) = step.get("answer") {
        stage.expect(answer, between).await?;
    } else if let Some(receive) = step.get("receive") {
        let method = receive["method"].as_str().context("\"receive\" without \"method\"")?;
        match receive.get("end").and_then(Value::as_str) {
            Some("half_closed") => stage.receive_end(method, End::HalfClosed).await?,
            Some("reset") => stage.receive_end(method, End::Broken).await?,
            Some(end) => bail!("\"end\" is not {end}"),
            None => {
                let message = receive.get("message").cloned().unwrap_or_else(|| json!({}));
                stage.receive(method, &message, receive.get("metadata")).await?;
            }
        }
    } else if let Some(send) = step.get("send") {
        if let Some(message) = send.get("message") {
            stage.send(on, message)?;
        }
        if send.get("end").is_some_and(|end| *end == true) {
            stage.end(on)?;
        }
    } else if let Some(fail) = step.get("fail") {
        stage.fail(on, fail)?;
    } else if step.get("close").is_some() {
        stage.broker.close().await;
    } else if let Some(lose) = step.get("lose") {
        let method = lose["method"].as_str().context("\"lose\" without \"method\"")?;
        let times = lose["times"].as_u64().and_then(|times| times.try_into().ok()).context("\"times\"")?;
        stage.lose(method, &lose["message"], times).await?;
    } else if let Some(serve) = step.get("serve") {
        for (method, response) in serve.as_object().context("\"serve\" is not an object")? {
            stage.serve(method, response)?;
        }
    } else if let Some(listen) = step.get("listen") {
        match listen {
            Value::Bool(true) => stage.broker.listen()?,
            Value::Bool(false) => stage.broker.stop_listening(false).await?,
            _ => stage.broker.stop_listening(true).await?,
        }
    } else if let Some(time) = step.get("expect_no_call").and_then(Value::as_f64) {
        stage.broker.silence(Duration::from_secs_f64(time)).await?;
    } else {
        bail!("a step without a known key: {step}");
    }
    Ok(())
}
