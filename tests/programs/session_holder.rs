//! The program `session-holder`: a client with a session, until it is killed.

use std::{
    future::pending,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use cardbroker_client::hex;
use cardbroker_proto::{
    GROUP_METADATA,
    v1::{
        Command, OpenSessionRequest, SessionEnd, SessionOpen, SessionTransmit,
        card_broker_service_client::CardBrokerServiceClient, open_session_request::Request as Asked,
        open_session_response::Response as Heard,
    },
};
use clap::Parser;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, transport::Endpoint};

/// Opens a session, runs commands in it that the card must answer with 9000, prints "holding", and stays.
#[derive(Parser)]
struct Arguments {
    /// The broker's socket.
    socket: PathBuf,
    /// The reader: readers/{id}.
    reader: String,
    /// The commands, in hex.
    apdus: Vec<String>,
    /// The isolation group to be in.
    #[arg(long)]
    group: Option<String>,
    /// End the session in good order, leave the card as it is, print "left", and stay connected.
    #[arg(long)]
    leave: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let channel = Endpoint::from_shared(format!("unix://{}", arguments.socket.display()))?.connect().await?;
    let mut stub = CardBrokerServiceClient::new(channel);
    let (requests, queue) = mpsc::channel(2);
    let say = |request| {
        let message = OpenSessionRequest { request: Some(request), restart: false };
        requests.try_send(message).context("the channel holds both messages")
    };
    let open = SessionOpen { reader: arguments.reader, end: SessionEnd::Leave.into(), ..SessionOpen::default() };
    say(Asked::Open(open))?;
    let command = |apdu: &String| Ok(Command { apdu: hex::parse(apdu)?.to_vec(), ..Command::default() });
    let commands = arguments.apdus.iter().map(command).collect::<anyhow::Result<_>>()?;
    say(Asked::Transmit(SessionTransmit { id: 1, commands, raw: false }))?;

    let mut request = Request::new(ReceiverStream::new(queue));
    if let Some(group) = arguments.group {
        request.metadata_mut().insert(GROUP_METADATA, group.parse()?);
    }
    let mut responses = stub.open_session(request).await?.into_inner();
    let answered = loop {
        let message = responses.message().await?.and_then(|message| message.response);
        if let Heard::Transmitted(answered) = message.context("no answer")? {
            break answered;
        }
    };
    ensure!(answered.results.iter().all(|result| result.status_word == 0x9000), "refused: {answered:?}");
    writeln!(io::stdout(), "holding")?;
    if arguments.leave {
        drop(requests);
        while responses.message().await?.is_some() {}
        writeln!(io::stdout(), "left")?;
    }
    pending().await
}
