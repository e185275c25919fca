//! The program `greedy`: a client of some user that takes as many places of the broker as it gets.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    time::Duration,
};

use cardbroker_client::{Client, ConnectOptions, Endpoint, Error};
use cardbroker_proto::v1::{ListReadersRequest, card_broker_service_client::CardBrokerServiceClient};
use cardbroker_tests::harness::users::become_user;
use clap::{Parser, ValueEnum};
use tokio::time::timeout;

#[derive(Parser)]
struct Arguments {
    /// The path of the broker's socket.
    socket: PathBuf,
    /// The kind of places that it takes.
    places: Places,
    /// How many places it tries to take.
    count: u32,
    /// Become this user and group first.
    #[arg(long)]
    uid: u32,
    /// The reader for units: readers/{id}.
    #[arg(long, default_value = "readers/simulated-reader-00")]
    reader: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Places {
    /// Connections with a request, until one is refused: print "ready", keep them until standard input closes, and
    /// print their number.
    Connections,
    /// Units with long answers, each under a `request_id`: print how each of them ended, and how repeats of the first
    /// and of the last one end.
    Outcomes,
}

/// How long the broker may take to serve a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The commands of a unit with long answers: 15 times the card's ECHO, with 65,000 bytes.
const ECHOES: usize = 15;
const ECHOED: u16 = 65_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    become_user(arguments.uid, arguments.uid)?;
    match arguments.places {
        Places::Connections => take_connections(arguments).await,
        Places::Outcomes => fill_outcomes(arguments).await,
    }
}

async fn take_connections(Arguments { socket, count, .. }: Arguments) -> anyhow::Result<()> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    let take = async || {
        let mut stub = CardBrokerServiceClient::new(endpoint.connect().await.ok()?);
        stub.list_readers(ListReadersRequest::default()).await.is_ok().then_some(stub)
    };
    let mut kept = Vec::new();
    for _ in 0..count {
        let Ok(Some(stub)) = timeout(PATIENCE, take()).await else { break };
        kept.push(stub);
    }
    writeln!(io::stdout(), "ready")?;
    // The connections answer the broker's pings in the meantime.
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    writeln!(io::stdout(), "{}", kept.len())?;
    Ok(())
}

async fn fill_outcomes(Arguments { socket, count, reader, .. }: Arguments) -> anyhow::Result<()> {
    let client = Client::connect_with(Endpoint::Unix(socket), ConnectOptions::default()).await?;
    let echo = [&[0x80, 0x14, 0, 0, 0][..], &ECHOED.to_be_bytes(), &vec![0x55; ECHOED.into()], &[0, 0]].concat();
    let ask = async |number: u32| {
        let id = [&number.to_be_bytes()[..], &[0x5A; 12]].concat();
        match client.transmit(&reader).commands(vec![echo.clone(); ECHOES]).request_id(id).send().await {
            Ok(transmitted) if transmitted.replayed => "replayed".to_owned(),
            Ok(_) => "answered".to_owned(),
            Err(error) => told(&error),
        }
    };
    for number in (0..count).chain([0, count - 1]) {
        writeln!(io::stdout(), "{}", ask(number).await)?;
    }
    Ok(())
}

fn told(error: &Error) -> String {
    format!("{} {}", error.reason().map_or("no reason", |reason| reason.short_name()), error.delivery().short_name())
}
