//! PINs that the broker keeps from the card, and PC/SC programs of the system that present them.

use std::process::Command;

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::{
        VirtualCard,
        openpgp::{NAME, OpenPgpCard, PW1, Traits},
        piv,
    },
    harness::{broker::Setup, pcscd::Pcscd, run::run},
};

use crate::{
    pcsc_programs::send,
    piv_world::PivWorld,
    world::{READER, VERIFY, tell, wait_for},
};

const WRONG: &str = "00200080083939393939393939";
const OTHER: &str = "00200080083838383838383838";
const TRIES: &str = "00200080";

#[test]
fn opensc_says_that_a_known_wrong_pin_is_wrong() -> anyhow::Result<()> {
    tell(async {
        let world = PivWorld::with(|setup| setup.door("")).await?;
        let (select, mut left) = (hex::format(&piv::select()), Vec::new());
        for pin in ["654321", "654321", "654321", piv::PIN] {
            let mut tool = Command::new("pkcs15-tool");
            tool.args(["--verify-pin", "--pin", pin]).env("PCSCLITE_CSOCK_NAME", world.broker.door());
            let tried = run(&mut tool).context("is opensc installed?")?;
            ensure!((tried.code == Some(0)) == (pin == piv::PIN), "{tried:?}");
            ensure!(tried.code == Some(0) || tried.err.contains("PIN code or key incorrect"), "{tried:?}");
            let asked = send(world.broker.door(), &world.pcscd.reader_name(0), &[&select, TRIES])?;
            left.push(asked[1].clone());
        }
        assert_eq!(left, ["63C2", "63C2", "63C2", "63C3"]);
        Ok(())
    })
}

#[test]
fn a_known_wrong_pin_without_a_count_has_an_error_of_its_own() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let card = OpenPgpCard::insert(pcscd.port(0), Traits { hides_tries: true, ..Traits::default() })?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let select = format!("00A40400{:02X}{}00", NAME.len(), hex::format(NAME));
        let [wrong, right] =
            ["654321", PW1].map(|pin| format!("00200081{:02X}{}", pin.len(), hex::format(pin.as_bytes())));
        let answers = send(broker.door(), &pcscd.reader_name(0), &[&select, &wrong, &wrong, &wrong])?;
        assert_eq!(answers[1..], ["6982", "6982", "WrongChv"], "6982 may mean something else once");
        assert_eq!(send(broker.door(), &pcscd.reader_name(0), &[&select, &wrong])?[1], "WrongChv", "another program");
        assert_eq!(card.tries().pw1, 1);
        assert_eq!(send(broker.door(), &pcscd.reader_name(0), &[&select, &right])?[1], "9000");
        Ok(())
    })
}

#[test]
fn the_last_try_of_a_guarded_pin_does_not_reach_the_card() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.door("[[reader]]\nmatch = \".*\"\nguard_last_try = true\n").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        assert_eq!(send(broker.door(), &pcscd.reader_name(0), &[WRONG, WRONG, OTHER])?, ["63C2", "63C2", "63C1"]);
        let presented = card.seen().by_instruction[0x20];
        assert_eq!(
            send(broker.door(), &pcscd.reader_name(0), &[VERIFY, WRONG])?,
            ["SecurityViolation", "SecurityViolation"]
        );
        assert_eq!(card.seen().by_instruction[0x20], presented);
        assert_eq!(send(broker.door(), &pcscd.reader_name(0), &[TRIES])?, ["63C1"]);
        Ok(())
    })
}
