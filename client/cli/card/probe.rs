//! `cardbroker card --probe`: the applications on a card, asked for with SELECT alone.
//!
//! All questions are one unit, which begins and ends with a reset and does not run while any program has a state on the
//! card. An application is asked for more only if it has answered with its own name.

use std::time::Duration;

use cardbroker_client::{
    ApduBytes, CardReset, Client, Command, CommandResult, Disposition, Error, ErrorReason, StopRule, Transmit,
    status_word,
};
use serde_json::{Value, json};

use super::{Known, atr::storage_card};
use crate::{
    Failure,
    apdu::application::{self, Application},
    end,
    layout::{self, Colour, Paint},
};

/// Whether an application is asked for on cards with contacts, on contactless ones, or on all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    All,
    Contacts,
    Contactless,
}

/// The applications that are asked for. In each, by the standard beside it, a SELECT by name makes the application the
/// current one and changes nothing that outlives a reset.
const ASKED: &[(&str, On, &str)] = &[
    ("piv", On::All, "NIST SP 800-73-4 part 2 §3.1.1"),
    ("openpgp", On::All, "OpenPGP smart card application 3.4 §7.2.1"),
    ("oath", On::All, "Yubico YKOATH protocol, SELECT"),
    ("fido", On::All, "FIDO CTAP 2.1 §11.3.3"),
    ("pse", On::Contacts, "EMV 4.3 Book 1 §11.3"),
    ("ppse", On::Contactless, "EMV Contactless Book B §3.3.1"),
    ("globalplatform", On::All, "GlobalPlatform Card Specification 2.3.1 §11.9"),
    ("emrtd", On::All, "ISO/IEC 7816-4:2013 §11.2.2"),
    ("eid", On::All, "ISO/IEC 7816-4:2013 §11.2.2"),
    ("pkcs15", On::All, "ISO/IEC 7816-4:2013 §11.2.2"),
];

/// VERIFY without data: asks PIV for the remaining tries of its PIN and uses none (NIST SP 800-73-4 part 2 §3.2.1).
const PIV_TRIES: [u8; 4] = [0x00, 0x20, 0x00, 0x80];

/// The answer of a card to the question for one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    application: &'static Application,
    /// The status word; `None` if the policy denies the question.
    status_word: Option<u16>,
    /// Whether the answer's data contain the application's own name.
    is_named: bool,
    /// The remaining tries of the PIN, if they were asked for and told.
    tries: Option<u8>,
}

impl Answer {
    fn of(application: &'static Application, result: &CommandResult) -> Self {
        let is_named = names(&result.data, application);
        Self { application, status_word: Some(result.status_word), is_named, tries: None }
    }

    fn denied(application: &'static Application) -> Self {
        Self { application, status_word: None, is_named: false, tries: None }
    }

    /// Whether the application is there: it was selected, perhaps with a warning.
    fn is_found(&self) -> bool {
        matches!(self.status_word, Some(0x9000 | 0x6200..=0x62FF))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.application.name,
            "is_found": self.is_found(),
            "is_denied": self.status_word.is_none(),
            "status_word": self.status_word.map(|word| format!("{word:04X}")),
            "tells_its_name": self.is_named,
            "pin_tries_left": self.tries,
        })
    }
}

/// Whether an answer to SELECT contains the application's AID; PIV tells the provider and the rest of its AID in data
/// objects of their own (NIST SP 800-73-4 part 2 §3.1.1).
fn names(data: &[u8], application: &Application) -> bool {
    let own = application.aid;
    let name = if application.name == "piv" { &own[..5] } else { own };
    data.windows(name.len()).any(|window| window == name)
}

/// The applications to ask for on this card.
fn asked(is_contactless: bool) -> Vec<&'static Application> {
    let other = if is_contactless { On::Contacts } else { On::Contactless };
    ASKED.iter().filter(|(_, on, _)| *on != other).filter_map(|(name, ..)| application::named(name)).collect()
}

/// Asks the card for its applications; a storage card has none and is not asked.
///
/// # Errors
/// [`Failure::Usage`] for a contactless card that may not be asked; the broker's errors, among them `STATE_CHANGED` if
/// a program has a state on the card.
pub(super) async fn probe(
    client: &Client,
    known: &Known,
    may_ask_contactless: bool,
    wait: Option<Duration>,
) -> Result<Vec<Answer>, Failure> {
    if storage_card(&known.atr.historical).is_some() {
        return Ok(Vec::new());
    }
    let is_contactless = known.atr.is_contactless;
    if is_contactless && !may_ask_contactless {
        return Err(Failure::Usage("the card is contactless and may be anyone's: add --contactless to ask it".into()));
    }
    let unit = |commands: Vec<Command>| {
        let mut unit = client
            .transmit(&known.reader.name)
            .commands(commands)
            .if_insertion_id(&known.reader.insertion_id)
            .if_not_raised()
            .reset_before(CardReset::Warm)
            .disposition(Disposition::Reset);
        if let Some(wait) = wait {
            unit = unit.wait_timeout(wait);
        }
        unit
    };
    let applications = asked(is_contactless);
    let select =
        |application: &Application| Command::from(ApduBytes::from(application.select())).stop_rule(StopRule::Any);
    let mut answers = match send(unit(applications.iter().map(|application| select(application)).collect())).await? {
        Ok(results) => applications.iter().zip(&results).map(|(of, result)| Answer::of(of, result)).collect(),
        // The failure does not tell which of the commands: each is asked alone.
        Err(denial) => {
            let mut answers = Vec::new();
            for application in applications {
                answers.push(match send(unit(vec![select(application)])).await? {
                    Ok(results) => results.first().map_or(Answer::denied(application), |r| Answer::of(application, r)),
                    Err(_) => Answer::denied(application),
                });
            }
            if answers.iter().all(|answer| answer.status_word.is_none()) {
                return Err(denial.into());
            }
            answers
        }
    };
    let piv = answers.iter_mut().find(|answer| answer.application.name == "piv" && answer.is_named);
    if let Some(piv) = piv.filter(|piv| piv.status_word == Some(0x9000)) {
        let tries = Command::from(ApduBytes::from(PIV_TRIES.to_vec())).stop_rule(StopRule::Any);
        let again = unit(vec![select(piv.application).stop_rule(StopRule::Only9000), tries]);
        // What was found stays true if, for example, a program has verified a PIN meanwhile.
        let answered = end::while_sending(again.send()).await?;
        piv.tries = answered.ok().and_then(|transmitted| tries_left(transmitted.results.get(1)?.status_word));
    }
    Ok(answers)
}

