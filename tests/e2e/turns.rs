//! Turns go round the users; a group's visit goes on where that saves a reset; a contended unit is bounded.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use cardbroker_client::{Error, Transmitted};
use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
use cardbroker_tests::harness::{
    broker::Broker,
    run::{Run, cardbroker, run},
    users::may_be_several_users,
};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    talkers::{saturator, saturator_with, turns},
    world::{
        COUNT, GET_RESPONSE, INCREMENT, PROTECTED, PcscWorld, READER, SELECT, Stage, VERIFY, answers, in_group,
        raw_unit, slow, tell, told, unit,
    },
};

/// A neutral command: READ RECORD.
const READ: &str = "00B2010410";

#[test]
fn two_groups_that_raise_pay_for_one_reset_in_each_quantum() -> anyhow::Result<()> {
    tell(async {
        let (command_time, reset_time) = (Duration::from_millis(5), Duration::from_millis(150));
        let world = PcscWorld::new("", CardOptions { command_time, reset_time, ..CardOptions::default() }).await?;
        // Two units of each at a time: the next one of the visit waits already, however busy the machine is.
        let programs = (0..2).map(|_| saturator_with(&world.broker, READER, INCREMENT, 5, None, &["2"]));
        let programs = programs.collect::<Result<Vec<_>, _>>()?;
        let (before, began) = (world.card.resets_seen(), Instant::now());
        let turns = turns(programs)?;
        let resets = world.card.resets_seen() - before;
        // A visit lasts for one and a half resets, and the next begins with a reset. The cost of a reset is known after
        // the first.
        let visits = began.elapsed().div_duration_f64(reset_time * 5 / 2);
        writeln!(std::io::stderr(), "turns {turns:?}, resets {resets}, {visits:.1} visits have room")?;
        assert!(resets >= 6 && resets as f64 <= visits + 3.0, "{resets} resets");
        assert!(turns.iter().all(|&turns| turns > 10 * resets / 2), "{turns:?} turns with {resets} resets");
        Ok(())
    })
}

#[test]
fn users_with_few_and_many_processes_get_equal_turns() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let rules = "listen.socket_mode = \"0666\"\n[[rule]]\nname = \"desk\"\n\
                     principals = [\"uid:4001\", \"uid:4002\", \"uid:4003\"]\nreaders = [\".*\"]\nallow = [\"all\"]\n";
        let card = CardOptions { command_time: Duration::from_millis(10), ..CardOptions::default() };
        let world = PcscWorld::new(rules, card).await?;
        let users = [(4001, 1), (4002, 3), (4003, 9)];
        let processes = users.iter().flat_map(|&(uid, count)| std::iter::repeat_n(uid, count));
        let programs =
            processes.map(|uid| saturator(&world.broker, READER, READ, 5, Some(uid))).collect::<Result<_, _>>()?;
        let turns = turns(programs)?;
        let of_users = [&turns[..1], &turns[1..4], &turns[4..]].map(|turns| turns.iter().sum::<u64>());
        writeln!(std::io::stderr(), "turns by user: {of_users:?}, by process: {turns:?}")?;
        let (least, most) = (of_users.iter().min().context("none")?, of_users.iter().max().context("none")?);
        assert!(10 * least >= 9 * most && *least > 30, "{of_users:?}");
        Ok(())
    })
}

const DESK: &str = "listen.socket_mode = \"0666\"\nlimits.max_waiting_per_reader = 32\n";

/// A rule that allows everything to one user, with more keys.
fn rule_for(uid: u32, more: &str) -> String {
    format!("[[rule]]\nname = \"of {uid}\"\nprincipals = [\"uid:{uid}\"]\nallow = [\"all\"]\n{more}\n")
}

#[test]
fn seventeen_processes_of_one_user_leave_room_for_another() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let rules = [DESK, &rule_for(4001, ""), &rule_for(4002, "")].concat();
        let card = CardOptions { command_time: Duration::from_millis(20), ..CardOptions::default() };
        let world = PcscWorld::new(&rules, card).await?;
        let patient: &[&str] = &["2", "--patient"];
        let crowd = (0..17).map(|_| saturator_with(&world.broker, READER, READ, 3, Some(4001), patient));
        // Fails if one of its two requests is refused.
        let other = saturator_with(&world.broker, READER, READ, 3, Some(4002), &["2"]);
        let programs = crowd.chain([other]).collect::<Result<_, _>>()?;
        let turns = turns(programs)?;
        let (one, crowd) = turns.split_last().context("none")?;
        let crowd = crowd.iter().sum::<u64>();
        writeln!(std::io::stderr(), "turns of the one: {one}, of the crowd: {crowd}")?;
        assert!(10 * one >= 8 * crowd && *one > 20, "{turns:?}");
        Ok(())
    })
}

