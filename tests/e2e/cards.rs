//! The virtual card and the private pcscd work as documented: real PC/SC sees the card, its faults and its swaps.

use std::time::Duration;

use anyhow::ensure;
use cardbroker_client::ReaderState;
use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::Setup,
        pcscd::{Pcscd, usual_names},
        programs::Program,
    },
};
use serde_json::{Value, json};

use crate::world::{tell, wait_for, wait_until};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const COUNT: &str = "8010000004";
const SELECT: &str = "00A4040006F04341524401";
const LONG: Duration = cardbroker_tests::harness::LONGEST;

/// A pcscd with a card in its first reader.
fn world(card: CardOptions) -> anyhow::Result<(Pcscd, VirtualCard)> {
    let pcscd = Pcscd::start(1)?;
    let card = VirtualCard::insert(pcscd.port(0), card)?;
    ensure!(card.wait_until(LONG, |seen| seen.resets > 0), "pcscd does not see the card");
    Ok((pcscd, card))
}

fn start(pcscd: &Pcscd, commands: &[&str]) -> anyhow::Result<Program> {
    Program::start(DIRECT, pcscd, &[&[pcscd.reader_name(0).as_str(), "--send"], commands].concat())
}

/// Sends the commands with a program of its own, and returns the answers.
fn send(pcscd: &Pcscd, commands: &[&str]) -> anyhow::Result<Value> {
    start(pcscd, commands)?.report()
}

#[test]
fn both_protocols_are_served_through_pcscd() -> anyhow::Result<()> {
    for protocol in [Protocol::T1, Protocol::T0] {
        let (pcscd, _card) = world(CardOptions { protocol, ..CardOptions::default() })?;
        let answers = send(&pcscd, &[SELECT, "00C0000013", "8014000002010200"])?;
        assert_eq!(answers[0], "6113");
        assert_eq!(answers[1], "6F118406F043415244015307434201000000009000");
        assert_eq!(answers[2], if protocol == Protocol::T1 { "01029000" } else { "6700" });
    }
    Ok(())
}

#[test]
fn extended_length_passes_pcscd() -> anyhow::Result<()> {
    let (pcscd, _card) = world(CardOptions::default())?;
    let data = "5A".repeat(20_000);
    assert_eq!(send(&pcscd, &[&format!("80140000004E20{data}0000")])?, json!([format!("{data}9000")]));
    Ok(())
}

#[test]
fn a_mute_card_does_not_answer_resets_and_recovers() -> anyhow::Result<()> {
    let (pcscd, _card) = world(CardOptions::default())?;
    let answers = send(&pcscd, &["80F004000400020000", "reset", "reset", "reset", COUNT])?;
    assert_eq!(answers, json!(["9000", "UnresponsiveCard", "UnresponsiveCard", "reset", "000000029000"]));
    Ok(())
}

#[test]
fn a_card_pulled_in_mid_command_answers_nothing() -> anyhow::Result<()> {
    let (pcscd, card) = world(CardOptions::default())?;
    card.hang_next(LONG);
    let mut program = start(&pcscd, &[SELECT])?;
    assert!(card.wait_until(LONG, |seen| seen.hanging));
    card.pull();
    assert_eq!(program.report()?, json!([""]));
    Ok(())
}

#[test]
fn a_hang_ends_on_request() -> anyhow::Result<()> {
    let (pcscd, card) = world(CardOptions::default())?;
    card.hang_next(10 * LONG);
    let mut program = start(&pcscd, &[SELECT])?;
    assert!(card.wait_until(LONG, |seen| seen.hanging));
    card.resume();
    assert_eq!(program.report()?, json!(["6113"]));
    Ok(())
}

#[test]
fn broken_exchanges_are_reported_and_the_card_stays() -> anyhow::Result<()> {
    let (pcscd, _card) = world(CardOptions::default())?;
    let answers = send(&pcscd, &["80F007000400000000", "80F006000400000000", "reset", COUNT])?;
    assert_eq!(answers, json!(["90", "", "reset", "000000039000"]));
    Ok(())
}

#[test]
fn a_quick_swap_puts_another_card_in_the_place() -> anyhow::Result<()> {
    let (pcscd, card) = world(CardOptions::default())?;
    let swapped_by_command = send(&pcscd, &["80F003000400000000", "reset", COUNT])?;
    assert_eq!(swapped_by_command, json!(["9000", "reset", "000000019000"]));
    card.swap(CardOptions { serial: 9, ..CardOptions::default() });
    let swapped_by_hand = send(&pcscd, &["reset", SELECT, "00C0000013"])?;
    assert_eq!(swapped_by_hand[2], "6F118406F043415244015307434201000000099000");
    Ok(())
}

#[test]
fn a_card_stays_in_its_reader_while_pcscd_is_restarted() -> anyhow::Result<()> {
    let (mut pcscd, card) = world(CardOptions::default())?;
    assert_eq!(send(&pcscd, &[COUNT])?, json!(["000000019000"]));
    let resets = card.resets_seen();
    pcscd.restart()?;
    assert!(card.wait_until(LONG, |seen| seen.resets > resets));
    assert_eq!(send(&pcscd, &[COUNT])?, json!(["000000029000"]));
    Ok(())
}

#[test]
fn sixteen_readers_have_names_ports_and_cards_of_their_own() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(16)?;
    let places = [1, 8, 15];
    let card = |place: usize| {
        VirtualCard::insert(pcscd.port(place), CardOptions { serial: place as u32, ..CardOptions::default() })
    };
    let cards = places.map(card);
    for (place, card) in places.into_iter().zip(cards) {
        let card = card?;
        let arguments = [&pcscd.reader_name(place), "--send", SELECT, "00C0000013"];
        let fci = format!("6F118406F0434152440153074342010000{place:04X}9000");
        assert_eq!(Program::start(DIRECT, &pcscd, &arguments)?.report()?, json!(["6113", fci]));
        assert_eq!(card.commands_seen(), 2);
    }
    Ok(())
}

#[test]
fn the_broker_follows_pcscd_to_sixteen_readers_and_back() -> anyhow::Result<()> {
    tell(async {
        let mut pcscd = Pcscd::start(14)?;
        let broker = Setup::on(&pcscd)?.start()?;
        let mut watch = broker.client().await?.watch();
        for readers in [14, 16, 2, 16] {
            pcscd.restart_as(&usual_names(readers))?;
            wait_until(&mut watch, |watch| {
                let all = watch.readers();
                all.len() == readers && all.values().all(|reader| reader.state() == ReaderState::Empty)
            })
            .await?;
            let last = readers - 1;
            let _card = VirtualCard::insert(pcscd.port(last), CardOptions::default())?;
            let id = pcscd.reader_name(last).to_lowercase().replace(' ', "-");
            wait_for(&broker, &format!("readers/{id}"), ReaderState::Ready).await?;
        }
        Ok(())
    })
}

#[test]
fn the_broker_serves_sixteen_readers() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(16)?;
        let broker = Setup::on(&pcscd)?.start()?;
        wait_for(&broker, "readers/virtual-pcd-h-00-01", ReaderState::Empty).await?;
        let _card = VirtualCard::insert(pcscd.port(15), CardOptions::default())?;
        wait_for(&broker, "readers/virtual-pcd-h-00-01", ReaderState::Ready).await?;
        assert_eq!(broker.client().await?.readers().await?.len(), 16);
        Ok(())
    })
}
