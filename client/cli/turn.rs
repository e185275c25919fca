//! The options of all commands that wait for a turn.

use std::time::Duration;

use cardbroker_client::{CardReset, Disposition, OpenSession, Transmit};
use clap::{Args, ValueEnum};
use humantime::parse_duration;

#[derive(Clone, Args)]
#[command(next_help_heading = "Turn")]
pub(crate) struct TurnArguments {
    /// How long to wait for the turn. [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait_timeout: Option<Duration>,
    /// Wait for a card instead of failing without one.
    #[arg(long)]
    wait_for_card: bool,
    /// Fail unless the card is still in this insertion (`insertion_id` of readers --json).
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    if_insertion: String,
    /// Fail if any caller has used or reset the card since (`state_tag` of transmit --json).
    #[arg(long, value_name = "TAG", default_value = "", hide_default_value = true)]
    if_state: String,
    /// Fail if the card may hold security state of any program, such as a verified PIN.
    #[arg(long)]
    if_not_raised: bool,
    /// Reset the card before the first command.
    #[arg(long, value_name = "KIND")]
    reset_before: Option<Reset>,
    /// The treatment of the card afterwards. [default: leave for a unit, reset for a session]
    #[arg(long, value_name = "WHAT")]
    disposition: Option<Afterwards>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Reset {
    /// Warm reset: the card keeps its power.
    Warm,
    /// Cold reset: cuts the card's power.
    Cold,
}

#[derive(Clone, Copy, ValueEnum)]
enum Afterwards {
    /// Leave the card as it is, unless the next caller belongs to another isolation group.
    Leave,
    /// Reset the card (warm, unless the broker is configured otherwise).
    Reset,
    /// Cut the card's power and reset it.
    Unpower,
}

impl From<Reset> for CardReset {
    fn from(reset: Reset) -> Self {
        match reset {
            Reset::Warm => Self::Warm,
            Reset::Cold => Self::Cold,
        }
    }
}

impl From<Afterwards> for Disposition {
    fn from(afterwards: Afterwards) -> Self {
        match afterwards {
            Afterwards::Leave => Self::Leave,
            Afterwards::Reset => Self::Reset,
            Afterwards::Unpower => Self::Unpower,
        }
    }
}

/// Units and sessions have the same options, but no type in common.
macro_rules! on_terms {
    ($terms:expr, $request:expr) => {{
        let terms = $terms;
        let mut request = $request.if_insertion_id(terms.if_insertion).if_state_tag(terms.if_state);
        if let Some(timeout) = terms.wait_timeout {
            request = request.wait_timeout(timeout);
        }
        if terms.if_not_raised {
            request = request.if_not_raised();
        }
        if terms.wait_for_card {
            request = request.wait_for_card();
        }
        if let Some(reset) = terms.reset_before {
            request = request.reset_before(reset.into());
        }
        if let Some(disposition) = terms.disposition {
            request = request.disposition(disposition.into());
        }
        request
    }};
}

impl TurnArguments {
    /// Puts a unit on these terms.
    pub(crate) fn of_unit(self, unit: Transmit) -> Transmit {
        on_terms!(self, unit)
    }

    /// Puts a session on these terms.
    pub(crate) fn of_session(self, session: OpenSession) -> OpenSession {
        on_terms!(self, session)
    }
}
