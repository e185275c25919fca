//! The PIN guard: a PIN that the card has refused is not sent to it again, so that a program in a loop cannot block the
//! card.

use std::time::Duration;

use cardbroker_client::{CardReset, Command, ErrorReason, ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::piv::{self, PivCard},
    harness::{broker::Setup, pcscd::Pcscd, programs::Program, run::cardbroker, run::run},
};

use crate::{
    conversation::{Conversation, opening},
    wire::stub,
    world::{
        INCREMENT, LONG, PcscWorld, READER, SELECT_AND_FETCH, Stage, VERIFY, answers, over_both_backends, refusal,
        tell, unit, wait_for,
    },
};

const WRONG: &str = "00200080083939393939393939";
/// A wrong PIN followed by bytes that make the command malformed; a T=1 card ignores them.
const UNREADABLE: &str = "002000800838383838383838380000";
const OTHER: &str = "00200080083838383838383838";
/// Commands of the card's own that send no data and are answered with data.
const OWN: [&str; 2] = ["8010000002", INCREMENT];
/// A VERIFY without a PIN: queries the number of tries left.
const TRIES: &str = "00200080";
const KNOWN_WRONG: &str = "PIN_KNOWN_WRONG not_sent";

over_both_backends! { T1:
    a_loop_with_a_wrong_pin_blocks_no_card,
    a_refused_pin_is_withheld_for_every_program,
    another_wrong_pin_is_sent,
    the_right_pin_restores_all_tries,
    a_pin_is_wrong_for_one_application_only,
    a_session_gets_the_refusal_and_goes_on,
    a_refused_pin_in_unreadable_bytes_is_withheld,
    a_withheld_pin_has_its_number_of_tries,
}

mod strict_t0 {
    use super::*;
    over_both_backends! { T0: a_loop_with_a_wrong_pin_blocks_no_card }
    async fn a_loop_with_a_wrong_pin_blocks_no_card(stage: Stage) -> anyhow::Result<()> {
        super::a_loop_with_a_wrong_pin_blocks_no_card(stage).await
    }
}

mod switched_off {
    use super::*;
    over_both_backends! { T1, "[[reader]]\nmatch = \".*\"\npin_guard = false\n": every_try_is_spent }
    async fn every_try_is_spent(stage: Stage) -> anyhow::Result<()> {
        for answer in ["63C2", "63C1", "63C0", "6983"] {
            assert_eq!(stage.run(&[WRONG]).await?, [answer]);
        }
        Ok(())
    }
}

mod last_try {
    use super::*;
    over_both_backends! { T1, "[[reader]]\nmatch = \".*\"\nguard_last_try = true\n":
        the_last_try_needs_allow_last_try,
        a_queried_retry_counter_is_used,
        unreadable_bytes_do_not_bypass_the_guard,
    }
    async fn unreadable_bytes_do_not_bypass_the_guard(stage: Stage) -> anyhow::Result<()> {
        let two = (stage.run(&[WRONG]).await?, answers(&stage.raw_unit(&[UNREADABLE]).send().await?));
        assert_eq!(two, (vec!["63C2".into()], vec!["63C1".into()]), "the card's answer to them counts, too");
        for presented in [VERIFY, UNREADABLE, "002000800831323334353637380000", "0021008002FF"] {
            assert_eq!(refusal(stage.raw_unit(&[presented])).await?, "PIN_LAST_TRY not_sent", "{presented}");
        }
        let allowed = Command::new(hex::parse("002000800831323334353637380000")?).raw().allow_last_try();
        let right = stage.client.transmit(stage.reader).command(allowed).send().await?;
        assert_eq!(answers(&right), ["9000"]);
        assert_eq!(stage.run(&[WRONG]).await?, ["63C2"], "there are more tries again");
        Ok(())
    }
    async fn the_last_try_needs_allow_last_try(stage: Stage) -> anyhow::Result<()> {
        assert_eq!(
            (stage.run(&[WRONG]).await?, stage.run(&[OTHER]).await?),
            (vec!["63C2".into()], vec!["63C1".into()])
        );
        assert_eq!(refusal(stage.unit(&[VERIFY])).await?, "PIN_LAST_TRY not_sent");
        assert_eq!(stage.unit(&[VERIFY]).send().await.unwrap_err().tries_left(), Some(1));
        assert_eq!(stage.run(&[TRIES]).await?, ["63C1"], "to ask costs nothing");
        let allowed = |apdu| Command::new(hex::parse(apdu).unwrap()).allow_last_try();
        let known = stage.client.transmit(stage.reader).command(allowed(WRONG));
        assert_eq!(refusal(known).await?, KNOWN_WRONG, "that it may use the last try does not make it right");
        let told = refusal(stage.unit(&[WRONG])).await?;
        assert_eq!(told, "PIN_LAST_TRY not_sent", "others do not learn whether it was tried");
        let right = stage.client.transmit(stage.reader).command(allowed(VERIFY)).send().await?;
        assert_eq!(answers(&right), ["9000"]);
        assert_eq!(stage.run(&[VERIFY]).await?, ["9000"], "there are more tries again");
        Ok(())
    }
    async fn a_queried_retry_counter_is_used(stage: Stage) -> anyhow::Result<()> {
        assert_eq!(
            (stage.run(&[WRONG]).await?, stage.run(&[OTHER]).await?),
            (vec!["63C2".into()], vec!["63C1".into()])
        );
        // In another application nothing is known before the card is queried.
        let unasked = stage.unit(&[SELECT_AND_FETCH, TRIES]).send().await?;
        assert_eq!(answers(&unasked)[1], "63C1");
        let told = refusal(stage.unit(&[SELECT_AND_FETCH, VERIFY])).await?;
        assert_eq!(told, "PIN_LAST_TRY not_sent at 1 after 1 answers");
        let allowing = ["transmit", stage.reader, SELECT_AND_FETCH, VERIFY, "--allow-last-try"];
        let program = run(&mut cardbroker(&stage.broker.endpoint(), &allowing)?)?;
        assert!(program.out.ends_with("\n9000\n"), "{program:?}");
        Ok(())
    }
}

