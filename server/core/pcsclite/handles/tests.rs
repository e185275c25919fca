//! The rules of handles in single cases, and in random histories against a model.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestCaseError, TestCaseResult},
};

use super::*;
use crate::properties::{holds, is_broken};

const LIMITS: Limits = Limits { total: 8, per_user: 4 };
const CARD: &str = "i1";

fn reader() -> Arc<str> {
    "readers/a".into()
}

fn at(process: u64, share: Share) -> Connected<u32> {
    let context = u32::try_from(process).unwrap();
    Connected { user: 7, process, context, reader: reader(), share, protocol: 2, insertion: CARD.into() }
}

fn table(rule: ExclusiveRule, handles: &[(u64, Share)]) -> Handles<u32> {
    let mut table = Handles::new(rule, LIMITS);
    for (id, (process, share)) in (1..).zip(handles) {
        table.connect(id, at(*process, *share)).unwrap();
    }
    table
}

fn card(resets: u64, selection: u64) -> Card {
    Card { insertion: CARD.into(), resets, selection }
}

/// Has the handle take a turn with one command and end it.
fn use_card(handles: &mut Handles<u32>, id: u32, card: &Card, selection: u64) -> Result<(), Code> {
    let begun = handles.on_turn(id, card, true, None);
    if begun.is_ok() {
        handles.on_command(id, false).unwrap();
        handles.on_sent(id, false);
        handles.end(id, CARD);
    }
    handles.on_turn_over(id, selection);
    begun
}

#[test]
fn an_exclusive_handle_excludes_its_own_process_or_all() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Exclusive)]);
    assert_eq!(handles.connect(2, at(1, Share::Shared)), Err(Code::SHARING_VIOLATION));
    assert_eq!(handles.connect(2, at(2, Share::Shared)), Ok(()));
    assert_eq!(handles.connect(3, at(3, Share::Exclusive)), Ok(()), "it waits for its turn");
    let mut handles = table(ExclusiveRule::Strict, &[(1, Share::Exclusive)]);
    assert_eq!(handles.connect(2, at(2, Share::Direct)), Err(Code::SHARING_VIOLATION));
    let mut handles = table(ExclusiveRule::Strict, &[(1, Share::Shared), (2, Share::Shared)]);
    assert_eq!(handles.reconnect(1, Share::Exclusive, 2, CARD), Err(Code::SHARING_VIOLATION));
    handles.disconnect(2);
    let before = handles.reconnect(1, Share::Exclusive, 2, CARD).unwrap();
    assert_eq!([handles.sharing(1, "readers/a"), handles.sharing(2, "readers/a")], [EXCLUSIVE, 0]);
    handles.undo_reconnect(1, before);
    assert_eq!(handles.sharing(1, "readers/a"), 1, "the reconnect has failed later");
}

#[test]
fn too_many_handles_of_one_user_find_no_memory() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared); 4]);
    assert_eq!(handles.connect(5, at(1, Share::Shared)), Err(Code::NO_MEMORY));
    assert_eq!(handles.sharing(1, "readers/a"), 4);
    handles.disconnect(1);
    assert_eq!(handles.connect(5, at(1, Share::Shared)), Ok(()));
}

#[test]
fn a_process_never_waits_for_its_own_handles() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared), (1, Share::Shared), (2, Share::Shared)]);
    assert_eq!(handles.begin(1, CARD), Ask::Turn);
    handles.on_turn(1, &card(0, 0), true, None).unwrap();
    assert_eq!(handles.begin(2, CARD), Ask::Answer(Code::SHARING_VIOLATION));
    assert_eq!(handles.end(2, CARD).code, Code::SHARING_VIOLATION);
    assert_eq!(handles.begin(3, CARD), Ask::Turn, "another process waits");
    assert_eq!(handles.begin(1, CARD), Ask::Ready, "transactions nest");
    assert_eq!([handles.end(1, CARD), handles.end(1, CARD)].map(|end| end.is_last), [false, true]);
    assert_eq!(handles.end(1, CARD).code, Code::NOT_TRANSACTED);
    assert_eq!(handles.begin(2, CARD), Ask::Turn, "a resting turn is given up");
}

