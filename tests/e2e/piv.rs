//! A PIV card without a broker: the PIN unlocks its key, a reset locks it, and between two programs without a reset it
//! stays unlocked.

use std::time::Duration;

use cardbroker_client::hex;
use cardbroker_tests::{
    cards::piv::{self, PivCard},
    harness::{pcscd::Pcscd, programs::Program},
};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const RESET: &str = "reset";
const VERIFIED: &str = "9000";
const REFUSED: &str = "6982";

fn world() -> anyhow::Result<(Pcscd, PivCard)> {
    let pcscd = Pcscd::start(1)?;
    let card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
    Ok((pcscd, card))
}

fn select() -> String {
    hex::format(&piv::select())
}

fn verify() -> String {
    hex::format(&piv::verify(piv::PIN))
}

fn sign() -> String {
    hex::format(&piv::sign(&[0x5A; 32]))
}

/// Runs the commands with a program of its own, which leaves the card as it is.
fn send(pcscd: &Pcscd, commands: &[String]) -> anyhow::Result<Vec<String>> {
    let reader = pcscd.reader_name(0);
    let commands = commands.iter().map(String::as_str);
    let arguments: Vec<_> = [reader.as_str(), "--send"].into_iter().chain(commands).collect();
    Ok(serde_json::from_value(Program::start(DIRECT, pcscd, &arguments)?.report()?)?)
}

/// Whether an answer is a signature: the template, the response in it, and in that a sequence of two integers.
fn signed(answer: &str) -> bool {
    answer.starts_with("7C4")
        && answer.get(4..6) == Some("82")
        && answer.get(8..10) == Some("30")
        && answer.ends_with("9000")
}

#[test]
fn the_pin_lets_the_key_sign() -> anyhow::Result<()> {
    let (pcscd, card) = world()?;
    let answers = send(&pcscd, &[select(), sign(), verify(), sign()])?;
    assert!(answers[0].ends_with("9000"), "{answers:?}");
    assert_eq!(answers[1..3], [REFUSED, VERIFIED]);
    assert!(signed(&answers[3]), "{answers:?}");
    assert_eq!(card.commands_seen(), 4);
    Ok(())
}

#[test]
fn a_wrong_pin_costs_a_try_and_unlocks_nothing() -> anyhow::Result<()> {
    let (pcscd, _card) = world()?;
    let wrong = hex::format(&piv::verify("654321"));
    assert_eq!(send(&pcscd, &[select(), wrong, sign()])?[1..], ["63C2", REFUSED]);
    Ok(())
}

#[test]
fn a_reset_locks_the_key() -> anyhow::Result<()> {
    let (pcscd, card) = world()?;
    let verified = send(&pcscd, &[select(), verify(), sign()])?;
    assert!(signed(&verified[2]), "{verified:?}");
    let resets = card.resets_seen();
    let answers = send(&pcscd, &[select(), verify(), RESET.into(), select(), sign()])?;
    assert_eq!((answers[1].as_str(), answers[4].as_str()), (VERIFIED, REFUSED));
    assert_eq!(card.resets_seen(), resets + 1);
    Ok(())
}

#[test]
fn without_a_reset_the_next_program_inherits_the_pin() -> anyhow::Result<()> {
    let (pcscd, _card) = world()?;
    assert_eq!(send(&pcscd, &[select(), verify()])?[1], VERIFIED);
    let answers = send(&pcscd, &[select(), sign()])?;
    assert!(signed(&answers[1]), "{answers:?}");
    Ok(())
}

#[test]
fn a_card_survives_hundreds_of_unlocked_keys() -> anyhow::Result<()> {
    let (pcscd, _card) = world()?;
    let commands: Vec<_> = (0..300).flat_map(|_| [select(), verify(), sign(), RESET.into()]).collect();
    let answers = send(&pcscd, &commands)?;
    assert!(answers.chunks(4).all(|round| signed(&round[2])), "{:?}", answers.last_chunk::<8>());
    Ok(())
}
