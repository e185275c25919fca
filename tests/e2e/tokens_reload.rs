//! New tokens, and a tokens file that cannot be used: their effect on callers and rules.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::{Duration, Instant},
};

use cardbroker_client::{Client, ErrorReason, ReaderState, hex};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::{cardbroker, run},
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Resource, Rlimit, getrlimit, prlimit},
};
use tokio::time::{sleep, timeout};

use crate::{
    policy::{HIDE, OPEN, audit, reload},
    world::{COUNT, LONG, tell, unit, wait_for},
};

/// The rules of a broker for two tokens.
const TOKENS: &str = "rule = [{ name = 'tokens', principals = ['token:one', 'token:two'], allow = ['all'] }]";

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
        // The connection may be lost, because too many bad tokens close it.
        while is_valid(client).await.ok() != Some(expected) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    Ok(timeout(LONG, valid).await?)
}

/// The text of the broker's tokens file without the lines of `name`.
fn without(broker: &Broker, name: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(broker.folder().join("tokens"))?;
    Ok(text.split_inclusive('\n').filter(|line| !line.starts_with(name)).collect())
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
        Ok(())
    })
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
fn a_malformed_tokens_file_refuses_new_rules_and_keeps_no_removed_token_valid() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, two]) = two_tokens().await?;
        let tokens = broker.folder().join("tokens");
        // Not UTF-8: malformed, judged line by line.
        fs::write(&tokens, [b"\xFF\n", without(&broker, "one ")?.as_bytes()].concat())?;
        reload(&broker, HIDE, "policy_reload_refused").await?;
        assert_eq!((is_valid(&one).await?, two.readers().await?.len()), (false, 2), "the old rules are in force");
        assert_eq!(broker.client().await?.readers().await?.len(), 2, "the old rules are in force");
        let refused = audit(&broker, "policy_reload_refused");
        let problem = refused[0]["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("tokens") && problem.contains("line 1: is not UTF-8"), "{refused:?}");
        let others = ["tokens_refused", "policy_reloaded"].map(|event| audit(&broker, event).len());
        assert_eq!((refused.len(), others), (1, [0, 0]), "one record says it");

        // The mistakes of both files are told.
        reload(&broker, "rule = [", "policy_reload_refused").await?;
        assert_eq!(audit(&broker, "tokens_refused").len(), 1);
        assert!(is_valid(&two).await?);
        Ok(())
    })
}

#[test]
fn an_unusable_tokens_file_keeps_no_new_rules_from_loading() -> anyhow::Result<()> {
    tell(async {
        let (broker, [_, two]) = two_tokens().await?;
        fs::remove_file(broker.folder().join("tokens"))?;
        reload(&broker, HIDE, "policy_reloaded").await?;
        assert_eq!(broker.client().await?.readers().await?.len(), 1, "the new rules are in force");
        until_valid(&two, false).await?;
        reload(&broker, TOKENS, "policy_reloaded").await?;
        assert_eq!(broker.client().await?.readers().await?.len(), 2, "while no token is valid, too");
        assert!(!is_valid(&two).await?);
        Ok(())
    })
}

#[test]
fn a_tokens_file_that_can_never_be_opened_keeps_no_token_valid() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, two]) = two_tokens().await?;
        let tokens = broker.folder().join("tokens");
        fs::remove_file(&tokens)?;
        symlink("tokens", &tokens)?;
        reload(&broker, TOKENS, "tokens_unusable").await?;
        assert_eq!((is_valid(&one).await?, is_valid(&two).await?), (false, false));
        let problem = audit(&broker, "tokens_unusable")[0]["problem"].to_string();
        assert!(problem.contains("Too many levels of symbolic links"), "{problem}");
        Ok(())
    })
}

#[test]
fn a_pipe_in_the_configurations_place_delays_no_revocation() -> anyhow::Result<()> {
    tell(async {
        let (broker, [one, two]) = two_tokens().await?;
        let configuration = broker.folder().join("cardbrokerd.toml");
        fs::remove_file(&configuration)?;
        mknodat(CWD, &configuration, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        fs::write(broker.folder().join("tokens"), without(&broker, "one ")?)?;
        broker.signal(rustix::process::Signal::HUP)?;
        until_valid(&one, false).await?;
        assert_eq!(two.readers().await?.len(), 2, "the old rules are in force");
        let refused = audit(&broker, "policy_reload_refused");
        let problem = refused[0]["problem"].as_str().unwrap_or_default();
        assert!(problem.ends_with("cardbrokerd.toml: is not a regular file"), "{refused:?}");
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
fn a_start_without_usable_tokens_serves_the_socket_and_finds_them_later() -> anyhow::Result<()> {
    tell(async {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (tokens, file) = (path("tokens"), path("one.token"));
        fs::write(&tokens, "malformed")?;
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600))?;
        let setup = Setup::simulated(2)?.configuration(TOKENS).log_level("info");
        let setup = setup.flag("--tcp").flag("127.0.0.1:0").flag("--tokens").flag(&tokens);
        let broker = setup.flag("--log-format=json").start()?;
        wait_for(&broker, OPEN, ReaderState::Ready).await?;
        assert_eq!(audit(&broker, "tokens_unusable").len(), 1, "{}", broker.log());
        assert!(broker.log().contains("no token is valid"), "{}", broker.log());
        fs::remove_file(&tokens)?;
        let made = broker.cardbroker(&["token", "new", "one", "--tokens", &tokens, "--out", &file])?;
        assert_eq!(made.code, Some(0), "{made:?}");
        let reached = async {
            loop {
                let asked = broker.tcp_endpoint()?;
                let readers = ["readers", "--token-file", &file];
                if run(&mut cardbroker(&asked, &readers)?)?.code == Some(0) {
                    return anyhow::Ok(());
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(LONG, reached).await??;
        assert_eq!(audit(&broker, "tokens_usable").len(), 1, "{}", broker.log());
        Ok(())
    })
}
