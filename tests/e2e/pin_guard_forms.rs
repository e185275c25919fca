//! The PIN guard on cards of the field: one wrong PIN costs one try, in whatever form a program sends it.

use std::time::Duration;

use cardbroker_client::{Client, Command, ReaderState, hex};
use cardbroker_tests::{
    cards::{
        openpgp::{self, OpenPgpCard, Traits, Tries},
        piv::{self, PivCard},
    },
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
    },
};

use crate::{
    conversation::{Conversation, opening},
    wire::stub,
    world::{READER, answers, tell, told, unit, wait_for},
};

const KEEPS_THE_LAST: &str = "[[reader]]\nmatch = \".*\"\nguard_last_try = true\n";
const READ: &str = "00B0000000";

/// A broker whose first reader has a card like an OpenPGP card.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) card: OpenPgpCard,
    _pcscd: Pcscd,
}

impl World {
    pub(crate) async fn new(traits: Traits, configuration: &str) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(1)?;
        let card = OpenPgpCard::insert(pcscd.port(0), traits)?;
        let broker = Setup::on(&pcscd)?.configuration(configuration).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        Ok(Self { client: broker.client().await?, broker, card, _pcscd: pcscd })
    }

    /// Sends commands after SELECT. Returns the status word of the last one, or the refusal.
    pub(crate) async fn sends(&self, commands: &[&str]) -> anyhow::Result<String> {
        sends(&self.client, &[&[&*select(6)], commands].concat()).await
    }

    /// The remaining tries of PW1.
    pub(crate) fn pw1(&self) -> u8 {
        self.card.tries().pw1
    }
}

/// Sends commands. Returns the status word of the last one, or the refusal.
async fn sends(client: &Client, commands: &[&str]) -> anyhow::Result<String> {
    match unit(client, READER, commands).send().await {
        Ok(transmitted) => {
            let last = transmitted.results.last().map(|result| format!("{:04X}", result.status_word));
            last.ok_or_else(|| anyhow::anyhow!("no answer"))
        }
        Err(error) => Ok(told(&error).split(" at ").next().unwrap_or_default().to_owned()),
    }
}

/// SELECT by so many bytes of the name.
pub(crate) fn select(bytes: usize) -> String {
    format!("00A40400{bytes:02X}{}", hex::format(&openpgp::NAME[..bytes]))
}

/// A command with this header and these digits as data.
pub(crate) fn with(header: &str, data: &str) -> String {
    let data = hex::format(data.as_bytes());
    format!("{header}{:02X}{data}", data.len() / 2)
}

/// CHANGE REFERENCE DATA of PW1.
pub(crate) fn change(old: &str, new: &str) -> String {
    with("00240081", &format!("{old}{new}"))
}

/// The wrong PIN in every form that the card compares with PW1, each as the commands of one unit. It has six digits and
/// so have new PINs, which leaves one length for the old one.
fn forms(wrong: &str) -> Vec<Vec<String>> {
    let (first, rest) = wrong.split_at(2);
    let digits = hex::format(wrong.as_bytes());
    let length = digits.len() / 2;
    let change = |new: &str| change(wrong, new);
    vec![
        vec![with("00200081", wrong)],
        vec![with("00200082", wrong)],
        vec![format!("0020008100{length:04X}{digits}")],
        vec![format!("0020008200{length:04X}{digits}0000")],
        vec![with("10200081", first), with("00200081", rest)],
        vec![with("10200082", first), with("10200082", rest), "00200082".into()],
        vec!["0070000001".into(), select(6).replacen("00A4", "01A4", 1), with("01200081", wrong)],
        vec![format!("00210081{:02X}80{length:02X}{digits}", length + 2)],
        vec![change("111111")],
        vec![change("222222")],
        vec![change("333333").replacen("00240081", "00240082", 1)],
        vec![with("10240081", &format!("{wrong}44")), with("00240081", "4466")],
        vec![format!("00250081{:02X}80{length:02X}{digits}8006353535353535", length + 10)],
        vec![select(16), with("00200081", wrong)],
        vec![select(5), with("00200082", wrong)],
    ]
}

pub(crate) const KNOWN_WRONG: &str = "PIN_KNOWN_WRONG not_sent";
const LAST_TRY: &str = "PIN_LAST_TRY not_sent";

