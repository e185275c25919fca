//! The program `unfinished`: a client that begins requests and never ends them, within the flow control of HTTP/2.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use cardbroker_proto::reason::{DELIVERY_TRAILER, REASON_TRAILER};
use cardbroker_tests::harness::users::become_user;
use clap::Parser;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Request, Response};
use tokio::{
    net::UnixStream,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// Print, once every request is as far as it gets, the number of bytes sent and of refused requests; and, once standard
/// input closes, the number of requests refused by then, and the messages.
#[derive(Parser)]
struct Arguments {
    /// The path of the broker's socket.
    socket: PathBuf,
    /// How many connections to open.
    connections: usize,
    /// How many requests to begin on each connection.
    requests: usize,
    /// The announced length of each message, in bytes. All but the last byte are sent.
    announced: u32,
    /// Become this user, by number.
    #[arg(long)]
    uid: u32,
    /// Send the last byte of the message, too: then only the request does not end.
    #[arg(long)]
    whole: bool,
    /// The full name of the method: /package.Service/Method.
    #[arg(long, default_value = "/cardbroker.v1.CardBrokerService/Transmit")]
    method: String,
    /// How long to wait after the end of standard input for refusals that are still missing, in seconds. The broker
    /// reads little of a connection with many refusals.
    #[arg(long, default_value_t = 0)]
    wait: u64,
}

/// How long the broker may take to accept the sent bytes, or to refuse the request.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    become_user(arguments.uid, arguments.uid)?;
    let (closed, input_closed) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = closed.send(());
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments, input_closed))
}

async fn run(arguments: Arguments, input_closed: oneshot::Receiver<()>) -> anyhow::Result<()> {
    let mut requests = JoinSet::new();
    let sent = (arguments.announced as usize).saturating_sub(usize::from(!arguments.whole));
    let message = Bytes::from([&[0][..], &arguments.announced.to_be_bytes(), &vec![0x0A; sent]].concat());
    for _ in 0..arguments.connections {
        let stream = UnixStream::connect(&arguments.socket).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        for _ in 0..arguments.requests {
            requests.spawn(begin(sender.clone(), arguments.method.clone(), message.clone()));
        }
    }
    let begun: Vec<Begun> = requests.join_all().await.into_iter().collect::<anyhow::Result<_>>()?;
    let sent: usize = begun.iter().map(|begun| begun.sent).sum();
    let refused = begun.iter().filter(|begun| begun.refusal.is_some()).count();
    writeln!(io::stdout(), "sent {sent} refused {refused}")?;
    input_closed.await?;
    let mut words: Vec<String> = Vec::new();
    let mut refused = 0;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    for begun in begun {
        if let Some(refusal) = begun.refused_by(deadline).await {
            refused += 1;
            words.push(refusal);
        }
    }
    words.sort();
    words.dedup();
    writeln!(io::stdout(), "refused {refused}: {}", words.join("; "))?;
    Ok(())
}

/// A request that was begun, with its result so far.
struct Begun {
    sent: usize,
    refusal: Option<String>,
    response: Option<h2::client::ResponseFuture>,
    /// Dropping it would end the request.
    _body: SendStream<Bytes>,
}

impl Begun {
    /// The refusal, if it comes by `deadline` or is there.
    async fn refused_by(self, deadline: Instant) -> Option<String> {
        let deadline = deadline.max(Instant::now() + Duration::from_millis(10));
        match (self.refusal, self.response) {
            (Some(refusal), _) => Some(refusal),
            (None, Some(response)) => match timeout_at(deadline, response).await {
                Ok(answer) => Some(told(answer)),
                Err(_) => None,
            },
            (None, None) => None,
        }
    }
}

async fn begin(sender: SendRequest<Bytes>, method: String, mut rest: Bytes) -> anyhow::Result<Begun> {
    let request = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (mut response, mut body) = sender.ready().await?.send_request(request, false)?;
    let mut sent = 0;
    while !rest.is_empty() {
        body.reserve_capacity(rest.len());
        let capacity = std::future::poll_fn(|context| body.poll_capacity(context));
        tokio::select! {
            biased;
            answer = &mut response => {
                return Ok(Begun { sent, refusal: Some(told(answer)), response: None, _body: body });
            }
            granted = timeout(PATIENCE, capacity) => match granted {
                Ok(granted) => {
                    let part = rest.split_to(granted.context("the stream has ended")??.min(rest.len()));
                    sent += part.len();
                    body.send_data(part, false)?;
                }
                Err(_) => break,
            }
        }
    }
    Ok(match timeout(PATIENCE, &mut response).await {
        Ok(answer) => Begun { sent, refusal: Some(told(answer)), response: None, _body: body },
        Err(_) => Begun { sent, refusal: None, response: Some(response), _body: body },
    })
}

/// The message of a refusal, as text.
fn told(answer: Result<Response<RecvStream>, h2::Error>) -> String {
    let words = answer.map_err(|error| anyhow!(error)).and_then(|response| {
        let header = |name: &str| {
            let value = response.headers().get(name).with_context(|| format!("no {name}"));
            value.and_then(|value| Ok(value.to_str()?.to_owned()))
        };
        Ok(format!("{} {} {}", header("grpc-status")?, header(REASON_TRAILER)?, header(DELIVERY_TRAILER)?))
    });
    words.unwrap_or_else(|error| format!("{error:#}"))
}
