//! Units of commands: what goes to a card together, and how long it may take.

use std::time::Duration;

use cardbroker_proto::{
    MAX_COMMANDS, MAX_MESSAGE_BYTES,
    v1::{self, CardStart, StatusWordPattern, TransmitRequest},
};
use prost::Message;

use crate::{ApduBytes, Client, Error, Transmitted};

/// The length of the shortest command APDU, in bytes: its header.
pub const MIN_APDU_BYTES: usize = 4;

/// The length of the longest command APDU, in bytes: extended, case 4.
pub const MAX_APDU_BYTES: usize = 65_544;

const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// What the card may take in all when the user names no deadline: above the broker's exchange timeout of 120 s.
const CARD_TIME: Duration = Duration::from_secs(150);

/// The longest deadline; the contract allows waits of 24 h.
const MAX_DEADLINE: Duration = Duration::from_secs(48 * 3600);

/// A command APDU and how the unit goes on after it. Made from the APDU's bytes by `into()`.
#[derive(Debug, Clone)]
pub struct Command {
    apdu: ApduBytes,
    continue_on: Vec<StatusWordPattern>,
    continue_instruction: u8,
}

impl Command {
    /// A command with the defaults: the unit goes on after 9000, 61xx, 62xx and 63xx, not after 63Cx.
    pub fn new(apdu: impl Into<ApduBytes>) -> Self {
        Self { apdu: apdu.into(), continue_on: Vec::new(), continue_instruction: 0 }
    }

    /// Lets the unit go on after status words that agree with `value` in all bits of `mask`. The first such call
    /// replaces the default, further ones add to it; at most 16.
    pub fn continue_on(mut self, value: u16, mask: u16) -> Self {
        self.continue_on.push(StatusWordPattern { value: value.into(), mask: Some(mask.into()) });
        self
    }

    /// Fetches the rest of an answer after 61xx by this instruction instead of 0xC0 (GET RESPONSE).
    pub fn continue_instruction(mut self, instruction: u8) -> Self {
        self.continue_instruction = instruction;
        self
    }
}

impl<T: Into<ApduBytes>> From<T> for Command {
    fn from(apdu: T) -> Self {
        Self::new(apdu)
    }
}

/// A unit in the making; see [`Client::transmit`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Transmit {
    client: Client,
    request: TransmitRequest,
    commands: Vec<Command>,
    wait_timeout: Option<Duration>,
    deadline: Option<Duration>,
}

impl Transmit {
    pub(crate) fn new(client: Client, reader: String) -> Self {
        let request = TransmitRequest { reader, ..TransmitRequest::default() };
        Self { client, request, commands: Vec::new(), wait_timeout: None, deadline: None }
    }

    /// Adds a command; 1–64 in all.
    pub fn command(mut self, command: impl Into<Command>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Adds commands, in order.
    pub fn commands<C: Into<Command>>(mut self, commands: impl IntoIterator<Item = C>) -> Self {
        self.commands.extend(commands.into_iter().map(Into::into));
        self
    }

    /// How long to wait for the turn, at most 24 h. Default: 30 s; zero means now or never. Shortened where `deadline`
    /// asks for it.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = Some(timeout);
        self
    }

    /// When to give up on the whole call, from now, at most 48 h. Default: the wait and 150 s for the card. A unit that
    /// has begun then goes on without this program and its fate is unknown; the waiting ends a little earlier, so that
    /// "not sent" can still be told.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits, as long as `wait_timeout`, for a usable card instead of failing without one.
    pub fn wait_for_card(mut self) -> Self {
        self.request.wait_for_card = true;
        self
    }

    /// Sends the commands exactly as given and hands back every answer as it comes: no GET RESPONSE, no correction of
    /// Le.
    pub fn raw(mut self) -> Self {
        self.request.raw = true;
        self
    }

    /// Resets the card (warm) before the first command.
    pub fn start_reset(mut self) -> Self {
        self.request.set_start(CardStart::Reset);
        self
    }

    /// Fails, not sent, unless the card is still in this insertion
    /// ([`Reader::insertion_id`](crate::Reader::insertion_id)).
    pub fn if_insertion_id(mut self, id: impl Into<String>) -> Self {
        self.request.if_insertion_id = id.into();
        self
    }

    /// Fails, not sent, if anybody used or reset the card since ([`Transmitted::state_tag`]).
    pub fn if_state_tag(mut self, tag: impl Into<String>) -> Self {
        self.request.if_state_tag = tag.into();
        self
    }

