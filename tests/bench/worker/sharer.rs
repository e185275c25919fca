//! Shares the card by the broker, as one user: runs units one after the other, and reports the time of each, its time
//! on the card, and whether the card was reset for it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cardbroker_client::{ApduBytes, Client, ErrorReason, Transmitted, hex};
use cardbroker_tests::harness::{programs::Program, users::become_user};
use serde_json::json;
use tokio::time::sleep;

use crate::samples::nanoseconds;

/// The pause after a refusal because the queue is full.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The broker's name of the reader.
    reader: String,
    /// The commands of a unit, in hex.
    apdus: Vec<String>,
    /// Become this user first, by uid.
    #[arg(long)]
    uid: Option<u32>,
    /// The average pause between units, in ms. Each pause is a random one, up to a fifth longer or shorter.
    #[arg(long, default_value_t = 0)]
    pause: u64,
}

/// One process's part of the card.
#[derive(Default)]
pub(crate) struct Share {
    pub(crate) units: Vec<Unit>,
    /// How often the queue was full.
    pub(crate) refused: u64,
}

/// One unit; times in ns.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    /// From the first request to the answer.
    pub(crate) time: i64,
    /// From the beginning of the turn, with its reset, to the last answer of the card.
    pub(crate) on_card: i64,
    /// The card's time for the commands alone, without a reset.
    pub(crate) on_commands: i64,
    /// Whether the card was reset for this unit.
    pub(crate) was_reset: bool,
    /// The end of the unit, since the beginning of the run.
    end: i64,
}

impl Share {
    /// Reads the answer of a process to its order.
    pub(crate) fn of(program: &mut Program) -> anyhow::Result<Self> {
        type Times = ([i64; 4], bool);
        let (units, refused): (Vec<Times>, u64) = serde_json::from_str(&program.line()?)?;
        let unit = |(times, was_reset): Times| {
            let [time, on_card, on_commands, end] = times;
            Unit { time, on_card, on_commands, was_reset, end }
        };
        Ok(Self { units: units.into_iter().map(unit).collect(), refused })
    }

    /// The units that ended within `ms` of the run.
    pub(crate) fn within(&self, ms: u64) -> impl Iterator<Item = &Unit> {
        let end = ms as i64 * 1_000_000;
        self.units.iter().filter(move |unit| unit.end <= end)
    }

    /// The time on the card within `ms` of the run, in ns.
    pub(crate) fn card_time(&self, ms: u64) -> f64 {
        self.within(ms).map(|unit| unit.on_card as f64).sum()
    }

    /// The card's time for the commands alone within `ms` of the run, in ns.
    pub(crate) fn command_time(&self, ms: u64) -> f64 {
        self.within(ms).map(|unit| unit.on_commands as f64).sum()
    }
}

/// Prints "ready", and then, for each line "for N" (ms), the share of that time as one line of JSON.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    arguments.uid.map_or(Ok(()), |uid| become_user(uid, uid))?;
    super::on_a_runtime(share(arguments))
}

async fn share(Arguments { reader, apdus, pause, .. }: Arguments) -> anyhow::Result<()> {
    let apdus: Vec<ApduBytes> = apdus.iter().map(|apdu| hex::parse(apdu)).collect::<Result<_, _>>()?;
    let (client, mut refused) = (Client::connect_default().await?, 0);
    unit(&client, &reader, &apdus, &mut refused).await?;
    super::tell("ready")?;
    while let Some(order) = super::order()? {
        let ms = order.strip_prefix("for ").context("no order")?.parse()?;
        let (start, mut units) = (Instant::now(), Vec::new());
        refused = 0;
        while start.elapsed() < Duration::from_millis(ms) {
            let began = Instant::now();
            let done = unit(&client, &reader, &apdus, &mut refused).await?;
            let on_commands = done.results.iter().map(|result| result.card_duration).sum();
            let times = [began.elapsed(), done.card_duration, on_commands, start.elapsed()].map(nanoseconds);
            units.push((times, done.was_reset));
            if pause > 0 {
                sleep(Duration::from_millis(fastrand::u64(pause * 4 / 5..=pause * 6 / 5))).await;
            }
        }
        super::tell(&json!((units, refused)).to_string())?;
    }
    Ok(())
}

/// Runs a unit to its end. Asks again where the queue is full, and counts that.
async fn unit(client: &Client, reader: &str, apdus: &[ApduBytes], refused: &mut u64) -> anyhow::Result<Transmitted> {
    loop {
        let unit = client.transmit(reader).commands(apdus.to_vec()).wait_timeout(Duration::from_secs(300));
        match unit.send().await {
            Err(error) if error.reason() == Some(ErrorReason::QueueFull) => {
                *refused += 1;
                sleep(PATIENCE).await;
            }
            outcome => {
                let done = outcome?;
                let last = done.results.last().context("no answer")?;
                ensure!(last.status_word == 0x9000, "the card answered {:04X}", last.status_word);
                return Ok(done);
            }
        }
    }
}
