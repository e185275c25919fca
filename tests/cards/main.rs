//! The program `virtual-card`: inserts a card into a virtual reader of pcscd, until Ctrl-C.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
use cardbroker_tests::cards::{
    VirtualCard,
    openpgp::{self, OpenPgpCard},
    piv::PivCard,
};
use clap::{Parser, ValueEnum};

/// Insert a card into a virtual reader of pcscd (driver vpcd). Ctrl-C removes it.
#[derive(Parser)]
struct Arguments {
    /// The TCP port of the reader's slot.
    #[arg(long, default_value_t = 35963)]
    port: u16,
    /// The application on the card.
    #[arg(long, value_enum, default_value_t = Application::Simulated)]
    application: Application,
    /// The protocol that the simulated card speaks; T=0 is strict about TPDUs.
    #[arg(long, value_enum, default_value_t = Speech::T1)]
    protocol: Speech,
    /// How long a reset takes, in ms.
    #[arg(long, default_value_t = 0)]
    reset_ms: u64,
    /// How long every command takes the simulated card, in ms.
    #[arg(long, default_value_t = 0)]
    command_ms: u64,
    /// The simulated card's serial number.
    #[arg(long, default_value_t = 0)]
    serial: u32,
}

impl Arguments {
    fn reset_time(&self) -> Duration {
        Duration::from_millis(self.reset_ms)
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Application {
    /// The commands of the broker's own simulated readers.
    Simulated,
    /// A PIV card with PIN 123456, always T=1.
    Piv,
    /// An OpenPGP card with PIN 123456 and a new signature key, always T=1.
    Openpgp,
}

#[derive(Clone, Copy, ValueEnum)]
enum Speech {
    T0,
    T1,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.application {
        Application::Simulated => stay(arguments.port, VirtualCard::insert(arguments.port, simulated(&arguments))?),
        Application::Piv => stay(arguments.port, PivCard::insert(arguments.port, arguments.reset_time())?),
        Application::Openpgp => stay(arguments.port, OpenPgpCard::insert_signer(arguments.port, openpgp::PW1)?),
    }
}

fn simulated(arguments: &Arguments) -> CardOptions {
    CardOptions {
        protocol: match arguments.protocol {
            Speech::T0 => Protocol::T0,
            Speech::T1 => Protocol::T1,
        },
        serial: arguments.serial,
        reset_time: arguments.reset_time(),
        command_time: Duration::from_millis(arguments.command_ms),
        ..CardOptions::default()
    }
}

/// Keeps the card inserted. The system closes its connection when the program ends, which removes it.
fn stay<T>(port: u16, _card: T) -> anyhow::Result<()> {
    writeln!(io::stdout(), "card inserted on port {port}")?;
    loop {
        thread::park();
    }
}
