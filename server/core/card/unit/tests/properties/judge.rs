//! The rules for the exchanges and the results of a unit.

use std::collections::HashMap;

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{super::*, Case};
use crate::apdu::Class;

/// One exchange as the card sees it: the index of its command, the bytes sent, the answer.
pub(super) struct Seen {
    pub index: usize,
    pub sent: Vec<u8>,
    pub word: u16,
    pub has_data: bool,
}

/// The APDU of a command that is not raw.
pub(super) fn fitted(command: &UnitCommand) -> Option<&CommandApdu> {
    command.apdu().filter(|_| !command.is_raw())
}

/// Checks that delivery and partial result of a stop are right.
pub(super) fn judge_stop(
    run: &mut UnitRun<'_>,
    stop: Option<Failure>,
    seen: &[Seen],
    results: &[CommandResult],
) -> TestCaseResult {
    let partial = run.take_partial();
    let Some(stop) = stop else {
        prop_assert!(partial.is_none(), "a partial result of a complete unit");
        return Ok(());
    };
    // After a wrong length the command has not run.
    let words = seen.iter().filter(|exchange| exchange.index == results.len()).map(|exchange| exchange.word);
    let has_run = words.clone().any(|word| word >> 8 == 0x61);
    prop_assert_eq!(stop.delivery == Delivery::Executed, has_run, "a stop that is wrong about the command");
    prop_assert_eq!(partial.is_some(), has_run, "a partial result is missing or invented");
    if let Some(partial) = partial {
        prop_assert_eq!(partial.status_word.0 >> 8, 0x61, "the refusal of GET RESPONSE became the result");
        prop_assert_eq!(partial.card_duration, TOOK * words.count() as u32);
    }
    Ok(())
}

pub(super) fn judge(case: &Case, seen: &[Seen], results: &[CommandResult], is_stopped: bool) -> TestCaseResult {
    prop_assert!(results.len() <= case.commands.len(), "more results than commands");
    prop_assert!(seen.windows(2).all(|pair| pair[0].index <= pair[1].index), "not in order");
    let mut exchanges: HashMap<usize, Vec<&Seen>> = HashMap::new();
    seen.iter().for_each(|exchange| exchanges.entry(exchange.index).or_default().push(exchange));
    for (&index, exchanges) in &exchanges {
        let command = &case.commands[index];
        judge_command(case, command, exchanges)?;
        if let Some(result) = results.get(index) {
            let last = exchanges.last().map(|exchange| exchange.word);
            prop_assert_eq!(Some(result.status_word.0), last, "the result of another command");
            prop_assert_eq!(result.card_duration, TOOK * exchanges.len() as u32, "the result of another command");
            let nothing_came = exchanges.iter().skip(1).all(|exchange| !exchange.has_data);
            let is_fetched = result.source == StatusWordSource::GetResponse;
            let is_refused = is_fetched && nothing_came && result.status_word.refuses_header();
            prop_assert!(!is_refused, "the refusal of GET RESPONSE became the result");
            if index + 1 < results.len() {
                prop_assert!(command.lets_unit_go_on(result.status_word), "a stop was ignored");
            }
        }
    }
    prop_assert!(is_stopped || results.len() == case.commands.len(), "an early end without a reason");
    Ok(())
}

fn judge_command(case: &Case, command: &UnitCommand, exchanges: &[&Seen]) -> TestCaseResult {
    let Some(apdu) = fitted(command) else {
        prop_assert!(exchanges.len() == 1, "a raw command is sent again");
        prop_assert_eq!(&exchanges[0].sent[..], command.bytes(), "not the command");
        return Ok(());
    };
    if case.protocol == Protocol::T0 {
        for exchange in exchanges {
            let [_, _, _, _, p3, data @ ..] = &exchange.sent[..] else {
                return Err(TestCaseError::fail("a TPDU without P3"));
            };
            prop_assert!(data.is_empty() || data.len() == usize::from(*p3), "P3 is not the length of the data");
        }
        if !apdu.data().is_empty() {
            prop_assert_eq!(&exchanges[0].sent[5..], apdu.data(), "not the command's data");
        }
    } else {
        prop_assert_eq!(&exchanges[0].sent[..], apdu.bytes(), "not the command");
    }
    prop_assert_eq!(&exchanges[0].sent[..4], &apdu.header()[..], "not the command");

    let is_plain_case_2 = apdu.data().is_empty()
        && apdu.expected_length().is_some()
        && !apdu.class().has_secure_messaging()
        && !apdu.class().is_chaining();
    let [on_t0, otherwise] = fetch::classes(apdu.class(), command.continue_class);
    let [usual, other] = if case.protocol == Protocol::T0 { [on_t0, otherwise] } else { [otherwise, on_t0] };
    let fetching = |class: Class| [class.0, command.fetching_instruction(), 0, 0];
    // The class of GET RESPONSE, and whether a further try in the other class is allowed.
    let (mut class, mut may_try) = (usual, other != usual);
    let (mut corrections, mut fetches, mut has_fetched) = (0, 0, false);
    for pair in exchanges.windows(2) {
        let (before, now) = (pair[0], pair[1]);
        prop_assert_eq!(now.sent.len(), 5, "a command with data is sent again");
        has_fetched |= fetches > 0 && before.has_data;
        let le = (before.word & 0xFF) as u8;
        match before.word {
            0x6100..=0x61FF => {
                may_try &= fetches == 0;
                prop_assert_eq!(&now.sent[..], &[&fetching(class)[..], &[le]].concat(), "not GET RESPONSE");
                fetches += 1;
            }
            0x6C00..=0x6CFF => {
                may_try &= fetches == 0;
                prop_assert_eq!(
                    &now.sent[..],
                    &[&before.sent[..4], &[le]].concat(),
                    "not the command with the corrected Le"
                );
                corrections += u32::from(fetches == 0);
                prop_assert!(corrections <= 1, "corrected twice");
                prop_assert!(fetches > 0 || is_plain_case_2, "sent again although it may have run");
            }
            0x6D00 | 0x6E00 => {
                prop_assert!(fetches == 1 && may_try && !has_fetched, "sent again although no further try was allowed");
                (class, may_try) = (other, false);
                let expected = [&fetching(class)[..], &before.sent[4..]].concat();
                prop_assert_eq!(&now.sent[..], &expected, "not the other class");
            }
            _ => return Err(TestCaseError::fail("sent again without a reason")),
        }
    }
    prop_assert!(fetches <= MAX_GET_RESPONSES, "more than 256 GET RESPONSEs");
    Ok(())
}
