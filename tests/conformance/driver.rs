//! A client's driver: a process that executes orders, one JSON object a line.

use std::{
    collections::VecDeque,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::{Duration, timeout},
};

/// The number of last lines that are shown when a driver has ended.
const KEPT_LINES: usize = 20;

/// The variables of the environment that clients read; a driver gets all settings in its orders.
const VARIABLES: [&str; 3] =
    [cardbroker_proto::ENDPOINT_VARIABLE, cardbroker_proto::TOKEN_FILE_VARIABLE, cardbroker_proto::GROUP_VARIABLE];

/// The process of a driver, which is killed with it.
pub(crate) struct Driver {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    /// Reads the driver's standard error to its end. `None` once that was waited for.
    reading: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts a driver by its command line.
    pub(crate) fn start(command: &str) -> Result<Self> {
        let mut start = Command::new("sh");
        start.arg("-c").arg(format!("exec {command}")).kill_on_drop(true);
        for variable in VARIABLES {
            start.env_remove(variable);
        }
        start.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = start.spawn().with_context(|| command.to_owned())?;
        let input = process.stdin.take().context("no standard input")?;
        let output = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        let mut errors = BufReader::new(process.stderr.take().context("no standard error")?).lines();
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let kept = complaints.clone();
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > KEPT_LINES {
                    kept.pop_front();
                }
            }
        });
        Ok(Self { process, input, output, complaints, reading: Some(reading) })
    }

    /// Sends an order to the driver.
    pub(crate) async fn tell(&mut self, order: &Value) -> Result<()> {
        let written = timeout(crate::LIMIT, self.input.write_all(format!("{order}\n").as_bytes())).await;
        match written {
            Ok(Ok(())) => Ok(()),
            _ => {
                self.ended().await;
                bail!("the driver takes no more orders{}", self.complaints())
            }
        }
    }

    /// Returns the driver's next answer.
    pub(crate) async fn answer(&mut self, limit: Duration) -> Result<Value> {
        match timeout(limit, self.output.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .with_context(|| format!("the driver printed a line that is not JSON: {line}")),
            Ok(_) => {
                self.ended().await;
                bail!("the driver has ended{}", self.complaints())
            }
            Err(_) => bail!("the driver printed nothing within {:.1} s{}", limit.as_secs_f32(), self.complaints()),
        }
    }

    /// Waits, but not for long, until the driver's standard error is read.
    async fn ended(&mut self) {
        let _ = timeout(Duration::from_secs(1), self.process.wait()).await;
        if let Some(reading) = self.reading.take() {
            let _ = timeout(Duration::from_secs(1), reading).await;
        }
    }

    fn complaints(&self) -> String {
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.iter().map(|line| format!("\n  driver: {line}")).collect()
    }
}
