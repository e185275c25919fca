//! The program `session-holder`: a client with a session, until it is killed.

use std::{
    future::pending,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::ensure;
use cardbroker_client::{Client, ConnectOptions, Disposition, Endpoint, hex};
use cardbroker_tests::harness::users::become_user;
use clap::Parser;

/// Open a session, run commands in it that the card must answer with 9000, print "holding", and stay.
#[derive(Parser)]
struct Arguments {
    /// The path of the broker's socket.
    socket: PathBuf,
    /// The name of the reader: readers/{id}.
    reader: String,
    /// The commands as APDUs in hex.
    apdus: Vec<String>,
    /// The key of the isolation group.
    #[arg(long)]
    group: Option<String>,
    /// End the session gracefully, leave the card as it is, print "left", and stay connected.
    #[arg(long)]
    leave: bool,
    /// Become this user and group first.
    #[arg(long)]
    uid: Option<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { socket, reader, apdus, group, leave, uid } = Arguments::parse();
    if let Some(uid) = uid {
        become_user(uid, uid)?;
    }
    let options = ConnectOptions { group, ..ConnectOptions::default() };
    let client = Client::connect_with(Endpoint::Unix(socket), options).await?;
    let session = client.open_session(reader).disposition(Disposition::Leave).open().await?;
    let commands = apdus.iter().map(|apdu| hex::parse(apdu)).collect::<Result<Vec<_>, _>>()?;
    let answered = session.transmit(commands).send().await?;
    ensure!(answered.results.iter().all(|result| result.status_word == 0x9000), "refused: {answered:?}");
    writeln!(io::stdout(), "holding")?;
    if leave {
        session.close().await?;
        writeln!(io::stdout(), "left")?;
        return pending().await;
    }
    let _session = session;
    pending().await
}