#[test]
fn a_reset_is_news_to_users_of_the_card_until_they_reconnect() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared), (2, Share::Shared), (3, Share::Shared)]);
    use_card(&mut handles, 1, &card(0, 0), 0).unwrap();
    handles.on_turn(2, &card(0, 0), true, None).unwrap();
    handles.on_reset(2, 1, false);
    assert_eq!(handles.end(2, CARD), End { code: Code::RESET_CARD, was_open: true, is_last: true });
    handles.on_turn_over(2, 1);
    let codes = [1, 2, 3].map(|id| handles.status(id, CARD));
    assert_eq!(codes, [Code::RESET_CARD, Code::RESET_CARD, Code::SUCCESS], "the third has sent nothing");
    assert_eq!(handles.begin(1, CARD), Ask::Answer(Code::RESET_CARD));
    handles.reconnect(1, Share::Shared, 2, CARD).unwrap();
    assert_eq!(handles.begin(1, CARD), Ask::Turn);
    assert_eq!(handles.on_turn(1, &card(5, 9), true, None), Ok(()), "unused again, so a further reset is no news");
}

#[test]
fn a_failed_reconnect_hides_no_change() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared), (2, Share::Shared)]);
    let fails = |handles: &mut Handles<u32>, insertion| {
        let before = handles.reconnect(1, Share::Exclusive, 2, insertion).unwrap();
        handles.undo_reconnect(1, before);
        handles.status(1, insertion)
    };
    use_card(&mut handles, 1, &card(0, 0), 1).unwrap();
    assert_eq!(fails(&mut handles, CARD), Code::SUCCESS);
    assert_eq!(handles.on_turn(1, &card(0, 5), true, None), Err(Code::RESET_CARD), "another program's selection");
    handles.on_turn_over(1, 5);
    handles.reconnect(1, Share::Shared, 2, CARD).unwrap();
    use_card(&mut handles, 1, &card(0, 5), 5).unwrap();
    handles.see_resets(&reader(), 1);
    assert_eq!(fails(&mut handles, CARD), Code::RESET_CARD);
    assert_eq!(fails(&mut handles, "i2"), Code::REMOVED_CARD);
    // The news of another card comes while the reconnect waits.
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared)]);
    handles.tell(1, Code::RESET_CARD);
    let before = handles.reconnect(1, Share::Shared, 2, CARD).unwrap();
    handles.tell(1, Code::REMOVED_CARD);
    handles.undo_reconnect(1, before);
    assert_eq!(handles.status(1, CARD), Code::REMOVED_CARD);
}

#[test]
fn commands_before_a_reconnect_have_been_sent() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared)]);
    assert!(!handles.has_sent(1));
    use_card(&mut handles, 1, &card(0, 0), 0).unwrap();
    handles.reconnect(1, Share::Shared, 2, CARD).unwrap();
    assert!(handles.has_sent(1), "the reconnect has left the card as it was");
    for acknowledges in [true, false] {
        handles.on_reset(1, 1, acknowledges);
        assert!(!handles.has_sent(1));
    }
    handles.reconnect(1, Share::Shared, 2, CARD).unwrap();
    use_card(&mut handles, 1, &card(1, 0), 0).unwrap();
    handles.reconnect(1, Share::Shared, 2, "i2").unwrap();
    assert!(!handles.has_sent(1), "another card");
}

#[test]
fn a_foreign_selection_is_news_like_a_reset() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared), (2, Share::Shared), (3, Share::Shared)]);
    use_card(&mut handles, 1, &card(0, 0), 4).unwrap();
    assert_eq!(use_card(&mut handles, 2, &card(0, 4), 6), Ok(()), "a handle without an earlier turn");
    assert_eq!(handles.on_turn(1, &card(0, 6), false, Some(true)), Ok(()), "it selects first");
    handles.on_turn_over(1, 7);
    assert_eq!(handles.on_turn(2, &card(0, 7), true, None), Err(Code::RESET_CARD));
    assert_eq!(handles.begin(2, CARD), Ask::Answer(Code::RESET_CARD));
    handles.reconnect(2, Share::Shared, 2, CARD).unwrap();
    assert_eq!(handles.begin(2, CARD), Ask::Ready, "in the turn that it has got");
}

