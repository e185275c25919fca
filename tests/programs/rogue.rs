//! The program `rogue`: a malicious client that attacks in one manner, with self-made bytes.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use cardbroker_proto::v1::{
    ApduCommand, Command, OpenSessionRequest, SessionOpen, SessionTransmit, TransmitRequest, WatchReadersRequest,
    command::Action, open_session_request::Request,
};
use cardbroker_tests::harness::http2::{END_HEADERS, END_STREAM, GREETING, HEADERS, call, frame, headers, literal};
use clap::{Parser, ValueEnum};
use prost::Message;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Prints "attacking" once it does, goes on until its standard input closes, and prints how many connections it has
/// made.
#[derive(Parser)]
struct Arguments {
    /// The path of the broker's socket.
    socket: PathBuf,
    /// The manner of the attack.
    manner: Manner,
    /// The reader for its requests: readers/{id}.
    reader: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Manner {
    /// Connects and disconnects in a loop.
    Storm,
    /// Sends bytes that are not HTTP/2, or broken frames.
    Garbage,
    /// Connects up to the file limit and sends nothing, or only the HTTP/2 preface.
    HalfOpen,
    /// Sends messages and headers beyond every limit.
    Oversized,
    /// Opens sessions with commands of long answers, and reads nothing.
    Sessions,
    /// Sends units with long answers, and reads nothing.
    Transmits,
    /// Watches the readers, and reads nothing.
    Watches,
}

/// Ends by itself after this time, or after this many connections.
const LONGEST: Duration = Duration::from_secs(60);
const MOST_CONNECTIONS: usize = 200_000;
/// Half-open connections at a time, if the file limit allows it.
const MOST_HALF_OPEN: usize = 2_000;
/// Connections that read nothing, at a time, and streams on each.
const MOST_DEAF: usize = 16;
const STREAMS: u32 = 100;

fn main() -> anyhow::Result<()> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let Arguments { socket, manner, reader } = Arguments::parse();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        STOP.store(true, Ordering::Relaxed);
    });

    let begin = Instant::now();
    let (most, haste) = match manner {
        Manner::Storm | Manner::Garbage | Manner::Oversized => (1, Duration::from_millis(1)),
        Manner::HalfOpen => (MOST_HALF_OPEN, Duration::from_millis(1)),
        Manner::Sessions | Manner::Transmits | Manner::Watches => (MOST_DEAF, Duration::from_millis(500)),
    };
    let mut kept = std::collections::VecDeque::with_capacity(most);
    let mut made = 0;
    while !STOP.load(Ordering::Relaxed) && begin.elapsed() < LONGEST && made < MOST_CONNECTIONS {
        if kept.len() == most {
            kept.pop_front();
        }
        match attack(manner, &socket, &reader, made) {
            Ok(stream) => kept.push_back(stream),
            // Mostly the program's own file limit.
            Err(_) => drop(kept.pop_front()),
        }
        made += 1;
        // The limits are reached by now, and are kept so; the pause leaves the processor to others.
        if made >= most {
            thread::sleep(haste);
        }
        if made == most {
            writeln!(io::stdout(), "attacking")?;
        }
    }
    writeln!(io::stdout(), "{made}")?;
    Ok(())
}

fn attack(manner: Manner, socket: &PathBuf, reader: &str, number: usize) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    // The program leaves a broker that accepts no more bytes.
    stream.set_write_timeout(Some(Duration::from_millis(20)))?;
    let bytes = match manner {
        Manner::Storm => Vec::new(),
        Manner::Garbage => garbage(number),
        Manner::HalfOpen if number.is_multiple_of(2) => Vec::new(),
        Manner::HalfOpen => GREETING.to_vec(),
        Manner::Oversized => oversized(reader, number),
        Manner::Sessions | Manner::Transmits | Manner::Watches => deaf(manner, reader),
    };
    // The broker may have closed the connection.
    let _ = stream.write_all(&bytes);
    Ok(stream)
}

fn garbage(number: usize) -> Vec<u8> {
    let noise = |length: u32| -> Vec<u8> {
        (number as u32..).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).take(length as usize).collect()
    };
    match number % 4 {
        0 => noise(65_536),
        1 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        2 => [GREETING, &noise(4_096)].concat(),
        _ => [GREETING, &frame(HEADERS, END_HEADERS, 1, &noise(64))].concat(),
    }
}

fn oversized(reader: &str, number: usize) -> Vec<u8> {
    if number.is_multiple_of(2) {
        let long = [&headers("Transmit")[..], &literal("x-long", &"x".repeat(15_000))].concat();
        let streams = (0..8).flat_map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &long));
        return GREETING.iter().copied().chain(streams).collect();
    }
    let commands = vec![command(vec![0x5A; 65_000]); 32];
    let request = TransmitRequest { reader: reader.into(), commands, ..TransmitRequest::default() };
    [GREETING, &call(1, &headers("Transmit"), &[request.encode_to_vec()], true)].concat()
}

/// A command that sends these bytes.
fn command(bytes: Vec<u8>) -> Command {
    let apdu = ApduCommand { bytes, ..ApduCommand::default() };
    Command { action: Some(Action::Apdu(apdu)), ..Command::default() }
}

/// Streams whose answers are never read.
fn deaf(manner: Manner, reader: &str) -> Vec<u8> {
    // The card's ECHO, with its maximum of data.
    let echo = [&[0x80, 0x14, 0, 0, 0, 0x20, 0x00][..], &vec![0x5A; 0x2000], &[0, 0]].concat();
    let commands = vec![command(echo); 4];
    let say = |request| OpenSessionRequest { request: Some(request), restart: false }.encode_to_vec();
    let (method, messages, ends) = match manner {
        Manner::Sessions => {
            let open = say(Request::Open(SessionOpen { reader: reader.into(), ..SessionOpen::default() }));
            let transmit = |id| say(Request::Transmit(SessionTransmit { id, commands: commands.clone() }));
            ("OpenSession", [open].into_iter().chain((1..=40).map(transmit)).collect(), false)
        }
        Manner::Transmits => {
            let request = TransmitRequest { reader: reader.into(), commands, ..TransmitRequest::default() };
            ("Transmit", vec![request.encode_to_vec()], true)
        }
        _ => ("WatchReaders", vec![WatchReadersRequest::default().encode_to_vec()], true),
    };
    let streams = if manner == Manner::Sessions { STREAMS / 10 } else { STREAMS };
    let calls = (0..streams).flat_map(|number| call(2 * number + 1, &headers(method), &messages, ends));
    GREETING.iter().copied().chain(calls).collect()
}
