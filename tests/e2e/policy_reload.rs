//! New rules and tokens: their effect on sessions, waiting requests, outcomes and watches.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use cardbroker_client::{
    CardReset, Client, ConnectOptions, Delivery, Disposition, ErrorReason, ReaderState, RevocationCause, hex,
};
use cardbroker_tests::harness::broker::{Broker, Setup};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tokio::time::{sleep, timeout};

use crate::{
    policy::{HIDE, NO_SESSIONS, OPEN, audit, broker, reload, session},
    world::{COUNT, LONG, VERIFY, arrived, tell, unit, wait_for, wait_until},
};

/// The rules of a broker for two tokens.
const TOKENS: &str = "rule = [{ name = 'tokens', principals = ['token:one', 'token:two'], allow = ['all'] }]";

#[test]
fn new_rules_end_a_session_and_the_next_caller_runs() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker("").await?;
        let holder = session(&broker).await?;
        holder.transmit([hex::parse(VERIFY)?]).send().await?;
        let client = broker.client().await?;
        let waiting = arrived(&client, unit(&client, OPEN, &[COUNT])).await?;
        reload(&broker, NO_SESSIONS, "policy_reloaded").await?;
        let next = waiting.await?;
        assert!(next.was_reset, "the next caller finds the card as the session left it");
        let ended = holder.transmit([hex::parse(COUNT)?]).send().await.unwrap_err();
        assert_eq!((ended.reason(), ended.delivery()), (Some(ErrorReason::LeaseRevoked), Delivery::NotSent));
        let cause = ended.failure().and_then(|failure| failure.cause);
        assert_eq!(cause, Some(RevocationCause::RulesChanged), "{ended:?}");
        let records = audit(&broker, "session_ended_by_broker");
        assert_eq!((&records[0]["reason"], &records[0]["cause"]), (&"LEASE_REVOKED".into(), &"RULES_CHANGED".into()));
        let refused = client.open_session(OPEN).open().await.unwrap_err();
        assert_eq!(refused.reason(), Some(ErrorReason::Denied));
        reload(&broker, "", "policy_reloaded").await?;
        session(&broker).await?.close().await?;
        assert!(broker.stop()?.success());
        Ok(())
    })
}

#[test]
fn new_rules_apply_to_waiting_requests() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let holder = session(&broker).await?;
        let client = broker.client().await?;
        let unit = arrived(&client, unit(&client, OPEN, &[COUNT])).await?;
        reload(
            &broker,
            "rule = [{ name = 'no units', principals = ['self'], deny = ['transmit'] }]",
            "policy_reloaded",
        )
        .await?;
        // The session that is open may go on.
        assert_eq!(holder.transmit([hex::parse(COUNT)?]).send().await?.results[0].data[..], [0, 0, 0, 1]);
        holder.close().await?;
        let denied = unit.await.unwrap_err();
        assert_eq!((denied.reason(), denied.delivery()), (Some(ErrorReason::Denied), Delivery::NotSent));
        Ok(())
    })
}

