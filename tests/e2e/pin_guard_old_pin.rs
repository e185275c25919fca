//! The old PIN in front of a new one, where only the card knows how long the old one is.

use cardbroker_tests::cards::openpgp::{self, Traits};

use crate::{
    pin_guard_forms::{KNOWN_WRONG, World, change, with},
    world::tell,
};

#[test]
fn a_wrong_old_pin_before_new_ones_of_any_length_costs_at_most_two_tries() -> anyhow::Result<()> {
    tell(async {
        let news = ["11111111", "22222222", "3333333", "444444444", "55555555", "777777"];
        for hides_tries in [false, true] {
            for alone_first in [false, true] {
                let world = World::new(Traits { hides_tries, ..Traits::default() }, "").await?;
                if alone_first {
                    assert!(["63C2", "6982"].contains(&&*world.sends(&[&with("00200082", "999999")]).await?));
                }
                for new in news.into_iter().chain(news) {
                    world.sends(&[&change("999999", new)]).await?;
                    assert!(world.pw1() >= 1, "{new}");
                }
                assert_eq!(world.sends(&[&change("999999", "88888888")]).await?, KNOWN_WRONG);
                assert_eq!(world.sends(&[&with("00200081", "999999")]).await?, KNOWN_WRONG);
                assert_eq!(world.sends(&[&change(openpgp::PW1, "88888888")]).await?, "9000");
                assert_eq!(world.sends(&[&with("00200081", "88888888")]).await?, "9000");
            }
        }
        Ok(())
    })
}

#[test]
fn a_corrected_old_pin_reaches_the_card() -> anyhow::Result<()> {
    tell(async {
        let world = World::new(Traits::default(), "").await?;
        assert_eq!(world.sends(&[&change(openpgp::PW1, "12345678")]).await?, "9000");
        assert_eq!(world.sends(&[&change("12345679", "111111")]).await?, "6300");
        assert_eq!(world.sends(&[&change("12345678", "222222")]).await?, "9000", "with another new PIN");
        assert_eq!(world.sends(&[&change("222222", "12345678")]).await?, "9000");
        for typed in ["12345679", "12345677"] {
            assert_eq!(world.sends(&[&change(typed, "111111")]).await?, "6300");
        }
        assert_eq!(world.sends(&[&change("12345678", "111111")]).await?, "9000", "with the same one");
        Ok(())
    })
}