async fn a_loop_with_a_wrong_pin_blocks_no_card(stage: Stage) -> anyhow::Result<()> {
    assert_eq!(stage.run(&[WRONG]).await?, ["63C2"]);
    for _ in 0..20 {
        assert_eq!(refusal(stage.unit(&[WRONG])).await?, KNOWN_WRONG);
        assert_eq!(refusal(stage.raw_unit(&[WRONG]).reset_before(CardReset::Warm)).await?, KNOWN_WRONG);
        let within = refusal(stage.unit(&["00B0000005", "00B0000105", WRONG, TRIES])).await?;
        assert_eq!(within, "PIN_KNOWN_WRONG not_sent at 2 after 2 answers");
        assert_eq!(stage.run(&OWN).await?.len(), 2);
    }
    assert_eq!(stage.run(&[TRIES]).await?, ["63C2"]);
    assert_eq!(stage.run(&[VERIFY]).await?, ["9000"]);
    Ok(())
}

async fn a_refused_pin_is_withheld_for_every_program(stage: Stage) -> anyhow::Result<()> {
    assert_eq!(stage.run(&[WRONG]).await?, ["63C2"]);
    let other = run(&mut cardbroker(&stage.broker.endpoint(), &["transmit", stage.reader, WRONG])?)?;
    assert_eq!((other.code, &*other.out), (Some(1), ""), "{other:?}");
    assert!(other.err.contains("already rejected this PIN") && !other.err.contains("3939"), "{other:?}");
    let right = run(&mut cardbroker(&stage.broker.endpoint(), &["transmit", stage.reader, TRIES, "--json"])?)?;
    assert!(right.out.contains("63C2"), "{right:?}");
    Ok(())
}

async fn a_withheld_pin_has_its_number_of_tries(stage: Stage) -> anyhow::Result<()> {
    for (presented, tries, words) in [(WRONG, 2, "(2 tries left)"), (OTHER, 1, "(1 try left)")] {
        assert_eq!(stage.run(&[presented]).await?, [format!("63C{tries}")]);
        for known in [WRONG, presented] {
            let refused = stage.unit(&[known]).send().await.unwrap_err();
            assert_eq!((refused.reason(), refused.tries_left()), (Some(ErrorReason::PinKnownWrong), Some(tries)));
            let stopped = stage.unit(&[INCREMENT, known]).send().await.unwrap_err();
            assert_eq!(stopped.tries_left(), Some(tries), "{stopped:?}");
        }
        let transmit = |arguments: &[&str]| {
            run(&mut cardbroker(&stage.broker.endpoint(), &[&["transmit", stage.reader], arguments].concat())?)
        };
        let text = transmit(&[WRONG])?;
        assert!(text.err.ends_with(&format!("{words}\n")) && text.code == Some(1), "{text:?}");
        let refused: serde_json::Value = serde_json::from_str(&transmit(&[WRONG, "--json"])?.err)?;
        assert_eq!(refused["error"]["tries_left"], tries, "{refused}");
        let stopped: serde_json::Value = serde_json::from_str(&transmit(&[INCREMENT, WRONG, "--json"])?.out)?;
        assert_eq!(stopped["stopped"]["tries_left"], tries, "{stopped}");
    }
    let unrelated = stage.unit(&["00B0810005", WRONG]).send().await.unwrap_err();
    assert_eq!((unrelated.reason(), unrelated.tries_left()), (Some(ErrorReason::StatusWord), None));
    Ok(())
}