    /// Makes a repeat safe: a second unit with the same id (16–64 bytes, random) gets the outcome of the first.
    pub fn request_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.request.request_id = id.into();
        self
    }

    /// Runs the unit.
    ///
    /// Dropping the future takes the request out of the queue if it still waits there; a unit that has begun runs to
    /// its end.
    ///
    /// # Errors
    /// [`Error::Stopped`] if some commands were answered but not all; [`Error::Failed`] and [`Error::NotRunning`] if
    /// none was.
    pub async fn send(self) -> Result<Transmitted, Error> {
        let Self { client, mut request, commands, wait_timeout, deadline } = self;
        let (deadline, wait) = times(wait_timeout, deadline);
        check_commands(&commands)?;
        request.commands = commands.into_iter().map(v1::Command::from).collect();
        request.wait_timeout = prost_types::Duration::try_from(wait).ok();
        if request.encoded_len() > MAX_MESSAGE_BYTES {
            return Err(Error::invalid(
                "commands",
                "the commands together are longer than 1 MiB: send fewer in one unit",
            ));
        }

        let mut call = client.request(request);
        call.set_timeout(deadline);
        let mut stub = client.stub();
        // tonic's own timer stops at the response's headers.
        match tokio::time::timeout(deadline, stub.transmit(call)).await {
            Ok(Ok(response)) => Transmitted::or_stopped(response.into_inner()),
            Ok(Err(status)) => Err(Error::of_commands(client.endpoint(), &status)),
            Err(_) => Err(Error::deadline_passed()),
        }
    }
}

/// Which deadline the call gets, and how long the request may wait for its turn below it.
fn times(wait: Option<Duration>, deadline: Option<Duration>) -> (Duration, Duration) {
    let wait = wait.unwrap_or(DEFAULT_WAIT).min(MAX_DEADLINE);
    // A wait of many minutes needs more than CARD_TIME behind it to keep its full length below the deadline.
    let deadline = deadline.unwrap_or_else(|| wait + CARD_TIME.max(wait / 8)).min(MAX_DEADLINE);
    // Room for "not sent" to come back before the client's library ends the call by itself.
    let margin = Duration::from_millis(50).max(deadline / 10);
    (deadline, wait.min(deadline.saturating_sub(margin)))
}

fn check_commands(commands: &[Command]) -> Result<(), Error> {
    if commands.is_empty() || commands.len() > MAX_COMMANDS {
        let message = format!("{} commands: a unit has 1 to {MAX_COMMANDS}", commands.len());
        return Err(Error::invalid("commands", message));
    }
    for (index, Command { apdu, .. }) in commands.iter().enumerate() {
        if !(MIN_APDU_BYTES..=MAX_APDU_BYTES).contains(&apdu.len()) {
            let message = format!(
                "command {}: {} bytes: an APDU has {MIN_APDU_BYTES} to {MAX_APDU_BYTES}",
                index + 1,
                apdu.len()
            );
            return Err(Error::invalid(format!("commands[{index}].apdu"), message));
        }
    }
    Ok(())
}

impl From<Command> for v1::Command {
    fn from(command: Command) -> Self {
        Self {
            apdu: command.apdu.into_unprotected(),
            continue_on: command.continue_on,
            continue_instruction: command.continue_instruction.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn the_wait_ends_before_the_deadline_by_a_tenth_but_at_least_50_ms() {
        assert_eq!(times(seconds(30), seconds(10)), (Duration::from_secs(10), Duration::from_secs(9)));
        let short = Duration::from_millis(100);
        assert_eq!(times(None, Some(short)), (short, Duration::from_millis(50)));
        assert_eq!(times(None, Some(Duration::from_millis(20))).1, Duration::ZERO);
    }

    #[test]
    fn without_a_deadline_a_wait_keeps_its_length_and_the_card_gets_its_time() {
        assert_eq!(times(None, None), (Duration::from_secs(180), Duration::from_secs(30)));
        for wait in [0, 30, 600, 24 * 3600] {
            let (deadline, shortened) = times(seconds(wait), None);
            assert_eq!(Some(shortened), seconds(wait));
            assert!(deadline >= shortened + CARD_TIME);
        }
    }

    #[test]
    fn absurd_times_are_cut_to_what_the_wire_can_carry() {
        assert_eq!(times(Some(Duration::MAX), Some(Duration::MAX)).0, MAX_DEADLINE);
    }

    #[test]
    fn empty_units_and_malformed_commands_are_refused_with_their_place() {
        assert!(check_commands(&[]).is_err());
        assert!(check_commands(&vec![Command::new([0; 4]); 65]).is_err());
        let error = check_commands(&[[0; 4].into(), Command::new([0; 3])]).unwrap_err();
        assert_eq!(error.to_string(), "command 2: 3 bytes: an APDU has 4 to 65544");
    }
}
