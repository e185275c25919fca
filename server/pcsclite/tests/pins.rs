//! PINs that the broker keeps from the card: what programs see, and what counts as sent.

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::{Program, World},
    terms::{READ, RESET, TRIES, VERIFY},
};
use crate::{config::Config, pcsclite::IdleTimes};

const WRONG: &[u8] = b"\x00\x20\x00\x80\x0899999999";
const OTHER: &[u8] = b"\x00\x20\x00\x80\x0888888888";

async fn pair(settings: &str) -> (World, [(Program, u32); 2]) {
    let config = Config::parse("c.toml".as_ref(), settings).unwrap();
    let mut world = World::with(config, IdleTimes::default()).await;
    let programs = world.programs().await;
    (world, programs)
}

#[tokio::test]
async fn a_known_wrong_pin_is_answered_like_by_the_card() {
    let (world, [(mut first, one), (mut second, two)]) = pair("").await;
    assert_eq!(first.transmit(one, WRONG).await.unwrap(), [0x63, 0xC2]);
    for (program, handle) in [(&mut first, one), (&mut second, two)] {
        for _ in 0..5 {
            assert_eq!(program.transmit(handle, WRONG).await.unwrap(), [0x63, 0xC2]);
        }
    }
    assert_eq!(second.transmit(two, OTHER).await.unwrap(), [0x63, 0xC1], "it had two tries left");
    assert_eq!(second.transmit(two, WRONG).await.unwrap(), [0x63, 0xC1], "the card's last count");
    assert_eq!(second.transmit(two, VERIFY).await.unwrap(), [0x90, 0x00]);
    world.stop().await;
}

#[tokio::test]
async fn a_known_wrong_pin_does_not_count_as_sent() {
    let (world, [(mut first, one), (mut second, two)]) = pair("").await;
    assert_eq!(first.transmit(one, WRONG).await.unwrap(), [0x63, 0xC2]);
    // The card is reset between the programs, because the first one may have raised its state.
    assert_eq!(second.transmit(two, WRONG).await.unwrap(), [0x63, 0xC2]);
    assert_eq!(first.status(one).await, Code::RESET_CARD);
    assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    // The second one has raised nothing, and has nothing to reset.
    assert_eq!(first.transmit(one, READ).await.unwrap()[2..], [0x90, 0x00]);
    assert_eq!(second.disconnect(two, RESET).await, Code::SUCCESS);
    assert_eq!(first.transmit(one, READ).await.unwrap()[2..], [0x90, 0x00]);
    world.stop().await;
}

#[tokio::test]
async fn the_last_try_of_a_guarded_pin_is_a_security_violation() {
    let (world, [(mut first, one), (mut second, two)]) =
        pair("[[reader]]\nmatch = \".*\"\nguard_last_try = true\n").await;
    assert_eq!(first.transmit(one, WRONG).await.unwrap(), [0x63, 0xC2]);
    assert_eq!(first.transmit(one, OTHER).await.unwrap(), [0x63, 0xC1]);
    for presented in [VERIFY, WRONG] {
        assert_eq!(first.transmit(one, presented).await, Err(Code::SECURITY_VIOLATION));
        assert_eq!(second.transmit(two, presented).await, Err(Code::SECURITY_VIOLATION), "another program's, too");
        assert_eq!(first.reconnect(one, 0).await, Code::SUCCESS);
    }
    assert_eq!(second.transmit(two, TRIES).await.unwrap(), [0x63, 0xC1], "to ask costs nothing");
    world.stop().await;
}