#[test]
fn a_session_needs_all_its_permissions_under_new_rules() -> anyhow::Result<()> {
    tell(async {
        for (denied, outlives) in
            [("see", false), ("shared_group", false), ("reset", false), ("leave", false), ("watch", true)]
        {
            let broker = broker("").await?;
            let options = ConnectOptions { group: Some("key".into()), ..ConnectOptions::default() };
            let client = Client::connect_with(broker.endpoint().parse()?, options).await?;
            let session =
                client.open_session(OPEN).reset_before(CardReset::Warm).disposition(Disposition::Leave).open().await?;
            let rules = format!("rule = [{{ name = 'new', principals = ['self'], deny = ['{denied}'] }}]");
            reload(&broker, &rules, "policy_reloaded").await?;
            let answer = session.transmit([hex::parse(COUNT)?]).send().await;
            assert_eq!(answer.is_ok(), outlives, "{denied}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_kept_outcome_needs_the_current_permission() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let client = broker.client().await?;
        let ask = || unit(&client, OPEN, &[COUNT]).request_id([7; 16]).send();
        ask().await?;
        assert!(ask().await?.replayed);
        for (denied, reason) in [("see", ErrorReason::ReaderNotFound), ("transmit", ErrorReason::Denied)] {
            let rules = format!("rule = [{{ name = 'new', principals = ['self'], deny = ['{denied}'] }}]");
            reload(&broker, &rules, "policy_reloaded").await?;
            assert_eq!(ask().await.unwrap_err().reason(), Some(reason));
        }
        reload(&broker, "", "policy_reloaded").await?;
        assert!(ask().await?.replayed);
        Ok(())
    })
}

#[test]
fn a_watcher_sees_readers_come_and_go_with_the_rules() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let mut watch = broker.client().await?.watch();
        wait_until(&mut watch, |watch| watch.readers().len() == 2).await?;
        reload(&broker, HIDE, "policy_reloaded").await?;
        wait_until(&mut watch, |watch| watch.readers().keys().eq([OPEN])).await?;
        reload(&broker, "", "policy_reloaded").await?;
        wait_until(&mut watch, |watch| watch.readers().len() == 2).await?;
        Ok(())
    })
}

#[test]
fn a_removed_token_is_refused_and_its_session_ends() -> anyhow::Result<()> {
    tell(async {
        let rules = "rule = [{ name = 'tokens', principals = ['token:old', 'token:new'], allow = ['all'] }]";
        let setup = Setup::simulated(2)?.tcp(&["old", "new"])?.configuration(rules).log_level("info");
        let mut broker = setup.flag("--log-format=json").start()?;
        wait_for(&broker, OPEN, ReaderState::Ready).await?;
        let (old, new) = (broker.tcp_client("old").await?, broker.tcp_client("new").await?);
        let holder = old.open_session(OPEN).open().await?;
        let tokens = broker.folder().join("tokens").display().to_string();
        let removed = broker.cardbroker(&["token", "remove", "old", "--tokens", &tokens])?;
        assert_eq!(removed.code, Some(0), "{removed:?}");
        reload(&broker, rules, "policy_reloaded").await?;
        let ended = holder.transmit([hex::parse(COUNT)?]).send().await.unwrap_err();
        assert_eq!(ended.reason(), Some(ErrorReason::LeaseRevoked));
        assert_eq!(old.readers().await.unwrap_err().reason(), Some(ErrorReason::Unauthenticated));
        assert_eq!(new.readers().await?.len(), 2);
        unit(&new, OPEN, &[COUNT]).send().await?;
        // A new token of the same name is a different token.
        let holder = new.open_session(OPEN).open().await?;
        let again = ["token", "new", "new", "--tokens", &tokens];
        for arguments in [&["token", "remove", "new", "--tokens", &tokens], &again[..]] {
            let done = broker.cardbroker(arguments)?;
            assert_eq!(done.code, Some(0), "{done:?}");
        }
        reload(&broker, rules, "policy_reloaded").await?;
        let ended = holder.transmit([hex::parse(COUNT)?]).send().await.unwrap_err();
        assert_eq!(ended.reason(), Some(ErrorReason::LeaseRevoked));
        assert_eq!(new.readers().await.unwrap_err().reason(), Some(ErrorReason::Unauthenticated));
        broker.stop()?;
        let refused = audit(&broker, "unauthenticated");
        assert_eq!((refused.len(), &refused[1]["repeated"]), (2, &1.into()), "{refused:#?}");
        Ok(())
    })
}

