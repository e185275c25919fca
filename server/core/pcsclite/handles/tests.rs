//! The rules of handles in single cases.

use super::*;

const LIMITS: HandleLimits = HandleLimits { total: 8, per_user: 4 };
const CARD: &str = "i1";

fn reader() -> Arc<str> {
    "readers/a".into()
}

pub(super) fn at(process: u64, share: ShareMode) -> Connected<u32> {
    let context = u32::try_from(process).unwrap();
    let (rule, insertion) = (ExclusiveRule::Virtual, CARD.into());
    Connected { user: 7, process, context, reader: reader(), rule, share, protocol: 2, insertion }
}

fn table(rule: ExclusiveRule, handles: &[(u64, ShareMode)]) -> Handles<u32> {
    let mut table = Handles::new(LIMITS);
    for (id, (process, share)) in (1..).zip(handles) {
        table.connect(id, Connected { rule, ..at(*process, *share) }).unwrap();
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
        handles.on_sent(id, false, card.resets);
        handles.end(id, CARD);
    }
    handles.on_turn_over(id, selection);
    begun
}

#[test]
fn an_exclusive_handle_excludes_its_own_process_or_all() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Exclusive)]);
    assert_eq!(handles.connect(2, at(1, ShareMode::Shared)), Err(Code::SHARING_VIOLATION));
    assert_eq!(handles.connect(2, at(2, ShareMode::Shared)), Ok(()));
    assert_eq!(handles.connect(3, at(3, ShareMode::Exclusive)), Ok(()), "it waits for its turn");
    let mut handles = table(ExclusiveRule::Strict, &[(1, ShareMode::Exclusive)]);
    let direct = Connected { rule: ExclusiveRule::Strict, ..at(2, ShareMode::Direct) };
    assert_eq!(handles.connect(2, direct), Err(Code::SHARING_VIOLATION));
    let mut handles = table(ExclusiveRule::Strict, &[(1, ShareMode::Shared), (2, ShareMode::Shared)]);
    assert_eq!(handles.reconnect(1, ShareMode::Exclusive, 2, CARD), Err(Code::SHARING_VIOLATION));
    handles.disconnect(2);
    let before = handles.reconnect(1, ShareMode::Exclusive, 2, CARD).unwrap();
    assert_eq!([handles.sharing(1, "readers/a"), handles.sharing(2, "readers/a")], [EXCLUSIVE, 0]);
    handles.undo_reconnect(1, before);
    assert_eq!(handles.sharing(1, "readers/a"), 1, "the reconnect has failed later");
}

#[test]
fn too_many_handles_of_one_user_find_no_memory() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared); 4]);
    assert_eq!(handles.connect(5, at(1, ShareMode::Shared)), Err(Code::NO_MEMORY));
    assert_eq!(handles.sharing(1, "readers/a"), 4);
    handles.disconnect(1);
    assert_eq!(handles.connect(5, at(1, ShareMode::Shared)), Ok(()));
}

#[test]
fn a_process_never_waits_for_its_own_handles() {
    let mut handles =
        table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared), (1, ShareMode::Shared), (2, ShareMode::Shared)]);
    assert_eq!(handles.begin(1, CARD), Ask::Turn);
    handles.on_turn(1, &card(0, 0), true, None).unwrap();
    assert_eq!(handles.begin(2, CARD), Ask::Answer(Code::SHARING_VIOLATION));
    assert_eq!(handles.end(2, CARD).code, Code::SHARING_VIOLATION);
    assert_eq!(handles.begin(3, CARD), Ask::Turn, "another process waits");
    assert_eq!(handles.begin(1, CARD), Ask::Ready, "transactions nest");
    for keeps in [true, false] {
        assert!(handles.end(1, CARD).was_open);
        assert_eq!(handles.keeps_turn(1), keeps);
    }
    assert_eq!(handles.end(1, CARD).code, Code::NOT_TRANSACTED);
    assert_eq!(handles.begin(2, CARD), Ask::Turn, "a resting turn is given up");
}

#[test]
fn a_reset_is_news_to_users_of_the_card_until_they_reconnect() {
    let mut handles =
        table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared), (2, ShareMode::Shared), (3, ShareMode::Shared)]);
    use_card(&mut handles, 1, &card(0, 0), 0).unwrap();
    handles.on_turn(2, &card(0, 0), true, None).unwrap();
    handles.on_reset(2, 1, false);
    assert_eq!(handles.end(2, CARD), End { code: Code::RESET_CARD, was_open: true });
    handles.on_turn_over(2, 1);
    let codes = [1, 2, 3].map(|id| handles.status(id, CARD));
    assert_eq!(codes, [Code::RESET_CARD, Code::RESET_CARD, Code::SUCCESS], "the third has sent nothing");
    assert_eq!(handles.begin(1, CARD), Ask::Answer(Code::RESET_CARD));
    handles.reconnect(1, ShareMode::Shared, 2, CARD).unwrap();
    assert_eq!(handles.begin(1, CARD), Ask::Turn);
    assert_eq!(handles.on_turn(1, &card(5, 9), true, None), Ok(()), "unused again, so a further reset is no news");
}

