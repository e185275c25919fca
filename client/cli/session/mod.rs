//! `cardbroker session`: an exclusive card, APDU by APDU, at a prompt or from a script.

mod input;
mod prompt;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use cardbroker_client::{ApduBytes, CardReset, Client, Delivery, Error, OpenSession, Session, hex};
use clap::Args;
use humantime::parse_duration;
use input::{Input, Lines, parse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Screen, command::CommandArguments, completion, end, json, printable, select::find, transmit::line,
    turn::TurnArguments, waiting::Wait,
};

/// Hold a card and send it APDUs one by one; until the end no other program's command reaches it.
///
/// On a terminal: a prompt, with a history that is forgotten at the end. Otherwise reads standard input, one line at a
/// time, and ends at the first error. A line is an APDU in hexadecimal, or one of the words reset (warm reset of the
/// card), cold (reset with power cut), help and quit; empty lines and lines that begin with # are skipped. Prints the
/// answers as `transmit` does.
///
/// At the end of the input the card is reset (see --disposition). While other callers wait, a session that idles for
/// too long is revoked: the prompt says who waits and how long is left, and offers to open a revoked session again.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SessionArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    #[command(flatten)]
    turn: TurnArguments,
    /// How long the session may idle while others wait, 0.1s-60s. [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,
    #[command(flatten)]
    options: CommandArguments,
}

const EXAMPLES: &str = "\
Examples:
  cardbroker session yubikey
  cardbroker session yubikey --wait-for-card --idle-timeout 60s
  printf '%s\\n' '# PIV' 00A4040009A00000030800001000 00CB3FFF055C035FC10200 |
      cardbroker session yubikey";

const WORDS: &str = "\
00 A4 04 00 ...  send this APDU
reset            reset the card (warm)
cold             reset the card by cutting its power
quit             end the session, as Ctrl-D and Ctrl-C do
help             this list";

pub(crate) async fn run(
    client: &Client,
    arguments: SessionArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let interrupted = CancellationToken::new();
    tokio::spawn(cancel_at_signal(interrupted.clone()));
    let reader = &*tokio::select! {
        biased;
        () = interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::NotSent)),
        reader = find(client, &arguments.reader) => reader?.name,
    };
    let opener = Opener { client, reader, arguments, json };
    let session = tokio::select! {
        biased;
        () = interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::NotSent)),
        session = opener.open(screen) => session?,
    };

    let mut dialogue = Dialogue { opener, session, interrupted, screen };
    if io::stdin().is_terminal() {
        dialogue.prompt().await?;
    } else {
        dialogue.run_script().await?;
    }
    let Dialogue { session, interrupted, .. } = dialogue;
    tokio::select! {
        biased;
        // Every sent message has its answer: not waiting for the end is no failure.
        () = interrupted.cancelled() => Ok(()),
        closed = session.close() => Ok(closed?),
    }
}

impl SessionArguments {
    fn request(&self, client: &Client, reader: &str) -> OpenSession {
        let request = self.turn.clone().of_session(client.open_session(reader));
        match self.idle_timeout {
            Some(timeout) => request.idle_timeout(timeout),
            None => request,
        }
    }
}

async fn cancel_at_signal(token: CancellationToken) {
    if end::signal().await.is_ok() {
        token.cancel();
    }
}

/// Opens the session, and opens it again.
struct Opener<'a> {
    client: &'a Client,
    reader: &'a str,
    arguments: SessionArguments,
    json: bool,
}

impl Opener<'_> {
    /// Waits for the turn; on a terminal says what it waits for.
    async fn open(&self, screen: &mut Screen<'_>) -> Result<Session, Failure> {
        let (told, turns_ahead) = watch::channel(None);
        let tell = move |ahead| {
            told.send_replace(Some(ahead));
        };
        let request = self.arguments.request(self.client, self.reader).on_queue_position(tell);
        let wait = Wait { client: self.client, reader: self.reader, is_session: true, turns_ahead };
        let session = wait.talk(request.open(), self.json, screen.err).await?;
        if self.json {
            json::write_line(screen.out, &json::session_opened(self.reader, &session))?;
        }
        Ok(session)
    }
}

/// A session, and the person or script that controls it.
struct Dialogue<'a, 'screen> {
    opener: Opener<'a>,
    session: Session,
    interrupted: CancellationToken,
    screen: &'a mut Screen<'screen>,
}

impl Dialogue<'_, '_> {
    /// Runs until the end of the input, or the first error.
    async fn run_script(&mut self) -> Result<(), Failure> {
        let mut lines = Lines::script()?;
        for number in 1_u64.. {
            let line = tokio::select! {
                biased;
                () = self.interrupted.cancelled() => return Ok(()),
                line = lines.next(String::new()) => line.map_err(unreadable)?,
            };
            let Some(line) = line else { break };
            match parse(&line, self.opener.arguments.options.raw)
                .map_err(|mistake| Failure::Usage(format!("line {number}: {mistake}")))?
            {
                Input::Quit => break,
                input => self.obey(input).await?,
            }
        }
        Ok(())
    }

    async fn obey(&mut self, input: Input) -> Result<(), Failure> {
        match input {
            Input::Apdu(apdu) => self.transmit(apdu).await,
            Input::Reset(reset) => self.reset(reset).await,
            Input::Help => Ok(writeln!(self.screen.err, "{WORDS}")?),
            Input::Nothing | Input::Quit => Ok(()),
        }
    }

    async fn transmit(&mut self, apdu: ApduBytes) -> Result<(), Failure> {
        let commands = self.session.transmit([self.opener.arguments.options.command(apdu)]);
        let outcome = tokio::select! {
            biased;
            () = self.interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::Unknown)),
            outcome = commands.send() => outcome,
        };
        let (transmitted, stop) = match &outcome {
            Ok(transmitted) => (transmitted, None),
            Err(Error::Stopped { stop, partial }) => (&**partial, Some(&**stop)),
            Err(_) => return Ok(outcome.map(drop)?),
        };
        let Screen { out, terminal, .. } = &mut *self.screen;
        // A stop takes precedence over a failure to print: it may concern a command that ran.
        let written = if self.opener.json {
            json::write_line(*out, &json::session_transmitted(transmitted, stop))
        } else {
            transmitted.results.iter().try_for_each(|result| writeln!(out, "{}", line(result, *terminal)))
        };
        outcome?;
        Ok(written?)
    }

    async fn reset(&mut self, reset: CardReset) -> Result<(), Failure> {
        let atr = tokio::select! {
            biased;
            () = self.interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::NotSent)),
            atr = self.session.reset(reset).send() => atr?,
        };
        if self.opener.json {
            json::write_line(self.screen.out, &json::session_reset(&atr))?;
        } else if self.screen.terminal {
            writeln!(self.screen.out, "reset, ATR {}", hex::format(&atr))?;
        }
        Ok(())
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Usage(format!("standard input: {error}"))
}
