//! Runs units of commands one after the other, by PC/SC or by the broker, and reports the time of each.

use std::{
    ffi::CString,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cardbroker_client::{ApduBytes, Client, Command, Session, hex};
use clap::ValueEnum;
use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};
use serde_json::json;

use crate::samples::nanoseconds;

/// The maximum time in which pcscd notices that a process has ended.
const CLEANUP_TIME: Duration = Duration::from_secs(2);

/// The way to run a unit.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// By PC/SC, over an exclusive connection.
    Exclusive,
    /// By PC/SC, each in a transaction.
    Transaction,
    /// No unit: PC/SC resets the card, over an exclusive connection.
    Reset,
    /// By the broker, each as a Transmit.
    Transmit,
    /// By the broker, all in a session.
    Session,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    way: Way,
    /// The reader, in PC/SC's name or the broker's.
    reader: String,
    /// The commands of a unit, in hex.
    apdus: Vec<String>,
    /// Send raw commands: the broker does not complete answers.
    #[arg(long)]
    raw: bool,
}

/// Prints "ready", and then, for each line "times N" or "for N" (ms), one line of JSON: a list of times in ns.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut user = User::start(arguments).await?;
    user.unit().await?;
    super::tell("ready")?;
    while let Some(order) = super::order()? {
        let (what, count) = order.split_once(' ').context("no order")?;
        let count: u64 = count.parse()?;
        let end = (what == "for").then(|| Instant::now() + Duration::from_millis(count));
        let mut times = Vec::new();
        while end.map_or(times.len() < count as usize, |end| Instant::now() < end) {
            let began = Instant::now();
            user.unit().await?;
            times.push(nanoseconds(began.elapsed()));
        }
        super::tell(&json!(times).to_string())?;
    }
    user.hand.end().await
}

struct User {
    hand: Hand,
    reader: String,
    apdus: Vec<ApduBytes>,
    raw: bool,
}

enum Hand {
    Exclusive(Card),
    Transaction(Card),
    Reset(Card),
    Transmit(Client),
    Session(Session),
}

impl User {
    async fn start(Arguments { way, reader, apdus, raw }: Arguments) -> anyhow::Result<Self> {
        let apdus = apdus.iter().map(|apdu| hex::parse(apdu)).collect::<Result<_, _>>()?;
        let hand = match way {
            Way::Exclusive => Hand::Exclusive(connect(&reader, ShareMode::Exclusive)?),
            Way::Reset => Hand::Reset(connect(&reader, ShareMode::Exclusive)?),
            Way::Transaction => Hand::Transaction(connect(&reader, ShareMode::Shared)?),
            Way::Transmit => Hand::Transmit(Client::connect_default().await?),
            Way::Session => Hand::Session(Client::connect_default().await?.open_session(&reader).open().await?),
        };
        Ok(Self { hand, reader, apdus, raw })
    }

    fn commands(&self) -> Vec<Command> {
        let command = |apdu: &ApduBytes| if self.raw { Command::new(apdu.clone()).raw() } else { apdu.clone().into() };
        self.apdus.iter().map(command).collect()
    }

    async fn unit(&mut self) -> anyhow::Result<()> {
        let commands = self.commands();
        let transmitted = match &mut self.hand {
            Hand::Exclusive(card) => return transmit(card, &self.apdus),
            Hand::Transaction(card) => {
                let transaction = card.transaction()?;
                transmit(&transaction, &self.apdus)?;
                return transaction.end(Disposition::LeaveCard).map_err(|(_, error)| error.into());
            }
            Hand::Reset(card) => {
                return Ok(card.reconnect(ShareMode::Exclusive, Protocols::ANY, Disposition::ResetCard)?);
            }
            Hand::Transmit(client) => {
                let unit = client.transmit(&self.reader).commands(commands);
                unit.wait_timeout(Duration::from_secs(300)).send().await?
            }
            Hand::Session(session) => session.transmit(commands).send().await?,
        };
        let last = transmitted.results.last().context("no answer")?;
        ensure!(last.status_word == 0x9000, "the card answered {:04X}", last.status_word);
        Ok(())
    }
}

impl Hand {
    async fn end(self) -> anyhow::Result<()> {
        match self {
            // Dropping it would reset the card.
            Self::Exclusive(card) | Self::Transaction(card) | Self::Reset(card) => {
                card.disconnect(Disposition::LeaveCard).map_err(|(_, error)| error.into())
            }
            Self::Transmit(_) => Ok(()),
            Self::Session(session) => Ok(session.close().await?),
        }
    }
}

/// Connects to the card, as soon as it is present and the connections of the process before are gone.
pub(super) fn connect(reader: &str, mode: ShareMode) -> anyhow::Result<Card> {
    let reader = CString::new(reader)?;
    let context = Context::establish(Scope::System)?;
    let mut states = [ReaderState::new(reader.clone(), State::UNAWARE)];
    while !states[0].event_state().contains(State::PRESENT) {
        states[0].sync_current_state();
        context.get_status_change(Duration::from_secs(10), &mut states).context("no card in the reader")?;
    }
    let deadline = Instant::now() + CLEANUP_TIME;
    loop {
        match context.connect(&reader, mode, Protocols::ANY) {
            Err(Error::SharingViolation) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            connected => return connected.context("cannot connect to the card"),
        }
    }
}

fn transmit(card: &Card, apdus: &[ApduBytes]) -> anyhow::Result<()> {
    let mut buffer = [0; pcsc::MAX_BUFFER_SIZE];
    for (index, apdu) in apdus.iter().enumerate() {
        let answer = card.transmit(apdu, &mut buffer)?;
        ensure!(index + 1 < apdus.len() || answer.ends_with(&[0x90, 0x00]), "the card answered {answer:02X?}");
    }
    Ok(())
}
