//! A program on a TCP port in place of the broker: it records what clients send, and may pass it on to the broker.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A running relay. Its threads end with the connections of its clients.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

/// The connections of clients, and the bytes on them.
#[derive(Debug, Default)]
struct Record {
    connections: usize,
    received: Vec<u8>,
}

/// The treatment of a client's connection.
#[derive(Debug, Clone)]
pub enum Role {
    /// Passes all bytes on to this address, and back.
    Forward(SocketAddr),
    /// Makes the handshake of TLS as this server, and records the bytes after it.
    Serve(Arc<ServerConfig>),
    /// Sends this after the client's first bytes, and then only listens.
    Answer(&'static [u8]),
}

impl Relay {
    /// Starts a relay at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn start(address: &str, role: Role) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let relay = Self { address: listener.local_addr()?, record: Arc::default() };
        let record = Arc::clone(&relay.record);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                lock(&record).connections += 1;
                let (role, record) = (role.clone(), Arc::clone(&record));
                // An error is the end of the connection.
                thread::spawn(move || play(client, role, &record));
            }
        });
        Ok(relay)
    }

    /// The address for clients, with the number that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of all clients so far; after a handshake those that it protects.
    pub fn received(&self) -> Vec<u8> {
        lock(&self.record).received.clone()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        lock(&self.record).connections
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn play(mut client: TcpStream, role: Role, record: &Mutex<Record>) -> std::io::Result<()> {
    match role {
        Role::Forward(broker) => {
            let mut broker = TcpStream::connect(broker)?;
            let (mut answers, mut back) = (broker.try_clone()?, client.try_clone()?);
            thread::spawn(move || {
                let _ = std::io::copy(&mut answers, &mut back);
                back.shutdown(Shutdown::Both)
            });
            let _ = pass(&mut client, &mut broker, record);
            broker.shutdown(Shutdown::Both)
        }
        Role::Serve(config) => {
            let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
            pass(&mut StreamOwned::new(connection, client), &mut std::io::sink(), record)
        }
        Role::Answer(answer) => {
            // Recorded before the answer, on which the client may leave.
            let mut first = [0; 4096];
            let count = client.read(&mut first)?;
            lock(record).received.extend(&first[..count]);
            client.write_all(answer)?;
            pass(&mut client, &mut std::io::sink(), record)
        }
    }
}

fn pass(from: &mut impl Read, to: &mut impl Write, record: &Mutex<Record>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => {
                lock(record).received.extend(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
        }
    }
}
