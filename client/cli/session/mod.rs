//! `cardbroker session`: an exclusive card, APDU by APDU, at a prompt or from a script.

mod editor;
mod input;
mod pin;
mod prompt;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use cardbroker_client::{CardReset, Client, Delivery, Error, OpenSession, Session, hex};
use clap::Args;
use humantime::parse_duration;
use input::{Ask, Lines};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Screen,
    apdu::application::{self, Application},
    command::{CommandArguments, Style},
    completion, end, json,
    layout::fill,
    printable,
    script::{self, Line, Sent, WORDS, parse},
    select::find,
    turn::TurnArguments,
    waiting::Wait,
};

/// Hold a card and send it APDUs one by one; until the end no other program's command reaches it.
///
/// On a terminal: a prompt with completion (Tab) and a history without PINs, which is forgotten at the end. Otherwise
/// reads standard input, one line at a time, and ends at the first error. A line is an APDU in hexadecimal, or a word:
/// `help` lists them. Prints commands and answers as `transmit` does.
///
/// At the end of the input the card is reset (see --disposition). While other callers wait, a session that idles for
/// too long is revoked: the prompt says who waits and how long is left, and offers to open a revoked session again.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct SessionArguments {
    /// The reader: its id, its name, its display name, or a part of these that only one reader has.
    #[arg(add = completion::readers())]
    reader: String,
    #[command(flatten)]
    turn: TurnArguments,
    /// How long the session may idle while others wait, 0.1s-60s. [default: as long as the broker lets a session go on
    /// while others wait at a prompt, otherwise 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle_timeout: Option<Duration>,
    #[command(flatten)]
    options: CommandArguments,
}

const HELP: &str = "\
Words, at the prompt and in a script:
  select NAME        select an application: piv, openpgp, oath, fido, ..., or an
                     AID in hexadecimal
  pin [P2 [LENGTH]]  at the prompt: type a PIN that is not shown, and verify it
  reset, cold        reset the card, warm or by cutting its power
  echo TEXT          print the text
  help, quit         list the words; end the session
  =9000              after a command: the status word that it must be answered
                     with
  # ...              a comment, also after a command

Examples:
  cardbroker session yubikey
  cardbroker session yubikey --wait-for-card --idle-timeout 60s
  printf '%s\\n' 'select piv' '00CB3FFF055C035FC10200 =9000  # CHUID' |
      cardbroker session yubikey";

/// The longest idle time that a session may ask for.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The column of the meanings of words.
const MEANING: usize = 20;

/// The words with their meaning, one a line.
fn help() -> String {
    let apdu = ("00 A4 04 00 ...", "", "send this APDU; =9000 after it: expect this status word");
    let line = |(word, argument, meaning): (&str, &str, &str)| {
        let usage = format!("{word} {argument}");
        fill(&format!("{usage:MEANING$}"), MEANING, meaning)
    };
    [apdu].into_iter().chain(WORDS.iter().copied()).map(line).collect()
}

pub(crate) async fn run(
    client: &Client,
    mut arguments: SessionArguments,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let interrupted = CancellationToken::new();
    tokio::spawn(cancel_at_signal(interrupted.clone()));
    let is_prompt = io::stdin().is_terminal();
    let begin = async {
        let name = find(client, &arguments.reader).await?.name;
        if is_prompt && arguments.idle_timeout.is_none() {
            let limit = client.broker().await?.limits.max_contended_lease;
            arguments.idle_timeout = Some(limit.min(MAX_IDLE)).filter(|limit| !limit.is_zero());
        }
        Ok::<_, Failure>(name)
    };
    let reader = &*tokio::select! {
        biased;
        () = interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::NotSent)),
        name = begin => name?,
    };
    let style = arguments.options.style(screen.terminal);
    let opener = Opener { client, reader, arguments, json };
    let session = tokio::select! {
        biased;
        () = interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::NotSent)),
        session = opener.open(screen) => session?,
    };

    let mut dialogue = Dialogue { opener, session, interrupted, screen, style, selected: None };
    if is_prompt {
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
    style: Style,
    /// The known application that was selected last, for the form of its PIN.
    selected: Option<&'static Application>,
}

impl Dialogue<'_, '_> {
    /// Runs until the end of the input, or the first error.
    async fn run_script(&mut self) -> Result<(), Failure> {
        let mut lines = Lines::script()?;
        for number in 1_u64.. {
            let line = tokio::select! {
                biased;
                () = self.interrupted.cancelled() => return Err(Failure::ScriptEnded),
                line = lines.next(Ask::Line(String::new())) => line.map_err(unreadable)?,
            };
            let Some(line) = line else { break };
            let mistake = |mistake| Failure::Usage(format!("line {number}: {mistake}"));
            match parse(&line, self.opener.arguments.options.raw).map_err(mistake)? {
                Line::Quit => break,
                Line::Pin(_) => {
                    return Err(mistake("pin works only at a prompt: in a script send VERIFY as an APDU".to_owned()));
                }
                line => self.obey(line).await?,
            }
        }
        Ok(())
    }

    /// Obeys a line, except `pin` and `quit`.
    async fn obey(&mut self, line: Line) -> Result<(), Failure> {
        match line {
            Line::Command(sent) => self.transmit(sent).await,
            Line::Reset(reset) => self.reset(reset).await,
            Line::Echo(text) if self.opener.json => {
                Ok(json::write_line(self.screen.out, &serde_json::json!({ "event": "echo", "text": text }))?)
            }
            Line::Echo(text) => Ok(writeln!(self.screen.out, "{text}")?),
            Line::Help => Ok(write!(self.screen.err, "{}", help())?),
            Line::Pin(_) | Line::Nothing | Line::Quit => Ok(()),
        }
    }

    async fn transmit(&mut self, sent: Sent) -> Result<(), Failure> {
        let options = &self.opener.arguments.options;
        let expected = options.expected(sent.expected);
        let head = self.style.command(&sent.apdu);
        let selected = selected_by(&sent.apdu);
        let commands = self.session.transmit([options.command(sent.apdu)]);
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
        if let (Some(selected), Some(result)) = (selected, transmitted.results.first())
            && matches!(result.status_word >> 8, 0x90 | 0x61..=0x63)
        {
            self.selected = selected;
        }
        // A stop takes precedence over a failure to print: it may concern a command that ran.
        let written = if self.opener.json {
            json::write_line(self.screen.out, &json::session_transmitted(transmitted, stop))
        } else {
            let answers: String = transmitted.results.iter().map(|result| self.style.answer(result)).collect();
            write!(self.screen.out, "{head}{answers}")
        };
        script::check(&transmitted.results, &[expected])?;
        outcome?;
        written.map_err(Failure::Answer)
    }

    async fn reset(&mut self, reset: CardReset) -> Result<(), Failure> {
        let atr = tokio::select! {
            biased;
            () = self.interrupted.cancelled() => return Err(Failure::Interrupted(Delivery::Unknown)),
            atr = self.session.reset(reset).send() => atr?,
        };
        self.selected = None;
        if self.opener.json {
            json::write_line(self.screen.out, &json::session_reset(&atr))?;
        } else if self.screen.terminal {
            writeln!(self.screen.out, "reset, ATR {}", hex::format(&atr))?;
        }
        Ok(())
    }
}

/// The known application that a command selects: `Some(None)` for an unknown one, `None` for another command.
fn selected_by(command: &[u8]) -> Option<Option<&'static Application>> {
    match command {
        [_, 0xA4, 0x04, _, length, rest @ ..] => Some(rest.get(..usize::from(*length)).and_then(application::of)),
        _ => None,
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Usage(format!("standard input: {error}"))
}
