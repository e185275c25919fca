//! A PIN that the card has refused is sent again on request, if the policy permits it.

use cardbroker_client::{Client, Command, Delivery, Error, ErrorReason, hex};
use cardbroker_tests::cards::openpgp::{Traits, Tries};

use crate::{
    pin_guard_forms::{KNOWN_WRONG, World, select, with},
    world::{READER, answers, tell},
};

/// A command that may repeat a known wrong PIN, after SELECT.
async fn repeat(client: &Client, wrong: &str) -> anyhow::Result<Result<String, Error>> {
    let commands = [Command::new(hex::parse(&select(6))?), Command::new(hex::parse(wrong)?).allow_known_wrong()];
    let sent = client.transmit(READER).commands(commands).send().await;
    Ok(sent.map(|transmitted| answers(&transmitted).pop().unwrap_or_default()))
}

#[test]
fn a_known_wrong_pin_is_sent_on_request() -> anyhow::Result<()> {
    tell(async {
        let world = World::new(Traits::default(), "").await?;
        let wrong = with("00200081", "999999");
        assert_eq!(world.sends(&[&wrong]).await?, "63C2");
        assert_eq!(repeat(&world.client, &wrong).await??, "63C1");
        assert_eq!(world.sends(&[&wrong]).await?, KNOWN_WRONG);
        let line = world.broker.cardbroker(&["transmit", READER, &select(6), &wrong, "--allow-known-wrong"])?;
        assert!(line.out.ends_with("\n63C0\n"), "{line:?}");
        assert!(world.client.broker().await?.capabilities.contains(&"allow_known_wrong".to_owned()));
        Ok(())
    })
}

#[test]
fn the_policy_decides_who_may_repeat_a_wrong_pin() -> anyhow::Result<()> {
    tell(async {
        let rules = "
            [[rule]]
            name = 'repeat PW3'
            principals = ['self']
            allow = ['guard_override']
            commands = [{ instruction = '20', p2 = '83', application = 'D27600012401' }]
            [[rule]]
            name = 'no repeats'
            principals = ['self']
            deny = ['guard_override']
            ";
        let world = World::new(Traits::default(), rules).await?;
        let [wrong, other] = ["00200081", "00200083"].map(|header| with(header, "99999999"));
        for first in [&wrong, &other] {
            assert_eq!(world.sends(&[first]).await?, "63C2");
        }
        let denied = repeat(&world.client, &wrong).await?.unwrap_err();
        assert_eq!((denied.reason(), denied.delivery()), (Some(ErrorReason::Denied), Delivery::NotSent));
        let text = denied.to_string();
        assert!(text.contains("denied by rule \"no repeats\" (guard_override)"), "{text}");
        assert_eq!(repeat(&world.client, &other).await??, "63C1");
        let session = world.client.open_session(READER).open().await?;
        let repeated = Command::new(hex::parse(&wrong)?).allow_known_wrong();
        let denied = session.transmit([repeated]).send().await.unwrap_err();
        assert_eq!(denied.reason(), Some(ErrorReason::Denied));
        session.close().await?;
        assert_eq!(world.card.tries(), Tries { pw1: 2, code: 3, pw3: 1 });
        Ok(())
    })
}
