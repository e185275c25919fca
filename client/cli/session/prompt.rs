//! The prompt of a session: announces who waits and a revocation as they come, and opens the session again.

use std::{
    pin::pin as pinned,
    time::{Duration, Instant},
};

use cardbroker_client::{ErrorReason, SessionEvent, hex};
use zeroize::Zeroizing;

use super::{
    Dialogue, Failure,
    editor::Modes,
    input::{Announcer, Ask, Lines},
    pin, printable, unreadable,
};
use crate::{
    clock::rough,
    layout::fill,
    script::{Line, PinRequest, parse},
};

/// The broker's default for how long a session may idle while others wait.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How one session at the prompt has ended.
enum End {
    /// The person has quit, or the input has ended.
    Quit,
    /// The broker has ended it; the person knows.
    Ended(Failure),
}

/// For how long others have waited, and how long that can go on.
struct Contention {
    idle_timeout: Duration,
    waiters: u32,
    since: Option<Instant>,
}

impl Contention {
    fn update(&mut self, waiters: u32, now: Instant) {
        self.waiters = waiters;
        self.since = if waiters == 0 { None } else { self.since.or(Some(now)) };
    }

    /// The words for the prompt, which has idled since `idle`.
    fn words(&self, idle: Instant, now: Instant) -> String {
        let Some(since) = self.since else { return "nobody waits any more".to_owned() };
        let left = (since.max(idle) + self.idle_timeout).saturating_duration_since(now);
        let verb = if self.waiters == 1 { "waits" } else { "wait" };
        // Rounded up: the seconds are counted down by a person.
        let left = Duration::from_secs(left.as_secs_f64().ceil() as u64);
        format!("{} {verb}; at most {} left", self.waiters, rough(left))
    }
}

impl Dialogue<'_, '_> {
    /// Runs until the person quits, or the session is over and not opened again. Reports other errors and shows the
    /// prompt again.
    pub(super) async fn prompt(&mut self) -> Result<(), Failure> {
        // A signal leaves the editor where it is.
        let _modes = Modes::save();
        let (mut lines, mut announcer) =
            Lines::prompted(self.opener.arguments.options.raw).await.map_err(unreadable)?;
        loop {
            let atr = hex::format(self.session.atr());
            let reader = printable(self.opener.reader);
            let head = format!("{reader}, ATR {atr}; \"help\" lists the words");
            write!(self.screen.err, "{}", fill("", 2, &head))?;
            let failure = match self.converse(&mut lines, &mut announcer).await? {
                End::Quit => return Ok(()),
                End::Ended(failure) => failure,
            };
            if !self.wants_again(&failure, &mut lines).await? {
                return Err(Failure::Reported(failure.exit()));
            }
            self.session = tokio::select! {
                biased;
                () = self.interrupted.cancelled() => return Err(Failure::Reported(failure.exit())),
                session = self.opener.open(self.screen) => session?,
            };
            self.selected = None;
        }
    }

