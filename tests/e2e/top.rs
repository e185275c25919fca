//! `cardbroker top` in a person's terminal.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cardbroker_core::slot::Protocol;
use cardbroker_tests::harness::{broker::Broker, tmux::Tmux};
use rustix::process::{Signal, kill_process};

use crate::{
    status::session_holder,
    world::{COUNT, Stage, arrived, tell, unit},
};

/// A terminal that shows the stage's broker.
fn top(stage: &Stage) -> anyhow::Result<Tmux> {
    top_of(&stage.broker)
}

/// A terminal that shows a broker.
pub(crate) fn top_of(broker: &Broker) -> anyhow::Result<Tmux> {
    let tmux = Tmux::open(&broker.endpoint(), 100, 26)?;
    tmux.enter("cardbroker top --interval 250ms")?;
    tmux.shows(" readers, ")?;
    Ok(tmux)
}

/// The screen when it contains a text, which must be within a second and the interval of the screen.
pub(crate) fn within_a_second(tmux: &Tmux, text: &str) -> anyhow::Result<String> {
    let began = Instant::now();
    let screen = tmux.shows(text)?;
    ensure!(began.elapsed() < Duration::from_millis(1_250), "{text} after {:?}", began.elapsed());
    Ok(screen)
}

/// The line of a screen that contains a text.
fn line<'a>(screen: &'a str, text: &str) -> anyhow::Result<&'a str> {
    screen.lines().find(|line| line.contains(text)).with_context(|| format!("no {text} in\n{screen}"))
}

#[test]
fn the_list_and_the_page_show_holder_and_waiter() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let tmux = top(&stage)?;
        let holder = session_holder(&stage)?;
        let waiting = arrived(&stage.client, unit(&stage.client, stage.reader, &[COUNT])).await?;
        let screen = tmux.shows("1 held, 1 waiting")?;
        let row = line(&screen, "> simulated-reader-00")?;
        assert!(row.contains(&holder.id().to_string()), "{screen}");

        tmux.press(&["Enter"])?;
        let screen = tmux.shows("Commands")?;
        assert!(line(&screen, "Holder")?.contains(&format!("process {} (says \"session-holder\")", holder.id())));
        assert!(line(&screen, "Commands")?.ends_with("1 answered; last: other, well"), "{screen}");
        assert!(line(&screen, "gives up in")?.contains(&std::process::id().to_string()), "{screen}");
        drop(holder);
        waiting.await?;
        let screen = tmux.shows("Holder     nobody")?;
        assert!(screen.contains("1 unit, 1 session"), "{screen}");
        tmux.press(&["q"])?;
        tmux.wait_until("the shell", |screen| !screen.contains("simulated-reader"))?;
        assert!(!tmux.is_full_screen()? && tmux.has_cursor()?);
        Ok(())
    })
}

#[test]
fn a_release_ends_the_session_that_it_names() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let tmux = top(&stage)?;
        let holder = session_holder(&stage)?;
        tmux.shows("1 held")?;
        tmux.press(&["r"])?;
        let screen = tmux.shows("Reason")?;
        assert!(screen.contains("Release the session of") && screen.contains(&holder.id().to_string()), "{screen}");
        tmux.press(&["meeting", "Enter"])?;
        tmux.shows("y release")?;
        tmux.press(&["y"])?;
        tmux.shows("released: readers/simulated-reader-00")?;
        tmux.shows("0 held")?;
        assert!(stage.broker.settled_log().contains("meeting"));
        tmux.press(&["Enter"])?;
        tmux.shows("turn failed (lease revoked)")?;
        Ok(())
    })
}

#[test]
fn a_denial_is_shown_with_its_rule_and_caller() -> anyhow::Result<()> {
    let rules = "[[rule]]\nname = \"no sessions\"\nprincipals = [\"self\"]\nreaders = [\".*00\"]\ndeny = [\"session\"]";
    tell(async {
        let stage = Stage::simulated_with(Protocol::T1, rules).await?;
        let tmux = top(&stage)?;
        tmux.press(&["Enter"])?;
        tmux.shows("Holder     nobody")?;
        assert!(stage.client.open_session(stage.reader).open().await.is_err());
        let page = within_a_second(&tmux, "session is denied by rule \"no sessions\"")?;
        assert!(line(&page, "session is denied")?.contains("denied"), "{page}");
        assert!(page.contains("1 denied") && page.contains(&std::process::id().to_string()), "{page}");
        Ok(())
    })
}

#[test]
fn a_restart_is_survived_and_sigterm_restores_the_terminal() -> anyhow::Result<()> {
    tell(async {
        let mut stage = Stage::simulated(Protocol::T1).await?;
        let tmux = top(&stage)?;
        stage.broker.stop()?;
        tmux.shows("reconnecting for ")?;
        stage.broker.start_again()?;
        tmux.shows("every 250 ms")?;
        assert!(tmux.is_full_screen()? && !tmux.has_cursor()?);

        tmux.press(&["C-z"])?;
        tmux.wait_until("the shell", |screen| !screen.contains("simulated-reader"))?;
        tmux.enter("fg")?;
        tmux.shows("every 250 ms")?;

        kill_process(tmux.child()?, Signal::TERM)?;
        tmux.wait_until("the shell", |screen| !screen.contains("simulated-reader"))?;
        tmux.enter("echo code $?; stty -a | tr ' ;' '\\n' | grep -x icanon")?;
        tmux.shows("code 0\nicanon")?;
        assert!(!tmux.is_full_screen()? && tmux.has_cursor()?);
        Ok(())
    })
}
