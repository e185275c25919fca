//! `cardbroker doctor --winscard`: what differs between the PC/SC of systems, tried at the reader by a person.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        LONGEST,
        broker::Setup,
        habits::{Habit, Habits},
        pcscd::Pcscd,
        programs::Program,
        run::{Run, cardbroker, wait},
    },
};
use serde_json::Value;

use crate::world::{READER, tell, wait_for};

/// The check on this pcscd, with these habits.
fn check_on(pcscd: &Pcscd, habits: Option<&Habits>, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = program(arguments)?;
    command.env("PCSCLITE_CSOCK_NAME", pcscd.socket());
    command.envs(habits.map(Habits::variables).into_iter().flatten());
    Ok(command)
}

fn program(arguments: &[&str]) -> anyhow::Result<Command> {
    cardbroker("unix:/nonexistent/socket", &[&["doctor", "--winscard"], arguments].concat())
}

/// Runs a program with a person who obeys each prompt by `hand`.
fn with_prompts(mut command: Command, mut hand: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<Run> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("no standard output")?;
    let out = thread::spawn(move || {
        let mut out = String::new();
        stdout.read_to_string(&mut out).map(|_| out)
    });
    let mut err = String::new();
    for line in BufReader::new(child.stderr.take().context("no standard error")?).lines() {
        let line = line?;
        if let Some(prompt) = line.strip_prefix("> ") {
            hand(prompt)?;
        }
        err += &format!("{line}\n");
    }
    let code = wait(&mut child, LONGEST)?.code();
    Ok(Run { code, out: out.join().ok().context("no reader")??, err })
}

/// The outcome and the text of a step.
fn step<'a>(run: &'a Run, step: &str) -> anyhow::Result<(&'a str, &'a str)> {
    let found = run.out.lines().find_map(|line| {
        let (outcome, rest) = line.split_once(' ')?;
        let text = rest.trim_start().strip_prefix(step)?;
        text.starts_with("  ").then(|| (outcome, text.trim_start()))
    });
    found.with_context(|| format!("no step {step}: {run:?}"))
}

/// The hand that takes the card out and inserts it.
fn move_card(card: &VirtualCard, prompt: &str) {
    if prompt.starts_with("Take") {
        card.pull();
    }
    if prompt.starts_with("Insert") {
        card.swap(CardOptions::default());
    }
}

#[test]
fn everything_is_usual_on_pcsc_lite() -> anyhow::Result<()> {
    let mut pcscd = Pcscd::start(1)?;
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    assert!(card.wait_until(LONGEST, |seen| seen.resets > 0));
    let reader = pcscd.reader_name(0);
    let command = check_on(&pcscd, None, &["--wait", "20s", "--reader", &reader])?;
    let run = with_prompts(command, |prompt| {
        move_card(&card, prompt);
        if prompt.starts_with("Unplug") {
            pcscd.kill()?;
        }
        if prompt.starts_with("Plug") {
            pcscd.restart()?;
        }
        Ok(())
    })?;
    assert_eq!(run.code, Some(0), "{run:?}");
    for usual in ["service", "readers", "waits", "announcer", "hold", "reset", "direct", "kept handle", "fresh handle"]
    {
        assert_eq!(step(&run, usual)?.0, "usual", "{usual}: {run:?}");
    }
    assert!(step(&run, "readers")?.1.ends_with(&format!("; checked: {reader}")), "{run:?}");
    assert_eq!(step(&run, "plug and play")?.0, "usual", "{run:?}");
    let (outcome, text) = step(&run, "service stop")?;
    assert!(outcome == "unusual" && text.starts_with("the context ends with ") && text.contains("; back after "));
    for skipped in ["second pipe", "left pipe", "second user"] {
        assert_eq!(step(&run, skipped)?.0, "skipped");
    }
    assert!(run.out.lines().count() <= 20 && run.err.lines().count() == 6, "{run:?}");
    Ok(())
}

