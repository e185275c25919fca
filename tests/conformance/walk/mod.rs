//! The walk over the contract: a case for each field of each request and of each response.

mod exceptions;
pub(crate) mod plausible;
mod talk;
mod values;

use anyhow::Result;
use serde_json::Value;

use self::{
    talk::Talk,
    values::{Maker, Side},
};
use crate::{
    contract::{self, Contract},
    stage::Stage,
};

/// One case: a conversation in which one field is set.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The name of the case: `walk/Transmit/request/commands.apdu.raw`
    pub(crate) name: String,
    talk: Talk,
    message: Value,
}

/// The messages of the walk: the type, the sender, and the conversations in which it is sent.
const WALKED: &[(&str, Side, &[Talk])] = &[
    ("GetBrokerResponse", Side::Response, &[Talk::Broker]),
    ("GetReaderRequest", Side::Request, &[Talk::ReaderRequest]),
    ("Reader", Side::Response, &[Talk::Reader, Talk::Readers, Talk::Snapshot, Talk::Change]),
    ("WatchTurnRequest", Side::Request, &[Talk::TurnRequest]),
    ("WatchTurnResponse", Side::Response, &[Talk::Turn]),
    ("TransmitRequest", Side::Request, &[Talk::TransmitRequest]),
    ("TransmitResponse", Side::Response, &[Talk::Transmit]),
    ("Failure", Side::Response, &[Talk::Status, Talk::OpenStatus, Talk::InBand]),
    ("SessionOpen", Side::Request, &[Talk::OpenRequest]),
    ("SessionOpened", Side::Response, &[Talk::Opened]),
    ("SessionTransmit", Side::Request, &[Talk::SessionTransmitRequest]),
    ("SessionTransmitted", Side::Response, &[Talk::SessionTransmitted]),
    ("SessionReset", Side::Request, &[Talk::SessionResetRequest]),
    ("SessionResetDone", Side::Response, &[Talk::SessionResetDone]),
];

/// Returns all cases.
///
/// # Errors
/// If the contract has a kind of field for which the walk has no value.
pub(crate) fn steps(contract: &Contract) -> Result<Vec<Step>> {
    steps_of(&mut Maker { contract, seen: Default::default() })
}

fn steps_of(maker: &mut Maker<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for (name, side, talks) in WALKED {
        for mut variant in maker.variants(&maker.contract.message(name)?, *side)? {
            if *side == Side::Request {
                maker.complete(&mut variant.message)?;
            }
            let message = contract::to_json(&variant.message)?;
            for talk in *talks {
                // No command can have run before a session is open: a client may know more than such a status says.
                if *talk == Talk::OpenStatus && variant.path.starts_with("delivery") {
                    continue;
                }
                let name = format!("walk/{}/{}", talk.name(), variant.path);
                steps.push(Step { name, talk: *talk, message: message.clone() });
            }
        }
    }
    Ok(steps)
}

impl Step {
    /// Holds the conversation with a connected driver.
    ///
    /// # Errors
    /// The field that the client left out, or its deviation.
    pub(crate) async fn run(&self, stage: &mut Stage<'_>) -> Result<()> {
        self.talk.run(stage, self.message.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_case_or_a_reason() {
        let contract = Contract::load().unwrap();
        let mut maker = Maker { contract: &contract, seen: Default::default() };
        let steps = steps_of(&mut maker).unwrap();
        assert!(steps.len() > 300, "{}", steps.len());
        let all: Vec<_> = contract.messages().flat_map(|message| message.fields().collect::<Vec<_>>()).collect();
        let all: Vec<_> = all.iter().map(values::short).collect();
        let left_out = |name: &str| exceptions::LEFT_OUT.iter().any(|(field, _)| *field == name);
        let forgotten: Vec<_> = all.iter().filter(|name| !maker.seen.contains(**name) && !left_out(name)).collect();
        assert!(forgotten.is_empty(), "{forgotten:?}: into WALKED, or into LEFT_OUT with the reason");
        let known = |name: &&str| all.contains(name);
        let excepted = exceptions::LEFT_OUT.iter().chain(exceptions::NEVER_DEFAULT).map(|(name, _)| *name);
        let gone: Vec<_> = excepted.filter(|name| !known(name)).collect();
        assert!(gone.is_empty(), "{gone:?}: the contract has no such field");
    }

    #[test]
    fn no_two_cases_have_one_name() {
        let contract = Contract::load().unwrap();
        let mut names: Vec<_> = steps(&contract).unwrap().into_iter().map(|step| step.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