#[test]
fn a_removal_is_news_and_a_handle_without_card_takes_the_next_one() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared)]);
    handles.connect(2, Connected { insertion: String::new(), ..at(1, Share::Direct) }).unwrap();
    assert_eq!(handles.status(2, ""), Code::SUCCESS);
    assert_eq!([handles.status(1, ""), handles.status(1, CARD)], [Code::REMOVED_CARD; 2]);
    assert_eq!([handles.status(2, "i2"), handles.status(2, "")], [Code::SUCCESS, Code::REMOVED_CARD]);
    handles.reconnect(1, Share::Shared, 2, "i2").unwrap();
    assert_eq!(handles.status(1, "i2"), Code::SUCCESS);
}

/// A step of a random history with two processes of two handles each.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(u32),
    End(u32, bool),
    Transmit(u32),
    Reconnect(u32),
    FailedReconnect(u32),
    Status(u32),
    Rest(u32),
    Swap,
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let id = || 1..=4_u32;
    let step = prop_oneof![
        4 => id().prop_map(Step::Begin),
        4 => (id(), any::<bool>()).prop_map(|(id, resets)| Step::End(id, resets)),
        4 => id().prop_map(Step::Transmit),
        2 => id().prop_map(Step::Reconnect),
        1 => id().prop_map(Step::FailedReconnect),
        1 => id().prop_map(Step::Status),
        2 => id().prop_map(Step::Rest),
        1 => Just(Step::Swap),
    ];
    vec(step, 0..80)
}

/// The card and the program as a witness sees them: the card at one place, and what each program has reason to believe.
#[derive(Debug, Clone, Default)]
struct Belief {
    insertion: u64,
    resets: u64,
    has_used: bool,
    has_news: bool,
}