#[test]
fn habits_of_windows_are_found() -> anyhow::Result<()> {
    let habits =
        [Habit::DeadHandle, Habit::ServiceStops, Habit::ReturnsAtOnce, Habit::NoAnnouncer, Habit::DirectExcludes];
    let habits = Habits::new(&habits)?;
    let pcscd = Pcscd::start(1)?;
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let run = with_prompts(check_on(&pcscd, Some(&habits), &["--wait", "20s"])?, |prompt| {
        move_card(&card, prompt);
        if prompt.starts_with("Unplug") {
            habits.unplug()?;
        }
        if prompt.starts_with("Plug") {
            habits.plug_in()?;
        }
        Ok(())
    })?;
    assert_eq!(run.code, Some(0), "{run:?}");
    for (name, said) in [
        ("waits", "waits return at once with the same states"),
        ("announcer", "new readers are not announced"),
        ("direct", "beside a shared handle: SharingViolation (0x8010000B)"),
        ("kept handle", "SCardReconnect is refused"),
        ("service stop", "the context ends with ServiceStopped (0x8010001E)"),
        ("service stop", "a new context: NoService (0x8010001D); back after "),
    ] {
        let (outcome, text) = step(&run, name)?;
        assert!(outcome == "unusual" && text.contains(said), "{name}: {run:?}");
    }
    assert!(step(&run, "kept handle")?.1.contains("RemovedCard (0x80100069)"), "{run:?}");
    assert_eq!(step(&run, "fresh handle")?.0, "usual", "{run:?}");
    Ok(())
}

#[test]
fn a_rival_at_the_insertion_is_seen() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let mut rival = None;
    let run = with_prompts(check_on(&pcscd, None, &["--wait", "10s"])?, |prompt| {
        if prompt.ends_with("once more.") {
            let reader = pcscd.reader_name(0);
            let arguments = ["hold", &*reader, "--duration-ms", "1500"];
            let mut program = Program::start(env!("CARGO_BIN_EXE_interferer"), &pcscd, &arguments)?;
            assert_eq!(program.line()?, "holding");
            rival = Some(program);
        }
        move_card(&card, prompt);
        Ok(())
    })?;
    let (outcome, text) = step(&run, "plug and play")?;
    assert!(outcome == "unusual" && text.contains("ResetCard at "), "{run:?}");
    assert_eq!(rival.context("no rival")?.report()?["won"], true);
    assert_eq!(step(&run, "service stop")?, ("skipped", "nobody did it in time"));
    Ok(())
}

#[test]
fn without_a_person_it_ends_at_once_and_says_what_it_skipped() -> anyhow::Result<()> {
    let pcscd = Pcscd::start(1)?;
    let nobody = |prompt: &str| anyhow::bail!("it asks: {prompt}");
    let run = with_prompts(check_on(&pcscd, None, &["--no-wait", "--json"])?, nobody)?;
    let told: Value = serde_json::from_str(&run.out)?;
    let steps = told["steps"].as_array().context("no steps")?;
    let of = |name: &str| steps.iter().find(|step| step["step"] == name).cloned().unwrap_or_default();
    assert_eq!(
        (run.code, &of("hold")["outcome"], &of("waits")["outcome"]),
        (Some(0), &"skipped".into(), &"usual".into())
    );
    assert!(told["system"].as_str().is_some_and(|system| system.contains("Linux")), "{told}");

    let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let run = with_prompts(check_on(&pcscd, None, &["--no-wait"])?, nobody)?;
    assert_eq!((step(&run, "hold")?.0, step(&run, "direct")?.0), ("usual", "usual"), "{run:?}");
    for skipped in ["kept handle", "fresh handle", "plug and play", "service stop"] {
        assert_eq!(step(&run, skipped)?, ("skipped", "needs a person"));
    }
    Ok(())
}

#[test]
fn a_service_that_is_not_there_and_a_broker_are_told() -> anyhow::Result<()> {
    let mut pcscd = Pcscd::start(1)?;
    let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
    let nobody = |prompt: &str| anyhow::bail!("it asks: {prompt}");
    tell(async {
        let mut broker = Setup::on(&pcscd)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let run = with_prompts(check_on(&pcscd, None, &["--no-wait"])?, nobody)?;
        let (outcome, text) = step(&run, "hold")?;
        assert!(outcome == "failed" && text.contains("SharingViolation (0x8010000B): another program"), "{run:?}");
        broker.stop()?;
        Ok(())
    })?;
    pcscd.kill()?;
    let run = with_prompts(check_on(&pcscd, None, &["--no-wait"])?, nobody)?;
    assert_eq!((run.code, step(&run, "service")?.0), (Some(1), "failed"), "{run:?}");
    let run = with_prompts(program(&["--wait", "11m"])?, nobody)?;
    assert_eq!(run.code, Some(2), "{run:?}");
    Ok(())
}
