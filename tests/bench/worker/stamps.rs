//! A broker whose time stamps are kept: the real server in this process, with a listener to its timing events.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use cardbroker_server::{
    listen::Bound,
    process::{flags::Flags, signals::Signal},
    server::{self, Server},
    timing::{Point, TARGET},
};
use serde_json::json;
use tokio::task::spawn_blocking;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use crate::{processors, samples::nanoseconds};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The socket to listen on.
    socket: PathBuf,
    /// The configuration.
    config: PathBuf,
    /// The only processor that it may use.
    #[arg(long)]
    processor: Option<usize>,
}

/// Prints "ready", serves until its input ends, and then prints what a request spent in the broker, as JSON: lists of times in ns.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    // Before it starts a thread.
    arguments.processor.map_or(Ok(()), processors::confine)?;
    server::runtime()?.block_on(serve(arguments))
}

async fn serve(Arguments { socket, config, .. }: Arguments) -> anyhow::Result<()> {
    tracing::subscriber::set_global_default(Listener)?;
    let config = Flags { socket: Some(socket), config: Some(config), ..Flags::default() }.settings()?;
    let tokens = server::load_tokens(&config)?;
    let bound = Bound::bind(&config.listen)?;
    let backend = server::backend(&config);
    let server = Server::start(config.clone(), tokens.clone(), bound, backend).await?;
    super::tell("ready")?;
    let mut input_ends = Some(spawn_blocking(super::order));
    let signal = async || {
        match input_ends.take() {
            Some(end) => drop(end.await),
            None => std::future::pending().await,
        }
        Signal::Stop
    };
    server.run(signal, move || Ok((config.clone(), tokens.clone()))).await?;
    super::tell(&shares(&STAMPS.lock().unwrap_or_else(PoisonError::into_inner)))?;
    Ok(())
}

static STAMPS: Mutex<Vec<(u64, Instant)>> = Mutex::new(Vec::new());

/// What each request spent before its first command went to the card, between commands, and after the last answer of the card.
fn shares(stamps: &[(u64, Instant)]) -> String {
    const FIRST: u64 = Point::Decoded as u64;
    const TO_CARD: u64 = Point::ToCard as u64;
    const FROM_CARD: u64 = Point::FromCard as u64;
    const LAST: u64 = Point::Answered as u64;
    let (mut before, mut between, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for pair in stamps.windows(2) {
        let [(from, began), (to, ended)] = pair else { continue };
        let time = nanoseconds(ended.duration_since(*began));
        match (*from, *to) {
            (FIRST, TO_CARD) => before.push(time),
            (FROM_CARD, TO_CARD) => between.push(time),
            (FROM_CARD, LAST) => after.push(time),
            _ => {}
        }
    }
    json!({ "before": before, "between": between, "after": after }).to_string()
}

/// Keeps the timing events, and nothing else.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event(&self, event: &Event<'_>) {
        let now = Instant::now();
        event.record(&mut Keep(now));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Keep(Instant);

impl Visit for Keep {
    fn record_u64(&mut self, _: &Field, point: u64) {
        STAMPS.lock().unwrap_or_else(PoisonError::into_inner).push((point, self.0));
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
