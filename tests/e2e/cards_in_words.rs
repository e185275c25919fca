//! Cards, commands and answers in words, as a person at a terminal of 80 columns sees them.

use anyhow::ensure;
use cardbroker_core::slot::Protocol;
use cardbroker_tests::harness::tmux::Tmux;

use crate::world::{Stage, tell};

/// The card's count of commands: it must not change where nothing is sent.
const COUNT: &str = "8010000004";

/// Fails if a line does not fit the terminal; an error is always one line, however long.
fn fits(screen: &str) -> anyhow::Result<()> {
    let wide = screen.lines().find(|line| line.chars().count() > 80 && !line.starts_with("cardbroker: "));
    ensure!(wide.is_none(), "{screen}");
    Ok(())
}

#[test]
fn looking_at_a_card_sends_nothing() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let count = || stage.broker.cardbroker(&["transmit", "reader-00", COUNT]);
        assert_eq!(count()?.out, "00000001 9000\n");
        for look in [&["readers"][..], &["card", "reader-00"], &["watch", "--count", "1"], &["wait"]] {
            let run = stage.broker.cardbroker(look)?;
            ensure!(run.code == Some(0) && run.err.is_empty(), "{run:?}");
        }
        assert_eq!(count()?.out, "00000002 9000\n");
        let run = stage.broker.cardbroker(&["reset", "reader-00"])?;
        let expected = "readers/simulated-reader-00 was reset, ATR 3B880180664342000000006E\n";
        assert_eq!((run.code, &*run.out, &*run.err), (Some(0), expected, ""));
        Ok(())
    })
}

#[test]
fn a_person_talks_to_a_card_in_words() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let tmux = Tmux::open(&stage.broker.endpoint(), 80, 40)?;
        tmux.enter("cardbroker card reader-00")?;
        fits(&tmux.shows("check byte, correct")?)?;
        tmux.enter("clear; cardbroker session reader-00")?;
        tmux.shows("simulated-reader-00>")?;
        tmux.enter("sel")?;
        tmux.shows("neither an APDU nor one of the words select, pin")?;
        tmux.enter("select F04341524401")?;
        let screen = tmux.shows("84 DF name: F0 43 41 52 44 01")?;
        ensure!(
            screen.contains("< 9000  done, 19 bytes") && screen.contains("6F file control information"),
            "{screen}"
        );
        tmux.enter("00B2010410 # the record")?;
        tmux.shows("53 69 6D 75 6C 61 74 65  64 20 72 65 63 6F 72 64  |Simulated record|")?;
        tmux.enter("00B0810020 =9000")?;
        tmux.shows("expected 9000")?;
        tmux.enter("pin")?;
        tmux.shows("PIN 80 (not shown):")?;
        tmux.enter("12345678")?;
        let screen = tmux.shows("VERIFY reference 80")?;
        let shown = screen.replace(' ', "");
        ensure!(!shown.contains("12345678") && !shown.contains("3132333435363738"), "{screen}");
        tmux.enter("00B0810020 =9000")?;
        let screen = tmux.shows("< 9000  done, 32 bytes")?;
        fits(&screen)?;
        tmux.enter("quit")?;
        tmux.shows("shell>")?;
        Ok(())
    })
}
