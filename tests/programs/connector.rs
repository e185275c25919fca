//! The program `connector`: connects the socket on its standard input, as another user, and ends. A process with the
//! same socket then has a connection whose process is gone.

use std::{io, path::PathBuf};

use cardbroker_tests::harness::users::become_user;
use clap::Parser;
use rustix::net::{SocketAddrUnix, connect};

/// Connects the socket on standard input.
#[derive(Parser)]
struct Arguments {
    /// The path of the broker's socket.
    socket: PathBuf,
    /// Become this user and group first.
    #[arg(long)]
    uid: u32,
}

fn main() -> anyhow::Result<()> {
    let Arguments { socket, uid } = Arguments::parse();
    become_user(uid, uid)?;
    Ok(connect(io::stdin(), &SocketAddrUnix::new(socket)?)?)
}