#[test]
fn a_tokens_file_that_is_lost_revokes_all_tokens_until_it_is_back() -> anyhow::Result<()> {
    tell(async {
        let (rules, (broker, [one, two])) = (TOKENS, two_tokens().await?);
        let tokens = broker.folder().join("tokens");
        let away = broker.folder().join("away");

        // A file that is missing for a moment only changes nothing.
        let holder = one.open_session(OPEN).open().await?;
        fs::rename(&tokens, &away)?;
        broker.signal(rustix::process::Signal::HUP)?;
        one.readers().await?;
        fs::rename(&away, &tokens)?;
        reload(&broker, rules, "policy_reloaded").await?;
        holder.transmit([hex::parse(COUNT)?]).send().await?;

        // Open to others: no token is valid, and its session ends.
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o644))?;
        reload(&broker, rules, "tokens_unusable").await?;
        let ended = holder.transmit([hex::parse(COUNT)?]).send().await.unwrap_err();
        assert_eq!(ended.reason(), Some(ErrorReason::LeaseRevoked));
        for client in [&one, &two] {
            assert_eq!(client.readers().await.unwrap_err().reason(), Some(ErrorReason::Unauthenticated));
        }
        assert_eq!(broker.client().await?.readers().await?.len(), 2, "the socket needs no token");
        assert!(broker.settled_log().contains("no token is valid"));

        // It is found again without a signal.
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600))?;
        until_valid(&one, true).await?;

        // A malformed line: nothing new is in force, and a token without a line is not valid any more.
        let text = fs::read_to_string(&tokens)?;
        let of_two: String = text.split_inclusive('\n').filter(|line| line.starts_with("two ")).collect();
        fs::write(&tokens, format!("malformed\n{of_two}"))?;
        reload(&broker, rules, "tokens_refused").await?;
        assert_eq!(one.readers().await.unwrap_err().reason(), Some(ErrorReason::Unauthenticated));
        assert_eq!(two.readers().await?.len(), 2);
        Ok(())
    })
}

/// A broker with a TCP port, whose tokens `one` and `two` may do everything, and a client of each.
async fn two_tokens() -> anyhow::Result<(Broker, [Client; 2])> {
    let setup = Setup::simulated(2)?.tcp(&["one", "two"])?.configuration(TOKENS).log_level("info");
    let broker = setup.flag("--log-format=json").start()?;
    wait_for(&broker, OPEN, ReaderState::Ready).await?;
    let clients = [broker.tcp_client("one").await?, broker.tcp_client("two").await?];
    Ok((broker, clients))
}

/// Whether the client's token is valid.
async fn is_valid(client: &Client) -> anyhow::Result<bool> {
    match client.readers().await {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == Some(ErrorReason::Unauthenticated) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn until_valid(client: &Client, expected: bool) -> anyhow::Result<()> {
    let valid = async {
        while is_valid(client).await? != expected {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    timeout(LONG, valid).await?
}

/// The text of the broker's tokens file without the lines of `name`.
fn without(broker: &Broker, name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(broker.folder().join("tokens"))?;
    Ok(text.split_inclusive('\n').filter(|line| !line.starts_with(name)).collect())
}

#[test]
fn a_broken_configuration_keeps_no_removed_token_valid() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, two]) = two_tokens().await?;
        fs::write(broker.folder().join("tokens"), without(&broker, "one ")?)?;
        reload(&broker, "rule = [", "policy_reload_refused").await?;
        assert_eq!((is_valid(&one).await?, is_valid(&two).await?), (false, true));
        assert_eq!(two.readers().await?.len(), 2, "the old rules are in force");
        Ok(())
    })
}

#[test]
fn broken_tokens_keep_no_new_rules_from_loading() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, two]) = two_tokens().await?;
        let tokens = broker.folder().join("tokens");
        let only_two = "rule = [{ name = 'tokens', principals = ['token:two'], allow = ['all'] }]";
        // Not UTF-8: malformed, judged line by line.
        let malformed = [b"\xFF\n".as_slice(), fs::read(&tokens)?.as_slice()].concat();
        fs::write(&tokens, malformed)?;
        reload(&broker, only_two, "tokens_refused").await?;
        assert_eq!((one.readers().await?.len(), two.readers().await?.len()), (0, 2), "the new rules are in force");
        let refused = audit(&broker, "tokens_refused");
        assert!(
            refused[0]["problem"].as_str().is_some_and(|text| text.contains("line 1: is not UTF-8")),
            "{refused:?}"
        );

        // While no token is valid, too.
        fs::remove_file(&tokens)?;
        reload(&broker, only_two, "tokens_unusable").await?;
        reload(&broker, HIDE, "policy_reloaded").await?;
        assert_eq!(broker.client().await?.readers().await?.len(), 1, "the new rules are in force");
        assert!(!is_valid(&two).await?);
        Ok(())
    })
}