#[test]
fn one_wrong_pin_costs_one_try_in_every_form() -> anyhow::Result<()> {
    tell(async {
        for begin in [0, 4, 8, 12] {
            let world = World::new(Traits::default(), "").await?;
            let mut forms = forms("999999");
            forms.rotate_left(begin);
            let mut first = true;
            for _ in 0..2 {
                for form in &forms {
                    let commands: Vec<_> = form.iter().map(String::as_str).collect();
                    let became = world.sends(&commands).await?;
                    let expected = if first { became.starts_with("63") } else { became == KNOWN_WRONG };
                    assert!(expected, "{form:?} {became}");
                    assert_eq!(world.pw1(), 2, "{form:?}");
                    first = false;
                }
            }
            assert_eq!(world.sends(&[&with("00200082", openpgp::PW1)]).await?, "9000");
            assert_eq!(world.card.tries(), Tries { pw1: 3, code: 3, pw3: 3 });
        }
        Ok(())
    })
}

#[test]
fn a_card_that_says_6982_loses_two_tries() -> anyhow::Result<()> {
    tell(async {
        for begin in [0, 4, 8, 12] {
            let world = World::new(Traits { hides_tries: true, ..Traits::default() }, "").await?;
            let mut forms = forms("999999");
            forms.rotate_left(begin);
            let mut answered = 0;
            for _ in 0..2 {
                for form in &forms {
                    let commands: Vec<_> = form.iter().map(String::as_str).collect();
                    let became = world.sends(&commands).await?;
                    answered += u8::from(became == "6982");
                    assert!(became == KNOWN_WRONG || became == "6982" && answered <= 2, "{form:?} {became}");
                    assert_eq!(world.pw1(), 3 - answered, "{form:?}");
                }
            }
            assert_eq!(world.sends(&[&with("00200081", openpgp::PW1)]).await?, "9000");
        }
        Ok(())
    })
}

#[test]
fn the_resetting_code_and_pw3_have_counters_of_their_own() -> anyhow::Result<()> {
    tell(async {
        let world = World::new(Traits::default(), "").await?;
        let unblock = |code: &str, new: &str| with("002C0081", &format!("{code}{new}"));
        assert_eq!(world.sends(&[&with("00200081", "99999999")]).await?, "63C2");
        assert_eq!(world.sends(&[&unblock("99999999", "111111")]).await?, "6300", "another counter");
        assert_eq!(world.sends(&[&with("00200083", "99999999")]).await?, "63C2", "another counter");
        for again in
            [unblock("99999999", "111111"), unblock("99999999", "222222"), with("00240083", "9999999911111111")]
        {
            assert_eq!(world.sends(&[&again]).await?, KNOWN_WRONG, "{again}");
        }
        assert_eq!(world.card.tries(), Tries { pw1: 2, code: 2, pw3: 2 });
        assert_eq!(world.sends(&[&with("00200083", openpgp::PW3), &with("002C0281", "99999999")]).await?, "9000");
        assert_eq!(world.sends(&[&with("00200081", "99999999")]).await?, "9000", "it is the new one");
        Ok(())
    })
}

#[test]
fn a_name_is_joined_only_if_the_card_has_confirmed_it() -> anyhow::Result<()> {
    tell(async {
        let world = World::new(Traits { hides_name: true, ..Traits::default() }, "").await?;
        let wrong = with("00200081", "999999");
        assert_eq!(world.sends(&[&wrong]).await?, "63C2");
        assert_eq!(world.sends(&[&select(16), &wrong]).await?, "63C1", "it could be another application");
        for bytes in [6, 16] {
            assert_eq!(world.sends(&[&select(bytes), &wrong.replacen("81", "82", 1)]).await?, KNOWN_WRONG);
        }
        assert_eq!(world.pw1(), 1);
        Ok(())
    })
}

#[test]
fn each_finger_is_asked() -> anyhow::Result<()> {
    tell(async {
        let world = World::new(Traits::default(), "").await?;
        for expected in ["63C2", "63C1", "9000"] {
            assert_eq!(world.sends(&["00200096020300"]).await?, expected);
        }
        Ok(())
    })
}

#[test]
fn a_refused_chain_is_not_joined_with_the_next_pin() -> anyhow::Result<()> {
    tell(async {
        let world = World::new(Traits::default(), "").await?;
        assert_eq!(world.sends(&[&with("00200081", "999999")]).await?, "63C2");
        let (link, last) = (with("10200081", "999"), with("00200081", "999"));
        let mut session = Conversation::open(&stub(&world.broker).await?, opening(READER)).await?;
        assert!(session.run(&[&select(6), &link]).await.ends_with("9000"));
        assert_eq!(session.run(&[&last]).await, format!("2: failed {KNOWN_WRONG}"));
        for (number, again) in [(3, &link), (4, &last), (5, &with("00200081", openpgp::PW1))] {
            session.restart(&[again]);
            assert_eq!(session.answer().await, format!("{number}: failed {KNOWN_WRONG}"));
        }
        session.restart(&[READ, &with("00200081", openpgp::PW1)]);
        assert_eq!(session.answer().await, "6: 9000, 9000");
        assert_eq!(world.pw1(), 3);
        Ok(())
    })
}

