//! The policy's denials, their form, and their records in the audit trail.

use std::{fs, process, time::Duration};

use anyhow::Context;
use cardbroker_client::{Command, Delivery, ErrorReason, ReaderState, Session, hex};
use cardbroker_proto::v1::ListReadersRequest;
use cardbroker_tests::harness::{
    broker::{Broker, Setup, program},
    run::{cardbroker, run},
};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    wire::{Stub, request, stub, told, transmit},
    world::{COUNT, LONG, SELECT, VERIFY, tell, unit, wait_for},
};

pub(crate) const OPEN: &str = "readers/simulated-reader-00";
const HIDDEN: &str = "readers/simulated-reader-01";

pub(crate) const HIDE: &str = "rule = [{ name = 'hide', principals = ['self'], readers = ['.*01'], deny = ['see'] }]";
const NO_TOKEN: &str = "a token is needed on TCP: send one as `authorization: Bearer TOKEN`";
pub(crate) const NO_SESSIONS: &str = "rule = [{ name = 'no sessions', principals = ['self'], deny = ['session'] }]";

/// A broker with these rules.
pub(crate) async fn broker(rules: &str) -> anyhow::Result<Broker> {
    let broker = Setup::simulated(2)?.configuration(rules).log_level("info").flag("--log-format=json").start()?;
    wait_for(&broker, OPEN, ReaderState::Ready).await?;
    Ok(broker)
}

/// Replaces the rules and waits until the broker has logged `said`.
pub(crate) async fn reload(broker: &Broker, rules: &str, said: &str) -> anyhow::Result<()> {
    let before = records(&broker.log(), said).len();
    fs::write(broker.folder().join("cardbrokerd.toml"), rules)?;
    broker.signal(Signal::HUP)?;
    let reloaded = async {
        while records(&broker.log(), said).len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, reloaded).await.with_context(|| format!("not {said}: {}", broker.log()))
}

/// The audit records of an event.
pub(crate) fn audit(broker: &Broker, event: &str) -> Vec<Value> {
    records(&broker.settled_log(), event)
}

fn records(log: &str, event: &str) -> Vec<Value> {
    let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["target"] == "cardbroker::audit" && record["event"] == event).collect()
}

pub(crate) async fn session(broker: &Broker) -> anyhow::Result<Session> {
    Ok(broker.client().await?.open_session(OPEN).open().await?)
}

#[test]
fn a_hidden_reader_behaves_as_if_it_did_not_exist() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker(HIDE).await?;
        let client = broker.client().await?;
        let names: Vec<_> = client.readers().await?.into_iter().map(|reader| reader.name).collect();
        assert_eq!(names, [OPEN]);
        let mut stub = stub(&broker).await?;
        let mut refusals = Vec::new();
        for name in [HIDDEN, "readers/simulated-reader-77"] {
            let status = transmit(&mut stub, request(name, &[SELECT])).await.unwrap_err();
            // The order of a map's entries in the details is undefined.
            let info = status.get_details_error_info().context("no ErrorInfo")?;
            assert_eq!(info.metadata.get("reader"), None, "an unknown name is not repeated as a reader");
            let mut headers = status.metadata().clone();
            headers.remove("date");
            refusals.push((status.code(), status.message().to_owned(), format!("{info:?} {headers:?}")));
        }
        assert_eq!(refusals[0].0, Code::NotFound);
        assert_eq!(refusals[0], refusals[1]);
        let opened = client.open_session(HIDDEN).open().await;
        assert_eq!(opened.unwrap_err().reason(), Some(ErrorReason::ReaderNotFound));
        broker.stop()?;
        let denials = audit(&broker, "denied");
        assert_eq!(denials.len(), 2, "{denials:#?}");
        assert_eq!(denials[1]["repeated"], 1, "a missing reader is no denial: {denials:#?}");
        assert!(denials.iter().all(|record| record["operation"] == "see" && record["rule"] == "hide"), "{denials:#?}");
        Ok(())
    })
}

#[test]
fn caller_and_audit_trail_get_the_denying_rule() -> anyhow::Result<()> {
    tell(async {
        let rules = "rule = [{ name = 'no PIN', principals = ['self'], deny = ['transmit', 'session'],
                               commands = [{ instruction = '20' }] }]";
        let mut broker = broker(rules).await?;
        let status = transmit(&mut stub(&broker).await?, request(OPEN, &[COUNT, VERIFY])).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(told(&status), "PermissionDenied DENIED not_sent");
        assert_eq!(status.get_details_error_info().unwrap().metadata["rule"], "no PIN");
        assert!(status.message().starts_with("commands[1]: denied by rule \"no PIN\""), "{}", status.message());

        // The instruction that fetches the rest of an answer is set by the caller, too.
        let client = broker.client().await?;
        let fetching = Command::new(hex::parse(SELECT)?).continue_instruction(0x20);
        let denied = client.transmit(OPEN).command(fetching).send().await.unwrap_err();
        assert_eq!((denied.reason(), denied.delivery()), (Some(ErrorReason::Denied), Delivery::NotSent));

        let session = session(&broker).await?;
        let denied = session.transmit([hex::parse(VERIFY)?]).send().await.unwrap_err();
        assert_eq!((denied.reason(), denied.delivery()), (Some(ErrorReason::Denied), Delivery::NotSent));
        // The card has received one command: COUNT itself.
        assert_eq!(session.transmit([hex::parse(COUNT)?]).send().await?.results[0].data[..], [0, 0, 0, 1]);
        session.close().await?;

        let denials = audit(&broker, "denied");
        assert_eq!(denials.len(), 2, "{denials:#?}");
        for record in &denials {
            assert_eq!(record["rule"], "no PIN");
            assert_eq!(record["reader"], "simulated-reader-00");
            assert_eq!(record["principal"], format!("user {}", rustix::process::geteuid().as_raw()));
            assert_eq!(record["pid"], std::process::id());
        }
        assert_eq!((&denials[0]["operation"], &denials[1]["operation"]), (&"transmit".into(), &"session".into()));
        // The second denial of one kind is counted, and logged when the broker stops at the latest.
        broker.stop()?;
        let count = &audit(&broker, "denied")[2];
        assert_eq!((&count["operation"], &count["rule"]), (&"transmit".into(), &"no PIN".into()));
        assert_eq!((&count["repeated"], &count["reader"]), (&1.into(), &"simulated-reader-00".into()));
        assert_eq!((audit(&broker, "session_began").len(), audit(&broker, "session_ended").len()), (1, 1));
        Ok(())
    })
}