#[test]
fn no_signal_and_no_mistake_delays_the_second_look_at_the_tokens() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, _]) = two_tokens().await?;
        let tokens = broker.folder().join("tokens");
        fs::rename(&tokens, broker.folder().join("away"))?;
        let lost = Instant::now();
        broker.signal(rustix::process::Signal::HUP)?;
        // Each of these is read within the pause, or is itself the second look if this machine is slow.
        for _ in 0..2 {
            reload(&broker, "rule = [", "policy_reload_refused").await?;
            let (valid, looked) = (is_valid(&one).await?, lost.elapsed());
            assert!(valid || looked >= Duration::from_secs(1), "no second look before 1 s: {looked:?}");
        }
        until_valid(&one, false).await?;
        assert!(lost.elapsed() >= Duration::from_secs(1), "{:?}", lost.elapsed());
        assert_eq!(audit(&broker, "tokens_unusable").len(), 1);
        fs::write(broker.folder().join("cardbrokerd.toml"), HIDE)?;
        let reloaded = audit(&broker, "policy_reloaded").len();
        fs::rename(broker.folder().join("away"), &tokens)?;
        until_valid(&one, true).await?;
        assert_eq!(audit(&broker, "tokens_usable").len(), 1);
        assert_eq!(audit(&broker, "policy_reloaded").len(), reloaded, "without a signal only the tokens are read");
        Ok(())
    })
}

#[test]
fn without_free_descriptors_the_tokens_stay_until_they_can_be_read() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, two]) = two_tokens().await?;
        assert!(is_valid(&one).await? && is_valid(&two).await?);
        fs::write(broker.folder().join("tokens"), without(&broker, "one ")?)?;
        let before = getrlimit(Resource::Nofile);
        // Standard input and outputs are open, so there is no number for another file.
        prlimit(Some(broker.pid()?), Resource::Nofile, Rlimit { current: Some(3), ..before })?;
        reload(&broker, TOKENS, "policy_reload_refused").await?;
        let warning = "all tokens stay as they are, and their file is read again soon";
        while !broker.log().contains(warning) {
            sleep(Duration::from_millis(20)).await;
        }
        assert!(is_valid(&one).await? && is_valid(&two).await?, "{}", broker.log());
        prlimit(Some(broker.pid()?), Resource::Nofile, before)?;
        until_valid(&one, false).await?;
        assert!(is_valid(&two).await?);
        assert_eq!(audit(&broker, "tokens_unusable").len(), 0);
        Ok(())
    })
}

#[test]
fn an_invalid_new_file_leaves_the_old_rules_in_force() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(NO_SESSIONS).await?;
        for broken in ["rule = [", "rule = [{ name = 'x', principals = ['user:no such user'], allow = ['all'] }]"] {
            reload(&broker, broken, "policy_reload_refused").await?;
            let refused = broker.client().await?.open_session(OPEN).open().await.unwrap_err();
            assert_eq!(refused.reason(), Some(ErrorReason::Denied));
        }
        let problem = audit(&broker, "policy_reload_refused")[1]["problem"].clone();
        assert!(
            problem.as_str().is_some_and(|text| text.contains("cardbrokerd.toml:1:") && text.contains("no such user"))
        );
        // Other changed settings take effect at the next start.
        reload(&broker, "listen.max_connections = 1", "policy_reloaded").await?;
        assert!(broker.settled_log().contains("take effect at the next start"));
        let clients = (session(&broker).await?, broker.client().await?);
        assert_eq!(clients.1.readers().await?.len(), 2);
        Ok(())
    })
}