#[test]
fn a_user_with_a_share_of_three_gets_three_visits_in_each_round() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let rules = [DESK, &rule_for(4001, "share = 3"), &rule_for(4002, "")].concat();
        let card = CardOptions { command_time: Duration::from_millis(10), ..CardOptions::default() };
        let world = PcscWorld::new(&rules, card).await?;
        // A gateway has more than one request waiting: a visit that nobody asks for goes to the next user.
        let gateway = saturator_with(&world.broker, READER, READ, 3, Some(4001), &["4"]);
        let programs =
            [gateway, saturator(&world.broker, READER, READ, 3, Some(4002))].into_iter().collect::<Result<_, _>>()?;
        let turns = turns(programs)?;
        writeln!(std::io::stderr(), "turns of the gateway and the other: {turns:?}")?;
        let ratio = turns[0] as f64 / turns[1] as f64;
        assert!((2.7..=3.3).contains(&ratio) && turns[1] > 20, "{turns:?}");
        Ok(())
    })
}

/// A unit of another process, in its own isolation group or in that of the key.
fn another_process(
    broker: &Broker,
    reader: &str,
    group: Option<&str>,
) -> anyhow::Result<JoinHandle<anyhow::Result<Run>>> {
    let mut command = cardbroker(&broker.endpoint(), &["transmit", reader, COUNT])?;
    if let Some(group) = group {
        command.env("CARDBROKER_GROUP", group);
    }
    Ok(spawn_blocking(move || run(&mut command)))
}

/// The number of answers of a complete unit, or why it was stopped.
fn parts(outcome: Result<Transmitted, Error>) -> (usize, String) {
    match outcome {
        Ok(transmitted) => (transmitted.results.len(), String::new()),
        Err(error) => (0, told(&error)),
    }
}

const ONE_SECOND: &str = "limits.max_contended_unit = \"1s\"";
const LONG_UNIT: usize = 12;

#[test]
fn a_long_unit_stops_while_another_group_waits_and_only_then() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated_with(Protocol::T1, ONE_SECOND).await?;
        let family = in_group(&stage.broker, "family").await?;
        let command = slow(250);
        let commands = [&*command; LONG_UNIT];

        let unit_of_family = tokio::spawn(unit(&family, stage.reader, &commands).send());
        stage.until_busy().await?;
        let same_group = another_process(&stage.broker, stage.reader, Some("family"))?;
        assert_eq!(parts(unit_of_family.await?), (LONG_UNIT, String::new()), "only its own group waits");
        assert!(same_group.await??.out.ends_with(" 9000\n"));

        let began = Instant::now();
        let unit_of_family = tokio::spawn(unit(&family, stage.reader, &commands).send());
        stage.until_busy().await?;
        let other = another_process(&stage.broker, stage.reader, None)?;
        let (_, stopped) = parts(unit_of_family.await?);
        assert!(stopped.starts_with("UNIT_TOO_LONG not_sent at "), "{stopped}");
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(other.await??.out.ends_with(" 9000\n"));
        Ok(())
    })
}

#[test]
fn a_long_unit_is_not_stopped_between_61xx_and_its_get_response() -> anyhow::Result<()> {
    tell(async {
        let command_time = Duration::from_secs(1);
        let world = PcscWorld::new(ONE_SECOND, CardOptions { command_time, ..CardOptions::default() }).await?;
        let client = world.broker.client().await?;
        let unit = tokio::spawn(raw_unit(&client, READER, &[COUNT, SELECT, GET_RESPONSE, COUNT, COUNT]).send());
        // The other process waits from the first second on, so the time is over during SELECT.
        let other = another_process(&world.broker, READER, None)?;
        assert_eq!(parts(unit.await?).1, "UNIT_TOO_LONG not_sent at 3 after 3 answers");
        assert!(other.await??.out.ends_with(" 9000\n"));
        Ok(())
    })
}

#[test]
fn a_request_that_waits_for_no_time_gets_a_card_that_would_be_kept_for_its_last_user() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated_with(Protocol::T1, "limits.turn_quantum = \"10s\"").await?;
        let neighbour = in_group(&stage.broker, "neighbours").await?;
        for _ in 0..20 {
            assert_eq!(stage.run(&[VERIFY]).await?, ["9000"]);
            let outcome = unit(&neighbour, stage.reader, &[PROTECTED]).wait_timeout(Duration::ZERO).send().await?;
            assert_eq!((answers(&outcome), outcome.was_reset), (vec!["6982".to_owned()], true));
        }
        Ok(())
    })
}
