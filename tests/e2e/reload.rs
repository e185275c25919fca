//! `cardbroker reload`: new rules and tokens without a signal.

use std::{collections::HashSet, fs};

use anyhow::Context;
use cardbroker_client::{
    Client, Error, ErrorReason, ReaderState,
    diagnostics::{ReloadState, ReloadedPart},
};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::Run,
    users::may_be_several_users,
};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::{
    operators::operator_of,
    policy::{NO_SESSIONS, OPEN, audit, broker, reload},
    status::status,
    wire::diagnostics,
    world::{tell, wait_for},
};

/// Replaces the configuration and runs `cardbroker reload`.
fn reload_with(broker: &Broker, configuration: &str) -> anyhow::Result<Run> {
    fs::write(broker.folder().join("cardbrokerd.toml"), configuration)?;
    broker.cardbroker(&["reload"])
}

/// Whether a session is denied.
async fn denies_sessions(broker: &Broker) -> anyhow::Result<bool> {
    let opened = broker.client().await?.open_session(OPEN).open().await;
    Ok(opened.is_err_and(|error| error.reason() == Some(ErrorReason::Denied)))
}

#[test]
fn new_rules_are_in_force_when_the_reload_ends() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let told = reload_with(&broker, NO_SESSIONS)?;
        let expected = "rules: 1 in force; added no sessions\nsettings: unchanged\n";
        assert_eq!((&*told.out, &*told.err, told.code), (expected, "", Some(0)));
        assert!(denies_sessions(&broker).await?);
        let asked = audit(&broker, "reload_requested");
        assert_eq!((asked.len(), &asked[0]["principal"]), (1, &audit_principal().into()), "{asked:#?}");
        let told = reload_with(&broker, "listen.max_connections = 1\nlimits.max_waiting_per_caller = 9")?;
        let expected = "rules: none in force; removed no sessions\n\
                        settings: changes that take effect at the next start: limits.max_waiting_per_caller, \
                        listen.max_connections\n";
        assert_eq!((&*told.out, told.code), (expected, Some(0)), "{told:?}");
        assert!(!denies_sessions(&broker).await?);
        Ok(())
    })
}

fn audit_principal() -> String {
    format!("user {}", rustix::process::geteuid().as_raw())
}

#[test]
fn a_reload_says_what_the_log_says_after_a_signal() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(NO_SESSIONS).await?;
        let two = "limits.max_waiting_per_caller = 9\n[[rule]]\nname = 'one'\nprincipals = ['self']\nallow = ['all']\n";
        // The same change twice: once by the command, once by the signal.
        let told = reload_with(&broker, two)?.out;
        let messages = |log: &str| -> Vec<String> {
            let records = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let texts = records.filter_map(|record| Some(record["message"].as_str()?.to_owned()));
            texts.filter(|text| text.starts_with("rules: ") || text.starts_with("settings: ")).collect()
        };
        let by_command = messages(&broker.settled_log());
        assert_eq!(by_command, told.lines().collect::<Vec<_>>());
        reload(&broker, NO_SESSIONS, "policy_reloaded").await?;
        reload(&broker, two, "policy_reloaded").await?;
        let by_signal = messages(&broker.settled_log());
        assert_eq!((by_signal.len(), &by_signal[4..]), (6, &by_command[..]));
        Ok(())
    })
}

#[test]
fn a_mistake_is_an_error_and_the_old_rules_stay() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(NO_SESSIONS).await?;
        let told = reload_with(&broker, "\nrule = [")?;
        assert_eq!((&*told.out, told.code), ("", Some(1)), "{told:?}");
        assert!(denies_sessions(&broker).await?);
        let problem = audit(&broker, "policy_reload_refused")[0]["problem"].as_str().context("no text")?.to_owned();
        assert!(problem.contains("cardbrokerd.toml:2:"), "{problem}");
        assert_eq!(told.err, format!("cardbroker: {problem}: the old rules stay in force\n"));
        let seen = status(&mut diagnostics(&broker).await?).await?.broker.context("no broker")?.last_reload;
        assert_eq!(seen.context("no reload")?.problem, problem);
        let refused = broker.client().await?.diagnostics().reload().await.unwrap_err();
        assert_eq!(refused.reason(), Some(ErrorReason::ConfigurationRefused));
        let told = broker.cardbroker(&["reload", "--json"])?;
        let error: serde_json::Value = serde_json::from_str(&told.err)?;
        assert_eq!((&error["error"]["reason"], told.code), (&"CONFIGURATION_REFUSED".into(), Some(1)), "{error}");
        Ok(())
    })
}