#[test]
fn a_failed_reconnect_hides_no_change() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared), (2, ShareMode::Shared)]);
    let fails = |handles: &mut Handles<u32>, insertion| {
        let before = handles.reconnect(1, ShareMode::Exclusive, 2, insertion).unwrap();
        handles.undo_reconnect(1, before);
        handles.status(1, insertion)
    };
    use_card(&mut handles, 1, &card(0, 0), 1).unwrap();
    assert_eq!(fails(&mut handles, CARD), Code::SUCCESS);
    assert_eq!(handles.on_turn(1, &card(0, 5), true, None), Err(Code::RESET_CARD), "another program's selection");
    handles.on_turn_over(1, 5);
    handles.reconnect(1, ShareMode::Shared, 2, CARD).unwrap();
    use_card(&mut handles, 1, &card(0, 5), 5).unwrap();
    handles.see_resets(&reader(), 1);
    assert_eq!(fails(&mut handles, CARD), Code::RESET_CARD);
    assert_eq!(fails(&mut handles, "i2"), Code::REMOVED_CARD);
    // The news of another card comes while the reconnect waits.
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared)]);
    handles.tell(1, Code::RESET_CARD);
    let before = handles.reconnect(1, ShareMode::Shared, 2, CARD).unwrap();
    handles.tell(1, Code::REMOVED_CARD);
    handles.undo_reconnect(1, before);
    assert_eq!(handles.status(1, CARD), Code::REMOVED_CARD);
}

#[test]
fn commands_have_an_effect_until_the_card_is_reset_or_replaced() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared)]);
    assert!(!handles.has_effect(1, CARD, 0), "no command");
    use_card(&mut handles, 1, &card(0, 0), 0).unwrap();
    handles.reconnect(1, ShareMode::Shared, 2, CARD).unwrap();
    assert!(handles.has_effect(1, CARD, 0), "the reconnect has left the card as it was");
    assert!(!handles.has_effect(1, CARD, 1), "somebody has reset it");
    assert!(!handles.has_effect(1, "i2", 0), "another card");
    for acknowledges in [true, false] {
        handles.on_reset(1, 1, acknowledges);
        assert!(!handles.has_effect(1, CARD, 1));
    }
    handles.reconnect(1, ShareMode::Shared, 2, CARD).unwrap();
    use_card(&mut handles, 1, &card(1, 0), 0).unwrap();
    assert!(handles.has_effect(1, CARD, 1));
    handles.reconnect(1, ShareMode::Shared, 2, "i2").unwrap();
    assert!(!handles.has_effect(1, "i2", 1), "the commands went to the card before");
}

#[test]
fn a_foreign_selection_is_news_like_a_reset() {
    let mut handles =
        table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared), (2, ShareMode::Shared), (3, ShareMode::Shared)]);
    use_card(&mut handles, 1, &card(0, 0), 4).unwrap();
    assert_eq!(use_card(&mut handles, 2, &card(0, 4), 6), Ok(()), "a handle without an earlier turn");
    assert_eq!(handles.on_turn(1, &card(0, 6), false, Some(true)), Ok(()), "it selects first");
    handles.on_turn_over(1, 7);
    assert_eq!(handles.on_turn(2, &card(0, 7), true, None), Err(Code::RESET_CARD));
    assert_eq!(handles.begin(2, CARD), Ask::Answer(Code::RESET_CARD));
    handles.reconnect(2, ShareMode::Shared, 2, CARD).unwrap();
    assert_eq!(handles.begin(2, CARD), Ask::Ready, "in the turn that it has got");
}

#[test]
fn a_removal_is_news_and_a_handle_without_card_takes_the_next_one() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared)]);
    handles.connect(2, Connected { insertion: String::new(), ..at(1, ShareMode::Direct) }).unwrap();
    assert_eq!(handles.status(2, ""), Code::SUCCESS);
    assert_eq!([handles.status(1, ""), handles.status(1, CARD)], [Code::REMOVED_CARD; 2]);
    assert_eq!([handles.status(2, "i2"), handles.status(2, "")], [Code::SUCCESS, Code::REMOVED_CARD]);
    handles.reconnect(1, ShareMode::Shared, 2, "i2").unwrap();
    assert_eq!(handles.status(1, "i2"), Code::SUCCESS);
}

#[test]
fn a_handle_that_always_selects_first_is_trusted_until_it_does_not() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared)]);
    for selection in [0, 5, 9] {
        assert_eq!(handles.on_turn(1, &card(0, selection), true, None), Ok(()));
        for selects in [true, false] {
            assert_eq!(handles.on_command(1, selects), Ok(()));
            handles.on_sent(1, selects, 0);
        }
        handles.on_turn_over(1, selection + 1);
    }
    assert_eq!(handles.on_turn(1, &card(0, 20), true, None), Ok(()));
    assert_eq!(handles.on_command(1, false), Err(Code::RESET_CARD), "meant for its own application");
    handles.on_turn_over(1, 20);
    handles.reconnect(1, ShareMode::Shared, 2, CARD).unwrap();
    use_card(&mut handles, 1, &card(0, 20), 20).unwrap();
    assert_eq!(handles.on_turn(1, &card(0, 30), true, None), Err(Code::RESET_CARD), "at once");
}

#[test]
fn a_turn_without_a_command_does_not_hide_a_foreign_selection() {
    let mut handles = table(ExclusiveRule::Virtual, &[(1, ShareMode::Shared)]);
    assert_eq!(handles.on_turn(1, &card(0, 0), true, None), Ok(()));
    assert_eq!(handles.on_command(1, true), Ok(()));
    handles.on_sent(1, true, 0);
    handles.on_turn_over(1, 1);
    for _ in 0..2 {
        assert_eq!(handles.on_turn(1, &card(0, 5), true, None), Ok(()), "trusted to select");
        handles.on_turn_over(1, 5);
    }
    assert_eq!(handles.on_turn(1, &card(0, 5), true, None), Ok(()));
    assert_eq!(handles.on_command(1, true), Ok(()), "but the broker refuses to send it");
    assert_eq!(handles.on_command(1, false), Err(Code::RESET_CARD));
}