#[test]
fn repeated_denials_and_refused_credentials_are_counted() -> anyhow::Result<()> {
    tell(async {
        let rules = "rule = [{ name = 'no units', principals = ['self'], deny = ['transmit'] }]";
        let setup = Setup::simulated(1)?.tcp(&["ci"])?.configuration(rules).log_level("info");
        let broker = setup.flag("--log-format=json").start()?;
        wait_for(&broker, OPEN, ReaderState::Ready).await?;
        let mut local = stub(&broker).await?;
        let mut remote = Stub::new(crate::tcp::channel(&broker).await?);
        let bearer = crate::tcp::bearer(&crate::tcp::token(&broker, "ci")?);
        for _ in 0..190 {
            assert_eq!(transmit(&mut local, request(OPEN, &[COUNT])).await.unwrap_err().code(), Code::PermissionDenied);
            let refused = remote.list_readers(ListReadersRequest {}).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated);
            // Else the connection would be closed.
            let mut valid = tonic::Request::new(ListReadersRequest {});
            valid.metadata_mut().insert("authorization", bearer.parse()?);
            remote.list_readers(valid).await?;
        }
        for (event, key, value) in [("denied", "rule", "no units"), ("unauthenticated", "problem", NO_TOKEN)] {
            let told = async {
                while records(&broker.log(), event).len() < 2 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            timeout(LONG, told).await.with_context(|| broker.log())?;
            let told = audit(&broker, event);
            assert_eq!((told.len(), &told[0]["repeated"]), (2, &Value::Null), "{told:#?}");
            assert_eq!((&told[1]["repeated"], &told[1]["seconds"]), (&189.into(), &10.into()), "{told:#?}");
            assert_eq!(told[1][key], value, "{told:#?}");
        }
        Ok(())
    })
}

#[test]
fn a_pin_withheld_by_the_guard_is_audited() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let client = broker.client().await?;
        let wrong = "00200080083939393939393939";
        assert_eq!(unit(&client, OPEN, &[wrong]).send().await?.results[0].status_word, 0x63C2);
        let refused = unit(&client, OPEN, &[wrong]).send().await.unwrap_err();
        assert_eq!(refused.reason(), Some(ErrorReason::PinKnownWrong));
        let records = audit(&broker, "refused");
        assert_eq!(
            (records.len(), &records[0]["reason"], &records[0]["pid"]),
            (1, &"PIN_KNOWN_WRONG".into(), &std::process::id().into())
        );
        assert!(records[0]["executable"].as_str().is_some_and(|path| path.contains("e2e")), "{records:?}");
        Ok(())
    })
}

#[test]
fn policy_check_explains_permissions_without_a_broker() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("c.toml");
    fs::write(
        &file,
        "rule = [{ name = 'ci may look', principals = ['token:ci'], readers = ['desk'], allow = ['see'] }]",
    )?;
    let config = file.to_str().context("no name")?;
    let check = |more: &[&str]| run(&mut cardbroker("", &[&["policy", "check", "--config", config], more].concat())?);
    let asked = check(&["--as", "token:ci", "--reader", "desk"])?;
    assert_eq!(asked.code, Some(0));
    // The rule names a reader: whether there is one depends on the machine.
    assert!(asked.err.lines().all(|line| line.starts_with("cardbrokerd: note: ")), "{}", asked.err);
    assert!(
        asked.out.starts_with("token ci at desk:\n  see             allowed  rule \"ci may look\"\n"),
        "{}",
        asked.out
    );
    let asked = check(&["--as", "uid:4000000", "--apdu", "00A40400", "--json"])?;
    let answer: Value = serde_json::from_str(&asked.out)?;
    assert_eq!((&answer["principal"], &answer["command"][0]["rule"]), (&"user 4000000".into(), &"default".into()));
    for (who, words) in [
        ("alice", "use self, user:NAME, uid:NUMBER or token:NAME"),
        ("sid:S-1-5-18", "only users and groups of Windows have a SID: use user:NAME, uid:NUMBER or group:NAME"),
        ("user:4000000", "there is no user `4000000`: use another name, or its number (uid:"),
        ("user:NOWHERE\\anna", "a domain before the name is for Windows"),
    ] {
        let wrong = check(&["--as", who])?;
        // The message is wrapped.
        let told = wrong.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(wrong.code == Some(2) && told.contains(words), "{wrong:?}");
    }
    fs::write(&file, "rule = [{ name = 'x', principals = [], allow = ['see'] }]")?;
    let broken = check(&[])?;
    assert!(broken.code == Some(3) && broken.err.contains("rule[0].principals: is empty"), "{broken:?}");

    // The policy is explained by the daemon's program; without it there is no answer.
    let alone = folder.path().join("cardbroker");
    fs::copy(program("cardbroker")?, &alone)?;
    let asked = run(process::Command::new(alone).args(["policy", "check"]).env("PATH", ""))?;
    assert!(asked.code == Some(2) && asked.err.contains("install it"), "{asked:?}");
    Ok(())
}
