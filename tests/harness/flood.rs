//! Floods: a client that sends requests of one kind as fast as the broker reads them, and drops the answers.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    http2::{
        DATA, END_HEADERS, END_STREAM, GREETING, HEADERS, LARGEST_FRAME, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
        call, frame, headers, headers_of, literal, message,
    },
    tls,
    users::become_user,
};
use anyhow::Context;
use cardbroker_proto::v1::{ApduCommand, Command, SessionOpen, TransmitRequest, command::Action};
use cardbroker_proto::v1::{OpenSessionRequest, open_session_request::Request as SessionRequest};
use clap::{Args, ValueEnum};
use prost::Message;

/// The endpoint, the kind and the sender of the requests.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The broker: unix:/path, or the address of a TCP port.
    endpoint: String,
    kind: Kind,
    /// The reader that the requests name: readers/{id}.
    reader: String,
    /// The number of connections that are open at a time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Send this token with each request.
    #[arg(long)]
    token: Option<String>,
    /// Speak TLS on the TCP port, whose certificate is in this file.
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// Become this user first, by uid.
    #[arg(long)]
    uid: Option<u32>,
}

/// The kind of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Units of one valid command.
    Transmits,
    /// Units with a command that is too short.
    Invalid,
    /// Units whose message cannot be decoded.
    Malformed,
    /// Units of 524,000 empty commands.
    Empties,
    /// Units of one command that goes on after 349,000 empty patterns.
    Patterns,
    /// Units that announce 1 MiB, and end.
    Announced,
    /// Units that announce 1 MiB, and are reset.
    Reset,
    /// Requests for the list of readers.
    Lists,
    /// Sessions, opened and left alone.
    Sessions,
    /// Checks of the broker's health.
    Health,
    /// Calls of a method that does not exist.
    Unknown,
    /// Requests with headers of 12 KB.
    LongHeaders,
    /// Pings, which are no requests.
    Pings,
    /// Watches of readers and turns, as many as a connection may have, held open.
    Watches,
    /// Repeats of one unit with long answers that are never read, as many as a connection may have open.
    Replays,
    /// Connections without requests: with a certificate, only handshakes.
    Handshakes,
}

/// Ends by itself after this time.
const LONGEST: Duration = Duration::from_secs(120);

/// The number of requests that are written at once.
const BATCH: u32 = 100;

/// The watches and the repeats of one connection.
const OPEN_CALLS: u32 = 250;

/// The commands of a repeated unit, and the bytes that the card gives back to each.
const ECHOES: usize = 8;
const ECHO_BYTES: u16 = 0x1F00;

/// The largest window, so that answers are not held back.
const WINDOW: u32 = i32::MAX as u32 - 65_535;

/// Prints "attacking" once the first requests are sent, goes on until standard input closes, and prints the number of
/// requests.
///
/// # Errors
/// The process cannot become the user, or has no standard output.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { endpoint, kind, reader, connections, token, certificate, uid } = arguments;
    // The user may not be able to read the file.
    let certificate = certificate.map(|file| tls::Connector::new(&file, &[b"h2"])).transpose()?;
    uid.map_or(Ok(()), |uid| become_user(uid, uid))?;
    let flood = Arc::new(Flood { kind, reader, endpoint, token, certificate, stop: false.into(), sent: 0.into() });
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let flood = Arc::clone(&flood);
            thread::spawn(move || flood.run())
        })
        .collect();
    let begin = Instant::now();
    while flood.sent.load(Ordering::Relaxed) == 0 && begin.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(1));
    }
    writeln!(io::stdout(), "attacking")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    flood.stop.store(true, Ordering::Relaxed);
    writeln!(io::stdout(), "{}", flood.sent.load(Ordering::Relaxed))?;
    io::stdout().flush()?;
    // A thread may still wait for the broker to read.
    drop(threads);
    Ok(())
}

trait Stream: Read + Write + Send {
    fn parts(self) -> io::Result<(Self, Self)>
    where
        Self: Sized;
}

