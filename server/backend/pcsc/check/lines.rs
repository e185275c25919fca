//! The findings of the check of PC/SC, as one line for each step. Pure.

use std::time::Duration;

use pcsc::Error;

/// Whether a step went as pcsc-lite does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As expected, or as pcsc-lite does it.
    Usual,
    /// In another way, which the text describes. The broker may have to know it.
    Unusual,
    /// The call failed that the other steps need.
    Failed,
    /// Not tried; the text says why.
    Skipped,
}

impl Outcome {
    /// The name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Unusual => "unusual",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One step and what it has shown. Names readers, and nothing else of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The name of the step: `kept handle`.
    pub step: &'static str,
    /// Whether that is as pcsc-lite does it.
    pub outcome: Outcome,
    /// The finding of this step, as a text for people.
    pub text: String,
}

impl Line {
    pub(super) fn new(step: &'static str, outcome: Outcome, text: impl Into<String>) -> Self {
        Self { step, outcome, text: text.into() }
    }

    /// A step that was not tried, and the reason.
    pub fn skipped(step: &'static str, why: &str) -> Self {
        Self::new(step, Outcome::Skipped, why)
    }

    /// A step whose outcome is usual if `is_usual`.
    pub fn seen(step: &'static str, is_usual: bool, text: impl Into<String>) -> Self {
        Self::new(step, if is_usual { Outcome::Usual } else { Outcome::Unusual }, text)
    }
}

/// An error by its name and its number: `RemovedCard (0x80100069)`.
pub(super) fn code(error: Error) -> String {
    format!("{error:?} (0x{:08X})", error as u32)
}

/// A time in whole milliseconds.
pub(super) fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// A wait for a change that nothing should end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) took: Duration,
    /// The error that ended it: a timeout, if it has waited.
    pub(super) ended: Result<(), Error>,
    /// Whether the readers' states are those of before.
    pub(super) is_same: bool,
}

/// Whether waits for a change do wait.
pub(super) fn waits(seen: &[Wait]) -> Line {
    let step = "waits";
    let timeouts = seen.iter().filter(|wait| wait.ended == Err(Error::Timeout)).count();
    let hasty = seen.iter().filter(|wait| wait.ended == Ok(()) && wait.is_same).count();
    let all = seen.len();
    if let Some(error) = seen.iter().filter_map(|wait| wait.ended.err()).find(|error| *error != Error::Timeout) {
        return Line::new(step, Outcome::Unusual, format!("a wait for a change ends with {}", code(error)));
    }
    let longest = seen.iter().map(|wait| wait.took).max().unwrap_or_default();
    match hasty {
        0 if timeouts == all => {
            Line::seen(step, true, format!("{all} of {all} waits for a change end by their timeout"))
        }
        0 => Line::seen(step, false, "the readers' states change by themselves: another program uses one"),
        _ => {
            let text = format!("{hasty} of {all} waits return at once with the same states, within {}", ms(longest));
            Line::seen(step, false, text)
        }
    }
}

/// Whether a direct handle and a shared one exclude each other: the end of a direct connection beside a shared handle,
/// and of a shared one beside a direct handle.
pub(super) fn direct(beside_shared: Result<(), Error>, shared_beside: Result<(), Error>) -> Line {
    let told = |ended: Result<(), Error>| ended.map_or_else(code, |()| "granted".to_owned());
    let text =
        format!("beside a shared handle: {}; a shared one beside it: {}", told(beside_shared), told(shared_beside));
    Line::seen("direct", beside_shared.is_ok() && shared_beside.is_ok(), text)
}

/// An attempt to take a card, with its time after the insertion was seen.
pub(super) type Attempt = (Duration, Result<(), Error>);

/// Whether a handle takes a card, by one call or several.
pub(super) fn taken(step: &'static str, call: &str, attempts: &[Attempt]) -> Line {
    let first = attempts.iter().find_map(|(_, ended)| ended.err());
    let count = attempts.len();
    match (attempts.last(), first) {
        (Some((at, Ok(()))), None) => {
            Line::seen(step, true, format!("{call} takes the card at the first call, after {}", ms(*at)))
        }
        (Some((at, Ok(()))), Some(first)) => {
            let text = format!("{call} takes the card at call {count}, after {}; first: {}", ms(*at), code(first));
            Line::seen(step, false, text)
        }
        (Some((at, Err(last))), Some(first)) => {
            let then = if first == *last { String::new() } else { format!(", last {}", code(*last)) };
            let text = format!("{call} is refused {count} times in {}: {}{then}", ms(*at), code(first));
            Line::seen(step, false, text)
        }
        _ => Line::skipped(step, "not tried"),
    }
}

/// The use of a card by another program, with the time after the insertion was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rival {
    /// It holds the card and excludes others.
    Excludes,
    /// It has reset the card.
    Resets,
    /// The reader's state says that a program uses the card.
    Uses,
}

