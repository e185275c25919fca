//! The program `asker`: a client of some user that tries every operation at some readers, and reports the results.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow};
use cardbroker_client::{
    CardReset, Client, Command, ConnectOptions, Disposition, Endpoint, Error, ErrorReason, StopRule, WatchEvent, hex,
};
use cardbroker_tests::harness::users::become_user;
use clap::Parser;
use tokio::time::timeout;

/// Print one line for each reader and operation: yes, unknown (there is no such reader), no (before anything was done)
/// or stopped (in between), with the rule.
#[derive(Parser)]
struct Arguments {
    /// The broker's address: unix:/path or https://127.0.0.1:port.
    endpoint: Endpoint,
    /// The readers, each as readers/{id}.
    readers: Vec<String>,
    /// Become this user first, by uid.
    #[arg(long)]
    uid: Option<u32>,
    /// With this primary group, and no other.
    #[arg(long, default_value_t = 0)]
    gid: u32,
    /// The file with the token.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Also try these commands, by one unit and in one session: name=APDU,APDU…
    #[arg(long = "commands")]
    commands: Vec<String>,
}

const PATIENCE: Duration = Duration::from_secs(20);
/// SELECT of an application that no card has.
const SELECT: [u8; 11] = [0x00, 0xA4, 0x04, 0x00, 0x06, 0xF0, b'C', b'A', b'R', b'D', 0xFF];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(uid) = arguments.uid {
        become_user(uid, arguments.gid)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { timeout(PATIENCE, ask(arguments)).await.context("no answer in time")? })
}

async fn ask(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { endpoint, readers, token_file, commands, .. } = arguments;
    let options = |group: Option<&str>| ConnectOptions {
        group: group.map(str::to_owned),
        token_file: token_file.clone(),
        ..ConnectOptions::default()
    };
    let client = Client::connect_with(endpoint.clone(), options(None)).await?;
    let sharing = Client::connect_with(endpoint, options(Some("a-key-that-others-know"))).await?;
    let listed = client.readers().await?;
    let mut watch = client.watch();
    while !matches!(watch.next().await, WatchEvent::Connected) {}
    for reader in &readers {
        let among = |is_there| if is_there { "yes" } else { "unknown" };
        tell(reader, "see", among(listed.iter().any(|listed| listed.name == *reader)))?;
        tell(reader, "watch", among(watch.readers().contains_key(reader)))?;
        try_operations(&client, &sharing, reader).await?;
        for commands in &commands {
            let (name, apdus) = commands.split_once('=').context("commands are name=APDU,APDU")?;
            try_commands(&client, reader, name, apdus).await?;
        }
    }
    Ok(())
}

fn tell(reader: &str, what: &str, verdict: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{} {what}\t{verdict}", reader.trim_start_matches("readers/"))
}

async fn try_operations(client: &Client, sharing: &Client, reader: &str) -> anyhow::Result<()> {
    let unit = |client: &Client| client.transmit(reader).command(SELECT);
    tell(reader, "transmit", &verdict(unit(client).send().await)?)?;
    tell(reader, "reset by a unit", &verdict(unit(client).reset_before(CardReset::Warm).send().await)?)?;
    tell(reader, "shared group", &verdict(unit(sharing).send().await)?)?;
    tell(reader, "leave", &verdict(client.open_session(reader).disposition(Disposition::Leave).open().await)?)?;
    match client.open_session(reader).open().await {
        Ok(session) => {
            tell(reader, "session", "yes")?;
            tell(reader, "reset in a session", &verdict(session.reset(CardReset::Warm).send().await)?)?;
            session.close().await?;
        }
        Err(error) => {
            let refused = verdict::<()>(Err(error))?;
            tell(reader, "session", &refused)?;
            tell(reader, "reset in a session", &refused)?;
        }
    }
    Ok(())
}

async fn try_commands(client: &Client, reader: &str, name: &str, apdus: &str) -> anyhow::Result<()> {
    // The next command is tried, whatever the answer.
    let apdus: Vec<_> = apdus.split(',').map(hex::parse).collect::<Result<_, _>>()?;
    let commands = || apdus.iter().map(|apdu| Command::new(apdu.clone()).stop_rule(StopRule::Any));
    tell(reader, name, &verdict(client.transmit(reader).commands(commands()).send().await)?)?;
    let in_session = match client.open_session(reader).open().await {
        Ok(session) => {
            let in_session = verdict(session.transmit(commands()).send().await)?;
            session.close().await?;
            in_session
        }
        Err(error) => verdict::<()>(Err(error))?,
    };
    tell(reader, &format!("{name}, in a session"), &in_session)?;
    Ok(())
}

fn verdict<T>(outcome: Result<T, Error>) -> anyhow::Result<String> {
    let error = match outcome {
        Ok(_) => return Ok("yes".into()),
        Err(error) => error,
    };
    match error.reason() {
        Some(ErrorReason::ReaderNotFound) => Ok("unknown".into()),
        Some(ErrorReason::Denied) => {
            let text = error.to_string();
            let rule = text.split('"').nth(1).context("no rule is named")?;
            let place = if matches!(error, Error::Stopped { .. }) { "stopped" } else { "no" };
            Ok(format!("{place}: {rule}"))
        }
        _ => Err(anyhow!(error)),
    }
}