/// The answers to a unit, or a denial.
///
/// # Errors
/// All other failures.
async fn send(unit: Transmit) -> Result<Result<Vec<CommandResult>, Error>, Failure> {
    match end::while_sending(unit.send()).await? {
        Ok(transmitted) => Ok(Ok(transmitted.results)),
        Err(error) if error.reason() == Some(ErrorReason::Denied) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// The tries that a status word tells: 63Cx, or 6983 for none.
fn tries_left(status_word: u16) -> Option<u8> {
    match status_word {
        0x63C0..=0x63CF => Some((status_word & 0x0F) as u8),
        0x6983 => Some(0),
        _ => None,
    }
}

/// The applications in lines for people, each with a new line.
pub(super) fn text(answers: &[Answer], paint: Paint) -> String {
    let names = |of: &dyn Fn(&Answer) -> bool| {
        let names: Vec<_> = answers.iter().filter(|answer| of(answer)).map(|answer| answer.application.words).collect();
        names.join(", ")
    };
    let mut told = "\nApplications\n".to_owned();
    if answers.is_empty() {
        told += "  none: a storage card has no applications\n";
    }
    for answer in answers.iter().filter(|answer| answer.is_found()) {
        let word = answer.status_word.filter(|word| *word != 0x9000);
        let warning = word.map(|word| format!("{word:04X} {}", status_word::meaning(word).unwrap_or_default()));
        let tries = answer.tries.map(|tries| format!("PIN: {tries} {} left", if tries == 1 { "try" } else { "tries" }));
        let notes: Vec<_> = [warning, tries].into_iter().flatten().collect();
        let name = paint.paint(Some(Colour::Bold), answer.application.words);
        let notes = if notes.is_empty() { String::new() } else { format!("  {}", notes.join(", ")) };
        told += &format!("  {name}{notes}\n");
    }
    let missing = names(&|answer| answer.status_word.is_some() && !answer.is_found());
    if !missing.is_empty() {
        told += &layout::fill("  not found: ", 4, &missing);
    }
    let denied = names(&|answer| answer.status_word.is_none());
    if !denied.is_empty() {
        told += &layout::fill("  not asked, the policy denies it: ", 4, &denied);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, status_word: Option<u16>, tries: Option<u8>) -> Answer {
        Answer { application: application::named(name).unwrap(), status_word, is_named: false, tries }
    }

    #[test]
    fn every_application_that_is_asked_for_has_a_name_and_a_standard() {
        let (contacts, contactless) = (asked(false), asked(true));
        assert_eq!((contacts.len(), contactless.len()), (ASKED.len() - 1, ASKED.len() - 1));
        assert!(ASKED.iter().all(|(_, _, standard)| standard.contains(' ')));
        let names = |list: &[&Application], name| list.iter().any(|application| application.name == name);
        assert!(names(&contacts, "pse") && !names(&contacts, "ppse") && names(&contactless, "ppse"));
    }

    #[test]
    fn only_select_and_an_empty_verify_are_sent() {
        for application in asked(false).into_iter().chain(asked(true)) {
            assert_eq!(application.select()[..4], [0x00, 0xA4, 0x04, 0x00]);
        }
        assert_eq!(PIV_TRIES, [0x00, 0x20, 0x00, 0x80], "no data: no try is used");
    }

    #[test]
    fn the_lines_tell_what_is_there_what_is_not_and_what_is_denied() {
        let answers = [
            answer("piv", Some(0x9000), Some(3)),
            answer("openpgp", Some(0x6285), None),
            answer("oath", Some(0x6A82), None),
            answer("fido", Some(0x6D00), None),
            answer("eid", None, None),
        ];
        let expected = "
Applications
  PIV  PIN: 3 tries left
  OpenPGP  6285 warning, the selected file is in termination state
  not found: OATH (Yubico), FIDO
  not asked, the policy denies it: German identity card (eID)
";
        assert_eq!(text(&answers, Paint::NEVER), expected);
        assert_eq!((tries_left(0x63C2), tries_left(0x6983), tries_left(0x9000)), (Some(2), Some(0), None));
    }

    #[test]
    fn an_application_tells_its_name_in_its_control_information() {
        let piv = application::named("piv").unwrap();
        let own = [0x61, 0x07, 0x4F, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08];
        assert!(names(&own, piv) && !names(&own[..8], piv) && !names(&[], piv));
    }
}