/// Plays a history. A turn is granted at once if no other handle keeps one; a resting turn is taken away. `deaf`: the
/// planted fault, handles miss resets.
fn play(history: &[Step], deaf: bool) -> TestCaseResult {
    let mut handles = table(
        ExclusiveRule::Virtual,
        &[(1, Share::Shared), (1, Share::Shared), (2, Share::Shared), (2, Share::Shared)],
    );
    let (mut insertion, mut resets, mut holder) = (1_u64, 0_u64, None::<u32>);
    let mut depths = [0_u32; 5];
    let new = Belief { insertion: 1, ..Belief::default() };
    let mut beliefs = vec![new; 5];
    let process = |id: u32| (id - 1) / 2;
    for step in history {
        let name = format!("i{insertion}");
        let keeps = holder.filter(|holder| depths[*holder as usize] > 0);
        let turn = |handles: &mut Handles<u32>, holder: &mut Option<u32>, id: u32, begins| {
            if let Some(other) = holder.replace(id) {
                handles.on_turn_over(other, 0);
            }
            let card = Card { insertion: name.clone(), resets: if deaf { 0 } else { resets }, selection: 0 };
            handles.on_turn(id, &card, begins, if begins { None } else { Some(false) })
        };
        let expected = |belief: &Belief| match () {
            () if belief.insertion != insertion => Some(Code::REMOVED_CARD),
            () if belief.has_news || belief.has_used && belief.resets != resets => Some(Code::RESET_CARD),
            () => None,
        };
        match *step {
            Step::Begin(id) | Step::Transmit(id) => {
                let begins = matches!(step, Step::Begin(_));
                let index = id as usize;
                let ask = if begins { handles.begin(id, &name) } else { handles.ask(id, &name) };
                let told = expected(&beliefs[index]);
                let code = match ask {
                    Ask::Answer(code) => code,
                    Ask::Ready => {
                        prop_assert_eq!(holder, Some(id), "only the holder is ready");
                        Code::SUCCESS
                    }
                    // The broker lets it wait for the other process.
                    Ask::Turn if keeps.is_some() => {
                        prop_assert!(keeps.is_some_and(|keeps| process(keeps) != process(id)), "waits for its process");
                        continue;
                    }
                    Ask::Turn => turn(&mut handles, &mut holder, id, begins).err().unwrap_or(Code::SUCCESS),
                };
                match told {
                    Some(told) => prop_assert_eq!(code, told, "a change is reported"),
                    None if keeps.is_some_and(|keeps| keeps != id) => prop_assert_eq!(code, Code::SHARING_VIOLATION),
                    None => prop_assert_eq!(code, Code::SUCCESS),
                }
                if code.is_success() {
                    depths[index] += u32::from(begins);
                    beliefs[index].resets = resets;
                    if !begins {
                        handles.on_command(id, false).unwrap();
                        handles.on_sent(id, false);
                        beliefs[index].has_used = true;
                    }
                }
            }
            Step::End(id, does_reset) => {
                let index = id as usize;
                if does_reset && depths[index] > 0 && beliefs[index].insertion == insertion {
                    resets += 1;
                    handles.on_reset(id, if deaf { 0 } else { resets }, false);
                    beliefs[index].has_news = true;
                }
                let end = handles.end(id, &name);
                prop_assert_eq!(end.is_last, depths[index] == 1);
                if depths[index] == 0 {
                    prop_assert!(!end.code.is_success());
                }
                depths[index] = depths[index].saturating_sub(1);
            }
            Step::Reconnect(id) => {
                prop_assert!(handles.reconnect(id, Share::Shared, 2, &name).is_ok());
                beliefs[id as usize] = Belief { insertion, resets, ..Belief::default() };
            }
            Step::FailedReconnect(id) => {
                let before = handles
                    .reconnect(id, Share::Shared, 2, &name)
                    .map_err(|code| TestCaseError::fail(format!("reconnect refused: {code:?}")))?;
                handles.undo_reconnect(id, before);
            }
            Step::Status(id) => {
                let told = expected(&beliefs[id as usize]).unwrap_or(Code::SUCCESS);
                prop_assert_eq!(handles.status(id, &name), told, "a change is reported");
            }
            Step::Rest(id) if holder == Some(id) && depths[id as usize] == 0 => {
                handles.on_turn_over(id, 0);
                holder = None;
            }
            Step::Rest(_) => {}
            Step::Swap => {
                insertion += 1;
                if let Some(id) = holder.take() {
                    handles.on_turn_over(id, 0);
                    depths[id as usize] = 0;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn random_histories_of_handles_agree_with_the_model() {
    holds(1000, histories(), |history| play(&history, false));
}

#[test]
fn a_missed_reset_is_found() {
    is_broken(1000, histories(), |history| play(&history, true), "handles miss resets", "a change is reported");
}

#[test]
fn a_handle_that_always_selects_first_is_trusted_until_it_does_not() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared)]);
    for selection in [0, 5, 9] {
        assert_eq!(handles.on_turn(1, &card(0, selection), true, None), Ok(()));
        for selects in [true, false] {
            assert_eq!(handles.on_command(1, selects), Ok(()));
            handles.on_sent(1, selects);
        }
        handles.on_turn_over(1, selection + 1);
    }
    assert_eq!(handles.on_turn(1, &card(0, 20), true, None), Ok(()));
    assert_eq!(handles.on_command(1, false), Err(Code::RESET_CARD), "meant for its own application");
    handles.on_turn_over(1, 20);
    handles.reconnect(1, Share::Shared, 2, CARD).unwrap();
    use_card(&mut handles, 1, &card(0, 20), 20).unwrap();
    assert_eq!(handles.on_turn(1, &card(0, 30), true, None), Err(Code::RESET_CARD), "at once");
}

#[test]
fn a_turn_without_a_command_does_not_hide_a_foreign_selection() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, Share::Shared)]);
    assert_eq!(handles.on_turn(1, &card(0, 0), true, None), Ok(()));
    assert_eq!(handles.on_command(1, true), Ok(()));
    handles.on_sent(1, true);
    handles.on_turn_over(1, 1);
    for _ in 0..2 {
        assert_eq!(handles.on_turn(1, &card(0, 5), true, None), Ok(()), "trusted to select");
        handles.on_turn_over(1, 5);
    }
    assert_eq!(handles.on_turn(1, &card(0, 5), true, None), Ok(()));
    assert_eq!(handles.on_command(1, true), Ok(()), "but the broker refuses to send it");
    assert_eq!(handles.on_command(1, false), Err(Code::RESET_CARD));
}