async fn another_wrong_pin_is_sent(stage: Stage) -> anyhow::Result<()> {
    assert_eq!((stage.run(&[WRONG]).await?, stage.run(&[OTHER]).await?), (vec!["63C2".into()], vec!["63C1".into()]));
    assert_eq!(
        (refusal(stage.unit(&[WRONG])).await?, refusal(stage.unit(&[OTHER])).await?),
        (KNOWN_WRONG.into(), KNOWN_WRONG.into())
    );
    assert_eq!(stage.run(&[VERIFY]).await?, ["9000"]);
    Ok(())
}

async fn the_right_pin_restores_all_tries(stage: Stage) -> anyhow::Result<()> {
    for _ in 0..3 {
        assert_eq!(stage.run(&[WRONG]).await?, ["63C2"]);
        assert_eq!(refusal(stage.unit(&[WRONG])).await?, KNOWN_WRONG);
        assert_eq!(stage.run(&[VERIFY]).await?, ["9000"]);
    }
    Ok(())
}

async fn a_pin_is_wrong_for_one_application_only(stage: Stage) -> anyhow::Result<()> {
    assert_eq!(stage.run(&[WRONG]).await?, ["63C2"]);
    assert_eq!(answers(&stage.unit(&[SELECT_AND_FETCH, WRONG]).send().await?)[1], "63C1");
    assert_eq!(refusal(stage.unit(&[WRONG])).await?, KNOWN_WRONG, "still selected");
    let again = refusal(stage.unit(&[SELECT_AND_FETCH, WRONG]).reset_before(CardReset::Warm)).await?;
    assert_eq!(again, "PIN_KNOWN_WRONG not_sent at 1 after 1 answers");
    assert_eq!(
        refusal(stage.unit(&[WRONG]).reset_before(CardReset::Warm)).await?,
        KNOWN_WRONG,
        "nor where nothing is selected"
    );
    assert_eq!(stage.run(&[VERIFY]).await?, ["9000"]);
    Ok(())
}

async fn a_session_gets_the_refusal_and_goes_on(stage: Stage) -> anyhow::Result<()> {
    let mut session = Conversation::open(&stub(&stage.broker).await?, opening(stage.reader)).await?;
    assert_eq!(session.run(&[WRONG]).await, "1: 63C2");
    assert_eq!(session.run(&[WRONG]).await, format!("2: failed {KNOWN_WRONG}"));
    session.restart(&["00B0000002", WRONG]);
    assert_eq!(session.answer().await, format!("3: 0001 9000; stopped at 1: {KNOWN_WRONG}"));
    session.reset_card(false);
    assert!(session.answer().await.starts_with("4: reset"));
    assert_eq!(session.run(&[TRIES, VERIFY]).await, "5: 63C2; stopped at 1: STATUS_WORD not_sent");
    assert_eq!(session.run(&[VERIFY]).await, "6: 9000");
    assert_eq!(session.close().await, ["over: OK"]);
    Ok(())
}

async fn a_refused_pin_in_unreadable_bytes_is_withheld(stage: Stage) -> anyhow::Result<()> {
    assert_eq!(answers(&stage.raw_unit(&[UNREADABLE]).send().await?), ["63C2"]);
    for _ in 0..5 {
        assert_eq!(refusal(stage.raw_unit(&[UNREADABLE])).await?, KNOWN_WRONG);
        assert_eq!(refusal(stage.raw_unit(&[UNREADABLE]).reset_before(CardReset::Cold)).await?, KNOWN_WRONG);
        let within = refusal(stage.raw_unit(&["00B0000005", UNREADABLE, TRIES])).await?;
        assert_eq!(within, "PIN_KNOWN_WRONG not_sent at 1 after 1 answers");
    }
    let mut session = Conversation::open(&stub(&stage.broker).await?, opening(stage.reader)).await?;
    assert_eq!(session.run_raw(UNREADABLE).await, format!("1: failed {KNOWN_WRONG}"));
    assert_eq!(session.close().await, ["over: OK"]);
    // All bytes after the header were presented: any other bytes are another value.
    assert_eq!(answers(&stage.raw_unit(&["0020008008383838383838383800FF"]).send().await?), ["63C1"]);
    assert_eq!(stage.run(&[TRIES]).await?, ["63C1"]);
    assert_eq!(stage.run(&[VERIFY]).await?, ["9000"]);
    Ok(())
}