#[test]
fn the_last_try_is_kept_in_every_form() -> anyhow::Result<()> {
    tell(async {
        for hides_tries in [false, true] {
            let world = World::new(Traits { hides_tries, ..Traits::default() }, KEEPS_THE_LAST).await?;
            // The number of tries is known from a question, and counted down where the card does not say it.
            assert_eq!(world.sends(&["00200081"]).await?, "63C3");
            for wrong in ["00240081", "00200082"].map(|header| with(header, &format!("77{header}"))) {
                assert!(["63C1", "6300", "6982"].contains(&&*world.sends(&[&wrong]).await?), "{wrong}");
            }
            assert_eq!(world.pw1(), 1);
            for form in forms("888888") {
                let commands: Vec<_> = form.iter().map(String::as_str).collect();
                assert_eq!(world.sends(&commands).await?, LAST_TRY, "{form:?}");
            }
            assert_eq!(world.sends(&[&with("002C0081", "99999999111111")]).await?.len(), 4, "another counter");
            assert_eq!((world.pw1(), world.sends(&["00200081"]).await?), (1, "63C1".into()));
            let allowed = Command::new(hex::parse(&with("00200081", openpgp::PW1))?).allow_last_try();
            let select = Command::new(hex::parse(&select(6))?);
            let right = world.client.transmit(READER).command(select).command(allowed).send().await?;
            assert_eq!(answers(&right)[1], "9000");
        }
        Ok(())
    })
}

#[test]
fn the_status_bytes_of_the_card_tell_its_tries() -> anyhow::Result<()> {
    tell(async {
        let traits = Traits { hides_tries: true, ..Traits::default() };
        let world = World::new(traits, KEEPS_THE_LAST).await?;
        for wrong in ["888888", "999999"] {
            assert_eq!(world.sends(&[&with("00200081", wrong)]).await?, "6982");
        }
        assert_eq!(world.sends(&["00CA00C400"]).await?, "9000");
        assert_eq!(world.sends(&[&with("00200082", "777777")]).await?, LAST_TRY);
        assert_eq!(world.pw1(), 1);
        Ok(())
    })
}

/// A command of a PIV card with a PIN or PUK and a new value.
fn piv_with_two(header: &str, old: &str, new: &str) -> String {
    let padded = |pin: &str| hex::format(&piv::verify(pin)[5..]);
    format!("{header}10{}{}", padded(old), padded(new))
}

#[test]
fn one_wrong_pin_costs_a_piv_card_one_try() -> anyhow::Result<()> {
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let _card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
        let broker = Setup::on(&pcscd)?.configuration(KEEPS_THE_LAST).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        let names =
            ["00A4040009A00000030800001000", "00A404000AA0000003080000100001", "00A404000BA000000308000010000100"];
        let wrong = hex::format(&piv::verify("654321"));
        let changes = ["111111", "222222", "333333"].map(|new| piv_with_two("00240080", "654321", new));
        let pin = [std::slice::from_ref(&wrong), &changes].concat();
        let code = ["111111", "222222"].map(|new| piv_with_two("002C0080", "99999999", new));
        let code = [&code[..], &["11111111", "22222222"].map(|new| piv_with_two("00240081", "99999999", new))].concat();
        for forms in [pin, code] {
            let mut first = true;
            for select in names {
                for form in &forms {
                    let became = sends(&client, &[select, form]).await?;
                    assert!(
                        if first { became.starts_with("63") } else { became == KNOWN_WRONG },
                        "{select} {form} {became}"
                    );
                    first = false;
                }
            }
        }
        assert_eq!(sends(&client, &[names[0], "00200080"]).await?, "63C2");
        let others = ["777777", "888888"].map(|old| piv_with_two("00240080", old, "111111"));
        assert_eq!(sends(&client, &[names[1], &others[0]]).await?, "6300");
        for last in [others[1].clone(), hex::format(&piv::verify(piv::PIN))] {
            for select in names {
                assert_eq!(sends(&client, &[select, &last]).await?, LAST_TRY, "{select} {last}");
            }
        }
        assert_eq!(sends(&client, &[names[2], "00200080"]).await?, "63C1");
        Ok(())
    })
}
