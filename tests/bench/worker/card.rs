//! The card, in a virtual reader of pcscd.

use std::{thread, time::Duration};

use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::cards::VirtualCard;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The TCP port of the reader's slot.
    port: u16,
    /// How long every command takes, in ms.
    command_ms: u64,
    /// How long a reset takes, in ms.
    reset_ms: u64,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let options = CardOptions {
        command_time: Duration::from_millis(arguments.command_ms),
        reset_time: Duration::from_millis(arguments.reset_ms),
        ..CardOptions::default()
    };
    let _card = VirtualCard::insert(arguments.port, options)?;
    super::tell("inserted")?;
    loop {
        thread::park();
    }
}
