//! The program `virtual-card`: a card for a virtual reader of pcscd, until Ctrl-C.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use cardbroker_server::backend::{Protocol, simulated::card::CardOptions};
use cardbroker_tests::cards::VirtualCard;
use clap::{Parser, ValueEnum};

/// Puts a simulated card into a virtual reader of pcscd (driver vpcd). Ctrl-C takes it out.
#[derive(Parser)]
struct Arguments {
    /// The TCP port of the reader's slot.
    #[arg(long, default_value_t = 35963)]
    port: u16,
    /// The protocol that the card speaks; T=0 is strict about TPDUs.
    #[arg(long, value_enum, default_value_t = Speech::T1)]
    protocol: Speech,
    /// How long a reset takes, in ms.
    #[arg(long, default_value_t = 0)]
    reset_ms: u64,
    /// How long every command takes, in ms.
    #[arg(long, default_value_t = 0)]
    command_ms: u64,
    /// The card's serial number.
    #[arg(long, default_value_t = 0)]
    serial: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Speech {
    T0,
    T1,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = CardOptions {
        protocol: match arguments.protocol {
            Speech::T0 => Protocol::T0,
            Speech::T1 => Protocol::T1,
        },
        serial: arguments.serial,
        reset_time: Duration::from_millis(arguments.reset_ms),
        command_time: Duration::from_millis(arguments.command_ms),
    };
    let _card = VirtualCard::insert(arguments.port, options)?;
    writeln!(io::stdout(), "card inserted on port {}", arguments.port)?;
    loop {
        // The system closes the connection when the program ends, and that is the removal.
        thread::park();
    }
}