impl Stream for UnixStream {
    fn parts(self) -> io::Result<(Self, Self)> {
        self.set_write_timeout(Some(Duration::from_millis(200)))?;
        self.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok((self.try_clone()?, self))
    }
}

impl Stream for TcpStream {
    fn parts(self) -> io::Result<(Self, Self)> {
        self.set_write_timeout(Some(Duration::from_millis(200)))?;
        self.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok((self.try_clone()?, self))
    }
}

struct Flood {
    kind: Kind,
    reader: String,
    endpoint: String,
    token: Option<String>,
    certificate: Option<tls::Connector>,
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Flood {
    /// Floods by one connection after the other.
    fn run(&self) {
        let begin = Instant::now();
        while !self.stop.load(Ordering::Relaxed) && begin.elapsed() < LONGEST {
            if self.connection().is_err() {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Floods one connection until the broker closes it.
    fn connection(&self) -> anyhow::Result<()> {
        match (self.endpoint.strip_prefix("unix:"), &self.certificate) {
            (_, Some(connector)) if self.kind == Kind::Handshakes => {
                runtime()?.block_on(connector.connect(&self.endpoint))?;
                self.sent.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            (Some(path), _) => self.flood(UnixStream::connect(path)?.parts()?),
            (None, Some(connector)) => self.flood(relayed(connector.clone(), self.endpoint.clone())?.parts()?),
            (None, None) => self.flood(TcpStream::connect(&self.endpoint)?.parts()?),
        }
    }

    fn flood<S: Stream + 'static>(&self, (mut input, mut output): (S, S)) -> anyhow::Result<()> {
        let credit = Arc::new(Credit::default());
        let given = Arc::clone(&credit);
        let reader = thread::spawn(move || {
            let _ = given.follow(&mut input);
            given.is_over.store(true, Ordering::Relaxed);
        });
        output.write_all(GREETING)?;
        if self.kind != Kind::Replays {
            output.write_all(&frame(SETTINGS, 0, 0, &[&[0, 4][..], &(i32::MAX as u32).to_be_bytes()].concat()))?;
            output.write_all(&frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes()))?;
        }
        let result = self.requests(&mut output, &credit);
        credit.has_ended.store(true, Ordering::Relaxed);
        let _ = reader.join();
        result
    }

    fn requests(&self, output: &mut impl Write, credit: &Credit) -> anyhow::Result<()> {
        let mut stream = 1;
        while !self.stop.load(Ordering::Relaxed) && !credit.is_over.load(Ordering::Relaxed) {
            let batch = match self.kind {
                Kind::Handshakes => return Ok(()),
                // What is open stays open, or makes room for the same again.
                Kind::Watches if stream >= 2 * OPEN_CALLS => {
                    thread::sleep(Duration::from_millis(10));
                    0
                }
                Kind::Replays if stream >= 2 * OPEN_CALLS => return Ok(()),
                Kind::Empties | Kind::Patterns | Kind::Replays => {
                    self.long_request(output, credit, stream)?;
                    stream += 2;
                    1
                }
                _ => {
                    let bytes: Vec<u8> = (0..BATCH).flat_map(|number| self.request(stream + 2 * number)).collect();
                    self.write(output, &bytes, credit)?;
                    stream += 2 * BATCH;
                    BATCH
                }
            };
            self.sent.fetch_add(batch.into(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes all bytes, for as long as the broker takes to read them.
    fn write(&self, output: &mut impl Write, mut bytes: &[u8], credit: &Credit) -> anyhow::Result<()> {
        while !bytes.is_empty() && !self.stop.load(Ordering::Relaxed) && !credit.is_over.load(Ordering::Relaxed) {
            match output.write(bytes) {
                Ok(0) => anyhow::bail!("closed"),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The headers of a call of the broker's service.
    fn headers(&self, method: &str) -> Vec<u8> {
        let token = self.token.iter().flat_map(|token| literal("authorization", &format!("Bearer {token}")));
        headers(method).into_iter().chain(token).collect()
    }

    fn request(&self, stream: u32) -> Vec<u8> {
        let transmit = |bytes: &[u8]| {
            let apdu = ApduCommand { bytes: bytes.to_vec(), ..ApduCommand::default() };
            let command = Command { action: Some(Action::Apdu(apdu)), ..Command::default() };
            let request =
                TransmitRequest { reader: self.reader.clone(), commands: vec![command], ..TransmitRequest::default() };
            call(stream, &self.headers("Transmit"), &[request.encode_to_vec()], true)
        };
        let announced = [&[0][..], &(1_u32 << 20).to_be_bytes()].concat();
        match self.kind {
            Kind::Transmits => transmit(&[0x80, 0x10, 0, 0, 4]),
            Kind::Invalid => transmit(&[0x80]),
            Kind::Malformed => call(stream, &self.headers("Transmit"), &[vec![0xFF; 24]], true),
            Kind::Announced => [
                frame(HEADERS, END_HEADERS, stream, &self.headers("Transmit")),
                frame(DATA, END_STREAM, stream, &announced),
            ]
            .concat(),
            Kind::Reset => [
                frame(HEADERS, END_HEADERS, stream, &self.headers("Transmit")),
                frame(DATA, 0, stream, &announced),
                frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
            ]
            .concat(),
            Kind::Lists => call(stream, &self.headers("ListReaders"), &[Vec::new()], true),
            Kind::Sessions => {
                let open = SessionOpen { reader: self.reader.clone(), ..SessionOpen::default() };
                let open = OpenSessionRequest { request: Some(SessionRequest::Open(open)), restart: false };
                call(stream, &self.headers("OpenSession"), &[open.encode_to_vec()], true)
            }
            Kind::Health => call(stream, &headers_of("grpc.health.v1.Health", "Check"), &[Vec::new()], true),
            Kind::Unknown => call(stream, &self.headers("Nope"), &[Vec::new()], true),
            Kind::LongHeaders => {
                let long = [self.headers("ListReaders"), literal("x-long", &"x".repeat(12_000))].concat();
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &long)
            }
            Kind::Pings => frame(PING, 0, 0, b"12345678"),
            Kind::Watches => {
                let method = if stream % 4 == 1 { "WatchReaders" } else { "WatchTurn" };
                call(stream, &self.headers(method), &[Vec::new()], true)
            }
            Kind::Empties | Kind::Patterns | Kind::Replays | Kind::Handshakes => Vec::new(),
        }
    }

    /// The unit that is repeated.
    fn repeated(&self) -> Vec<u8> {
        let [high, low] = ECHO_BYTES.to_be_bytes();
        let data = vec![0x5A; ECHO_BYTES.into()];
        let bytes = [&[0x80, 0x14, 0, 0, 0, high, low][..], &data, &[0, 0]].concat();
        let apdu = ApduCommand { bytes, ..ApduCommand::default() };
        let command = Command { action: Some(Action::Apdu(apdu)), ..Command::default() };
        let (reader, commands) = (self.reader.clone(), vec![command; ECHOES]);
        TransmitRequest { reader, commands, request_id: vec![7; 32], ..TransmitRequest::default() }.encode_to_vec()
    }

    /// Sends one long request, as far as the broker's windows allow.
    fn long_request(&self, output: &mut impl Write, credit: &Credit, stream: u32) -> anyhow::Result<()> {
        let body = match self.kind {
            Kind::Patterns => {
                let patterns = [0x32, 0].repeat(523_000);
                let command = [&[0x12][..], &varint(patterns.len()), &patterns].concat();
                message(&command)
            }
            Kind::Replays => message(&self.repeated()),
            _ => message(&[0x12, 0].repeat(524_000)),
        };
        credit.refused.store(0, Ordering::Relaxed);
        credit.stream.store(65_535, Ordering::Relaxed);
        credit.open.store(stream, Ordering::Relaxed);
        self.write(output, &frame(HEADERS, END_HEADERS, stream, &self.headers("Transmit")), credit)?;
        let mut rest = &body[..];
        let begin = Instant::now();
        while !rest.is_empty() && credit.refused.load(Ordering::Relaxed) != stream {
            anyhow::ensure!(!credit.is_over.load(Ordering::Relaxed), "closed");
            let room = credit.stream.load(Ordering::Relaxed).min(credit.connection.load(Ordering::Relaxed));
            let part = rest.len().min(usize::try_from(room.max(0)).unwrap_or(0)).min(LARGEST_FRAME);
            if part == 0 {
                if self.stop.load(Ordering::Relaxed) || begin.elapsed() > Duration::from_secs(15) {
                    anyhow::bail!("no window");
                }
                thread::sleep(Duration::from_micros(100));
                continue;
            }
            let (now, later) = rest.split_at(part);
            let flags = if later.is_empty() { END_STREAM } else { 0 };
            self.write(output, &frame(DATA, flags, stream, now), credit)?;
            credit.stream.fetch_sub(part as i64, Ordering::Relaxed);
            credit.connection.fetch_sub(part as i64, Ordering::Relaxed);
            rest = later;
        }
        if !rest.is_empty() {
            self.write(output, &frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]), credit)?;
        }
        Ok(())
    }
}

/// A runtime for one connection with TLS.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Opens a connection with TLS. Returns the end of a pipe to it, whose other end a thread of its own serves.
fn relayed(connector: tls::Connector, address: String) -> anyhow::Result<UnixStream> {
    let runtime = runtime()?;
    let mut secure = runtime.block_on(connector.connect(&address))?;
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    thread::spawn(move || {
        runtime.block_on(async {
            let mut plain = tokio::net::UnixStream::from_std(theirs)?;
            tokio::io::copy_bidirectional(&mut plain, &mut secure).await
        })
    });
    Ok(ours)
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push((number % 128 + 128) as u8);
        number /= 128;
    }
    bytes.push(number as u8);
    bytes
}

/// The windows that the broker has opened, and the last stream that it has answered.
struct Credit {
    connection: std::sync::atomic::AtomicI64,
    /// The window of the open stream.
    stream: std::sync::atomic::AtomicI64,
    /// The number of the open stream.
    open: std::sync::atomic::AtomicU32,
    /// The number of the last stream that ended.
    refused: std::sync::atomic::AtomicU32,
    /// Whether the broker has closed the connection.
    is_over: AtomicBool,
    /// Whether nothing more is sent on the connection.
    has_ended: AtomicBool,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            connection: 65_535.into(),
            stream: 65_535.into(),
            open: 0.into(),
            refused: 0.into(),
            is_over: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        }
    }
}

impl Credit {
    /// Reads the broker's frames, and drops all but those that open windows and end streams.
    fn follow(&self, input: &mut impl Read) -> anyhow::Result<()> {
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        while !self.has_ended.load(Ordering::Relaxed) {
            match input.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            let mut at = 0;
            while let Some(head) = bytes.get(at..at + 9) {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                let (kind, flags) = (head[3], head[4]);
                let stream = u32::from_be_bytes(head[5..9].try_into()?) & 0x7FFF_FFFF;
                let Some(payload) = bytes.get(at + 9..at + 9 + length) else { break };
                match kind {
                    WINDOW_UPDATE => {
                        let more = i64::from(u32::from_be_bytes(payload.try_into().context("no window")?));
                        if stream == 0 {
                            self.connection.fetch_add(more, Ordering::Relaxed);
                        } else if stream == self.open.load(Ordering::Relaxed) {
                            self.stream.fetch_add(more, Ordering::Relaxed);
                        }
                    }
                    HEADERS | DATA if flags & END_STREAM != 0 => self.refused.store(stream, Ordering::Relaxed),
                    RST_STREAM => self.refused.store(stream, Ordering::Relaxed),
                    _ => {}
                }
                at += 9 + length;
            }
            bytes.drain(..at);
        }
        Ok(())
    }
}