#[test]
fn another_card_gets_the_pin_again() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let client = world.broker.client().await?;
        for _ in 0..2 {
            assert_eq!(answers(&unit(&client, READER, &[WRONG]).wait_for_card().send().await?), ["63C2"]);
            assert_eq!(refusal(unit(&client, READER, &[WRONG])).await?, KNOWN_WRONG);
            world.card.pull();
            wait_for(&world.broker, READER, ReaderState::Empty).await?;
            world.card.swap(CardOptions::default());
        }
        Ok(())
    })
}

#[test]
fn a_card_used_by_other_programs_gets_the_pin_again() -> anyhow::Result<()> {
    tell(async {
        let rule = "[[reader]]\nmatch = \".*\"\nown = \"on_demand\"\nrelease_after = \"1s\"\n";
        let world = PcscWorld::new(rule, CardOptions::default()).await?;
        let client = world.broker.client().await?;
        assert_eq!(answers(&unit(&client, READER, &[WRONG]).send().await?), ["63C2"]);
        assert_eq!(refusal(unit(&client, READER, &[WRONG])).await?, KNOWN_WRONG);
        let reader = world.pcscd.reader_name(0);
        let ask =
            || Program::start(env!("CARGO_BIN_EXE_direct-pcsc"), &world.pcscd, &[&reader, "--send", TRIES])?.report();
        let deadline = std::time::Instant::now() + LONG;
        let told: serde_json::Value = loop {
            match ask() {
                Ok(told) => break told,
                Err(_) => assert!(std::time::Instant::now() < deadline, "not released in time"),
            }
        };
        assert_eq!(told, serde_json::json!(["63C2"]));
        // The other program may have changed the PIN: finding out costs a try.
        assert_eq!(answers(&unit(&client, READER, &[WRONG]).send().await?), ["63C1"]);
        Ok(())
    })
}

/// CHANGE REFERENCE DATA and RESET RETRY COUNTER of a PIV card.
fn with_two(instruction: u8, old: &str, new: &str) -> String {
    let padded = |pin: &str| hex::format(&piv::verify(pin)[5..]);
    format!("00{instruction:02X}008010{}{}", padded(old), padded(new))
}

#[test]
fn a_refused_pin_can_become_the_real_cards_new_pin() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let _card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
        let broker = Setup::on(&pcscd)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        let [select, wrong, right] =
            [piv::select(), piv::verify("654321"), piv::verify(piv::PIN)].map(|apdu| hex::format(&apdu));
        let piv = |apdu: &str| unit(&client, READER, &[&select, apdu]);
        let answer = async |apdu: &str| anyhow::Ok(answers(&piv(apdu).send().await?)[1].clone());

        assert_eq!(answer(&wrong).await?, "63C2");
        let known_wrong = "PIN_KNOWN_WRONG not_sent at 1 after 1 answers";
        assert_eq!(refusal(piv(&with_two(0x24, "654321", "111111"))).await?, known_wrong, "as the old one, too");
        let unblock = with_two(0x2C, "00000000", "111111");
        let refused = answer(&unblock).await?;
        assert!(refused.starts_with("63"), "{refused}");
        for _ in 0..5 {
            assert_eq!(refusal(piv(&unblock)).await?, known_wrong);
            assert_eq!(refusal(piv(&wrong)).await?, known_wrong);
        }
        let sign = hex::format(&piv::sign(&[0x5A; 32]));
        let signed = unit(&client, READER, &[&select, &right, &sign]).send().await?;
        assert!(answers(&signed)[2].ends_with(" 9000"), "{:?}", answers(&signed));

        assert_eq!(answer(&wrong).await?, "63C2");
        assert_eq!(answer(&with_two(0x24, piv::PIN, "654321")).await?, "9000");
        assert_eq!(answer(&wrong).await?, "9000", "it is the right one now");
        Ok(())
    })
}