    /// Talks to the card until this session ends.
    async fn converse(&mut self, lines: &mut Lines, announcer: &mut Announcer) -> Result<End, Failure> {
        let id = printable(self.opener.reader.trim_start_matches("readers/"));
        let mut events = self.session.events();
        let idle_timeout = self.opener.arguments.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        let mut contention = Contention { idle_timeout, waiters: 0, since: None };
        loop {
            let idle = Instant::now();
            contention.update(self.session.waiters(), idle);
            let waiters = match contention.waiters {
                0 => String::new(),
                _ => format!("({}) ", contention.words(idle, idle)),
            };
            let mut ended = None;
            let line = {
                let mut line = pinned!(lines.next(Ask::Line(format!("{waiters}{id}> "))));
                loop {
                    tokio::select! {
                        biased;
                        () = self.interrupted.cancelled() => return Ok(End::Quit),
                        Some(event) = events.next() => match event {
                            SessionEvent::Waiters(count) if count != contention.waiters => {
                                let now = Instant::now();
                                contention.update(count, now);
                                announcer.announce(&contention.words(idle, now), self.screen.err)?;
                            }
                            SessionEvent::Ended(error) => {
                                let told = format!("cardbroker: {}; press Enter", printable(&error.to_string()));
                                announcer.announce(&told, self.screen.err)?;
                                ended = Some(Failure::Broker(error));
                            }
                            _ => {}
                        },
                        line = &mut line => break line.map_err(unreadable)?,
                    }
                }
            };
            let Some(line) = line else { return Ok(ended.map_or(End::Quit, End::Ended)) };
            let input = parse(&line, self.opener.arguments.options.raw);
            if let Some(failure) = ended {
                if matches!(input, Ok(Line::Command(_) | Line::Reset(_) | Line::Pin(_))) {
                    writeln!(self.screen.err, "cardbroker: that line was not sent")?;
                }
                return Ok(End::Ended(failure));
            }
            let done = match input {
                Ok(Line::Quit) => return Ok(End::Quit),
                Ok(Line::Pin(request)) => match self.ask_pin(request, lines).await? {
                    Some(line) => self.obey(line).await,
                    None => return Ok(End::Quit),
                },
                Ok(line) => self.obey(line).await,
                Err(mistake) => Err(Failure::Usage(mistake)),
            };
            match done {
                Err(failure @ (Failure::Broker(_) | Failure::Usage(_) | Failure::Unexpected(_)))
                    if self.session.is_open() =>
                {
                    failure.report(self.opener.json, self.screen.err);
                }
                Err(failure) if is_revoked(&failure) => {
                    failure.report(self.opener.json, self.screen.err);
                    return Ok(End::Ended(failure));
                }
                done => done?,
            }
        }
    }

    /// Asks for a line; `None` at the end of the input and of the program.
    async fn ask(&self, ask: Ask, lines: &mut Lines) -> Result<Option<Zeroizing<String>>, Failure> {
        tokio::select! {
            biased;
            () = self.interrupted.cancelled() => Ok(None),
            line = lines.next(ask) => line.map_err(unreadable),
        }
    }

    /// Asks for a PIN, which is not shown. Returns the command that presents it, nothing for an empty line, and `None`
    /// at the end of the input.
    async fn ask_pin(&mut self, request: PinRequest, lines: &mut Lines) -> Result<Option<Line>, Failure> {
        let form = pin::Form::of(request, self.selected);
        let prompt = format!("PIN {:02X} (not shown): ", form.reference);
        let Some(typed) = self.ask(Ask::Hidden(prompt), lines).await? else { return Ok(None) };
        Ok(Some(match form.verify(&typed) {
            Ok(Some(sent)) => Line::Command(sent),
            Ok(None) => Line::Nothing,
            Err(mistake) => {
                Failure::Usage(mistake).report(self.opener.json, self.screen.err);
                Line::Nothing
            }
        }))
    }

    /// Asks whether to open a revoked session again.
    async fn wants_again(&mut self, failure: &Failure, lines: &mut Lines) -> Result<bool, Failure> {
        if self.opener.json || !is_revoked(failure) {
            return Ok(false);
        }
        let answer = self.ask(Ask::Line("open the session again? [y/N] ".to_owned()), lines).await?;
        Ok(answer.is_some_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
    }
}

fn is_revoked(failure: &Failure) -> bool {
    matches!(failure, Failure::Broker(error) if error.reason() == Some(ErrorReason::LeaseRevoked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_from_the_later_of_idling_and_waiting() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut contention = Contention { idle_timeout: IDLE_TIMEOUT, waiters: 0, since: None };
        contention.update(2, at(5));
        assert_eq!(contention.words(at(0), at(5)), "2 wait; at most 10 s left");
        contention.update(1, at(9));
        assert_eq!(contention.words(at(0), at(9)), "1 waits; at most 6 s left");
        assert_eq!(contention.words(at(9), at(9)), "1 waits; at most 10 s left", "a command ran meanwhile");
        contention.update(0, at(10));
        assert_eq!(contention.words(at(9), at(10)), "nobody waits any more");
    }
}
