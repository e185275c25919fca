//! The options of everything that waits for a turn at a card.

use std::time::Duration;

use cardbroker_client::{ApduBytes, Command};
use clap::Args;
use humantime::parse_duration;

#[derive(Clone, Args)]
pub(crate) struct TurnArguments {
    /// Send exactly the bytes given and print every answer as it comes: no GET RESPONSE, no correction of Le.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Send a PIN although the card has said that one try is left, where the broker guards the last try.
    #[arg(long)]
    pub(crate) allow_last_try: bool,
    /// Reset the card before the first command.
    #[arg(long)]
    pub(crate) reset: bool,
    /// How long to wait for the turn.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub(crate) wait_timeout: Duration,
    /// Wait for a card instead of failing without one.
    #[arg(long)]
    pub(crate) wait_for_card: bool,
    /// Fail unless the card is still in this insertion (`insertion_id` of readers --json).
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub(crate) if_insertion: String,
    /// Fail if anybody used or reset the card since (`state_tag` of transmit --json).
    #[arg(long, value_name = "TAG", default_value = "", hide_default_value = true)]
    pub(crate) if_state: String,
}

impl TurnArguments {
    /// An APDU as it is to be sent.
    pub(crate) fn command(&self, apdu: ApduBytes) -> Command {
        let command = Command::new(apdu);
        if self.allow_last_try { command.allow_last_try() } else { command }
    }
}