/// Whether other programs used the card within `watched` after its insertion.
pub(super) fn rivals(seen: &[(Duration, Rival)], watched: Duration) -> Line {
    let step = "plug and play";
    let told = |kind: Rival, words: &str| {
        let times: Vec<_> = seen.iter().filter(|(_, what)| *what == kind).map(|(at, _)| *at).collect();
        let (first, last) = (times.first()?, times.last()?);
        let span = if first == last { ms(*first) } else { format!("{} to {}", ms(*first), ms(*last)) };
        Some(format!("{words} at {span} ({} times)", times.len()))
    };
    let kinds = [(Rival::Excludes, "SharingViolation"), (Rival::Resets, "ResetCard"), (Rival::Uses, "in use")];
    let all: Vec<_> = kinds.into_iter().filter_map(|(kind, words)| told(kind, words)).collect();
    match all.is_empty() {
        true => Line::seen(step, true, format!("no other program used the card within {}", ms(watched))),
        false => {
            Line::seen(step, false, format!("another program used the card after its insertion: {}", all.join(", ")))
        }
    }
}

/// How the service ended and came again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Service {
    /// The error of the context that was there before, and of a new one; each with its time.
    pub(super) died: Option<(Duration, Error)>,
    /// The first answer to a new context.
    pub(super) afresh: Option<Result<(), Error>>,
    /// When a new context listed a reader again; `None` if none did in time.
    pub(super) back: Option<Duration>,
}

/// Whether the context outlives its service, and how it ends.
pub(super) fn service(Service { died, afresh, back }: Service) -> Line {
    let step = "service stop";
    let Some((at, error)) = died else {
        return Line::skipped(step, "the service was not stopped in time");
    };
    let afresh = match afresh {
        Some(Ok(())) => "a new context works at once".to_owned(),
        Some(Err(error)) => format!("a new context: {}", code(error)),
        None => "no new context was tried".to_owned(),
    };
    let back = match back {
        Some(time) => format!("; back after {}", ms(time)),
        None => "; no reader came back in time".to_owned(),
    };
    Line::seen(step, false, format!("the context ends with {} after {}; {afresh}{back}", code(error), ms(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn waits_that_return_at_once_are_told_from_those_that_wait() {
        let wait = |took, ended, is_same| Wait { took: at(took), ended, is_same };
        let told = |seen: &[Wait]| (waits(seen).outcome, waits(seen).text);
        let timed = wait(300, Err(Error::Timeout), true);
        assert_eq!(told(&[timed; 3]), (Outcome::Usual, "3 of 3 waits for a change end by their timeout".into()));
        let hasty = [wait(1, Ok(()), true), timed, wait(2, Ok(()), true)];
        let text = "2 of 3 waits return at once with the same states, within 300 ms";
        assert_eq!(told(&hasty), (Outcome::Unusual, text.into()));
        assert!(told(&[timed, wait(9, Ok(()), false)]).1.starts_with("the readers' states change"));
        assert!(told(&[wait(0, Err(Error::NoService), true)]).1.ends_with("NoService (0x8010001D)"));
    }

    #[test]
    fn attempts_are_told_with_their_first_code() {
        let told = |attempts: &[Attempt]| (taken("x", "Call", attempts).outcome, taken("x", "Call", attempts).text);
        let refused = |millis| (at(millis), Err(Error::RemovedCard));
        let usual = (Outcome::Usual, "Call takes the card at the first call, after 3 ms".to_owned());
        assert_eq!(told(&[(at(3), Ok(()))]), usual);
        let late = "Call takes the card at call 2, after 9 ms; first: RemovedCard (0x80100069)";
        assert_eq!(told(&[refused(3), (at(9), Ok(()))]), (Outcome::Unusual, late.into()));
        let never = "Call is refused 2 times in 9 ms: RemovedCard (0x80100069)";
        assert_eq!(told(&[refused(3), refused(9)]), (Outcome::Unusual, never.into()));
        let other = [refused(3), (at(9), Err(Error::SharingViolation))];
        assert!(told(&other).1.ends_with(", last SharingViolation (0x8010000B)"));
        assert_eq!(told(&[]).0, Outcome::Skipped);
    }

    #[test]
    fn direct_and_shared_handles_are_compared_both_ways() {
        let line = direct(Err(Error::SharingViolation), Ok(()));
        let expected = "beside a shared handle: SharingViolation (0x8010000B); a shared one beside it: granted";
        assert_eq!((line.outcome, &*line.text), (Outcome::Unusual, expected));
        assert_eq!(direct(Ok(()), Ok(())).outcome, Outcome::Usual);
    }

    #[test]
    fn a_rival_is_named_by_kind_and_time() {
        assert_eq!(rivals(&[], at(5000)).outcome, Outcome::Usual);
        let seen = [(at(1), Rival::Excludes), (at(40), Rival::Resets), (at(90), Rival::Excludes)];
        let line = rivals(&seen, at(5000));
        let expected = "another program used the card after its insertion: SharingViolation at 1 ms to 90 ms \
                        (2 times), ResetCard at 40 ms (1 times)";
        assert_eq!((line.outcome, &*line.text), (Outcome::Unusual, expected));
    }

    #[test]
    fn the_end_of_the_service_has_both_codes() {
        assert_eq!(service(Service::default()).outcome, Outcome::Skipped);
        let seen = Service {
            died: Some((at(7), Error::ServiceStopped)),
            afresh: Some(Err(Error::NoService)),
            back: Some(at(900)),
        };
        let expected = "the context ends with ServiceStopped (0x8010001E) after 7 ms; a new context: NoService \
                        (0x8010001D); back after 900 ms";
        assert_eq!(service(seen).text, expected);
    }
}