#[test]
fn without_the_permission_nothing_is_read() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let rules = "listen.socket_mode = '0666'\n\
                     rule = [{ name = 'others', principals = ['uid:4001'], allow = ['all', 'diagnose'] }, \
                             { name = 'operator', principals = ['uid:4002'], allow = ['configure'] }]";
        let setup = Setup::simulated(1)?.open_folder()?.configuration(rules).log_level("info");
        let broker = setup.flag("--log-format=json").start()?;
        wait_for(&broker, OPEN, ReaderState::Ready).await?;
        assert_eq!(operator_of(&broker, 4001, &["reload"])?, "PERMISSION_DENIED DENIED");
        let denied = audit(&broker, "denied");
        assert_eq!((&denied[0]["operation"], &denied[0]["principal"]), (&"configure".into(), &"user 4001".into()));
        let read = ["reload_requested", "policy_reloaded"].map(|event| audit(&broker, event).len());
        assert_eq!(read, [0, 0]);
        assert_eq!(operator_of(&broker, 4002, &["reload"])?, "reloaded");
        assert_eq!(audit(&broker, "reload_requested")[0]["principal"], "user 4002");
        Ok(())
    })
}

/// Requests for a reload, all at once.
fn ask_for_reloads(client: &Client, count: usize) -> JoinSet<Result<Vec<ReloadedPart>, Error>> {
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let diagnostics = client.diagnostics();
        asking.spawn(async move { diagnostics.reload().await });
    }
    asking
}

#[test]
fn each_reload_answers_with_what_was_there_when_it_was_asked() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let client = broker.client().await?;
        for number in 0..10 {
            let rule =
                format!("rule = [{{ name = 'r{number}', principals = ['self'], allow = ['all', 'configure'] }}]");
            fs::write(broker.folder().join("cardbrokerd.toml"), rule)?;
            let mut asking = ask_for_reloads(&client, 5);
            let mut named = HashSet::new();
            while let Some(parts) = asking.join_next().await {
                named.extend(parts??.into_iter().flat_map(|part| part.changed));
            }
            assert!(named.contains(&format!("r{number}")), "{number}: {named:?}");
        }
        let readings = audit(&broker, "policy_reloaded").len();
        assert!((10..=50).contains(&readings), "{readings}");
        Ok(())
    })
}

#[test]
fn a_flood_of_reloads_is_refused_beyond_a_bound() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let client = broker.client().await?;
        let mut asking = ask_for_reloads(&client, 200);
        let (mut done, mut refused) = (0, 0);
        while let Some(ended) = asking.join_next().await {
            match ended? {
                Ok(_) => done += 1,
                Err(error) => {
                    assert_eq!(error.reason(), Some(ErrorReason::QueueFull), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(done >= 16 && refused > 0, "{done} {refused}");
        assert!(audit(&broker, "policy_reloaded").len() <= done);
        assert_eq!(client.readers().await?.len(), 2);
        Ok(())
    })
}

#[test]
fn a_stop_answers_reloads_and_a_signal_shares_their_reading() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker("").await?;
        let client = broker.client().await?;
        let mut asking = ask_for_reloads(&client, 8);
        broker.signal(Signal::HUP)?;
        assert!(broker.stop()?.success());
        while let Some(ended) = asking.join_next().await {
            let is_end = |error: &Error| matches!(error.reason(), Some(ErrorReason::ShuttingDown) | None);
            assert!(ended?.map_or_else(|error| is_end(&error), |parts| parts.len() == 2));
        }
        Ok(())
    })
}

/// The rules of a broker for two tokens.
const TOKENS: &str = "rule = [{ name = 'tokens', principals = ['token:one', 'token:two'], allow = ['all'] }]";

#[test]
fn tokens_are_told_too() -> anyhow::Result<()> {
    tell(async {
        let setup = Setup::simulated(1)?.tcp(&["one", "two"])?.configuration(TOKENS).log_level("info");
        let broker = setup.flag("--log-format=json").start()?;
        wait_for(&broker, OPEN, ReaderState::Ready).await?;
        let file = broker.folder().join("tokens");
        let both = fs::read_to_string(&file)?;
        let one: String = both.split_inclusive('\n').filter(|line| !line.starts_with("two")).collect();
        fs::write(&file, &one)?;
        let told = broker.cardbroker(&["reload"])?;
        let expected = "rules: 1 in force, unchanged\nsettings: unchanged\ntokens: 1 valid; removed two\n";
        assert_eq!((&*told.out, told.code), (expected, Some(0)), "{told:?}");
        assert!(!told.out.contains(both.split_whitespace().nth(1).context("no hash")?));
        // A malformed line refuses the rules, too.
        fs::write(&file, format!("{one}malformed\n"))?;
        let told = reload_with(&broker, NO_SESSIONS)?;
        assert!(told.code == Some(1) && told.err.contains("tokens: line"), "{told:?}");
        assert_eq!(audit(&broker, "policy_reloaded").len(), 1);
        // A missing file costs the tokens alone.
        fs::remove_file(&file)?;
        let told = reload_with(&broker, NO_SESSIONS)?;
        let tokens = told.out.lines().nth(2).context("no tokens")?;
        assert!(tokens.starts_with("all tokens stay as they are") && told.code == Some(1), "{told:?}");
        let parts = broker.client().await?.diagnostics().reload().await?;
        assert_eq!(parts[2].state(), ReloadState::Failed);
        Ok(())
    })
}
