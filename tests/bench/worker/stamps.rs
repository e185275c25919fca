//! A broker whose spans are timed: the real server in this process, with a layer that looks at the clock where a unit's
//! span and those of its exchanges begin and end.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use cardbroker_server::{
    listen::Bound,
    process::{flags::Flags, service_manager::ServiceManager, signals::Signal},
    reader::spans::UNIT,
    server::{self, Server},
};
use serde_json::json;
use tokio::task::spawn_blocking;
use tracing::{
    Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    filter::filter_fn,
    layer::{Context, Layer, SubscriberExt},
    registry::{LookupSpan, Registry},
};

use crate::{processors, samples::nanoseconds};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The socket to listen on.
    socket: PathBuf,
    /// The configuration file of the broker.
    config: PathBuf,
    /// The only processor that it may use.
    #[arg(long)]
    processor: Option<usize>,
}

/// Prints "ready", serves until its input ends, and then prints the times of requests in the broker as JSON: lists of
/// times in ns.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    // Before it starts a thread.
    arguments.processor.map_or(Ok(()), processors::confine)?;
    server::runtime()?.block_on(serve(arguments))
}

async fn serve(Arguments { socket, config, .. }: Arguments) -> anyhow::Result<()> {
    let of_units = filter_fn(|metadata| metadata.is_span() && metadata.target() == UNIT);
    tracing::subscriber::set_global_default(Registry::default().with(of_units).with(Stamps))?;
    let config = Flags { socket: Some(socket), config: Some(config), ..Flags::default() }.settings()?;
    let tokens = server::load_tokens(&config)?;
    let bound = Bound::bind(&config.listen)?;
    let backend = server::backend(&config)?;
    let server = Server::start(config.clone(), Ok(tokens), bound, backend, server::announce(&config)?, None).await?;
    super::tell("ready")?;
    let mut input_ends = Some(spawn_blocking(super::order));
    let signal = async || {
        match input_ends.take() {
            Some(end) => drop(end.await),
            None => std::future::pending().await,
        }
        Signal::Stop
    };
    server.run(signal, move || Ok(config.clone()), ServiceManager::default()).await?;
    super::tell(&shares(&units()))?;
    Ok(())
}

static UNITS: Mutex<Vec<Unit>> = Mutex::new(Vec::new());

fn units() -> MutexGuard<'static, Vec<Unit>> {
    UNITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a unit was where.
struct Unit {
    /// Its span began: the request is decoded.
    decoded: Instant,
    /// From a command on its way to the card until its answer, each.
    exchanges: Vec<[Instant; 2]>,
    /// Its span was left for the last time: the response is ready to be encoded.
    answered: Option<Instant>,
}

/// The time of each request before its first command went to the card, between commands, and after the last answer of
/// the card.
fn shares(units: &[Unit]) -> String {
    let (mut before, mut between, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for Unit { decoded, exchanges, answered } in units {
        let ([[to_card, _], ..], [.., [_, from_card]], Some(answered)) = (&exchanges[..], &exchanges[..], answered)
        else {
            continue;
        };
        before.push(nanoseconds(to_card.duration_since(*decoded)));
        between.extend(exchanges.windows(2).map(|pair| nanoseconds(pair[1][0].duration_since(pair[0][1]))));
        after.push(nanoseconds(answered.duration_since(*from_card)));
    }
    json!({ "before": before, "between": between, "after": after }).to_string()
}

/// Keeps the times of all units, and nothing else.
struct Stamps;

/// When the exchange under way went to the card, in its span.
struct ToCard(Instant);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Stamps {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let now = Instant::now();
        if attributes.metadata().name() == "unit"
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(Unit { decoded: now, exchanges: Vec::new(), answered: None });
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.name() == "exchange") else { return };
        span.extensions_mut().insert(ToCard(Instant::now()));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let now = Instant::now();
        let Some(span) = context.span(id) else { return };
        if let Some(ToCard(began)) = span.extensions_mut().remove() {
            if let Some(unit) = span.parent()
                && let Some(unit) = unit.extensions_mut().get_mut::<Unit>()
            {
                unit.exchanges.push([began, now]);
            }
        } else if let Some(unit) = span.extensions_mut().get_mut::<Unit>() {
            unit.answered = Some(now);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(unit) = context.span(&id).and_then(|span| span.extensions_mut().remove()) {
            units().push(unit);
        }
    }
}
