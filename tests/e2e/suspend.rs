//! Suspended programs, and clocks that differ: the daemon or pcscd is stopped for seconds and goes on, and the daemon
//! lives in a time namespace.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use cardbroker_client::{ReaderState, Watch, WatchEvent};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_proto::v1::SessionOpen;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup, program},
        pcscd::Pcscd,
        run::{self, cardbroker},
        users::may_become_others,
    },
};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::{
    conversation::{Conversation, milliseconds, opening},
    wire::stub,
    world::{
        COUNT, INCREMENT, LONG, PcscWorld, READER, Stage, answers, arrived, over_both_backends, tell, told, unit,
        wait_for, wait_until,
    },
};

/// How long a program is stopped.
const STOPPED: Duration = Duration::from_secs(3);
/// A watcher that hears nothing for this time has heard all.
const QUIET: Duration = Duration::from_millis(300);

over_both_backends! { T1:
    a_stopped_daemon_goes_on_with_its_session_and_its_waiter,
    a_wait_that_ends_while_the_daemon_is_stopped_times_out,
}

/// A watch that has heard all there was, when the reader is READY.
async fn settled_watch(broker: &Broker, reader: &str) -> anyhow::Result<Watch> {
    let mut watch = broker.client().await?.watch();
    wait_until(&mut watch, |watch| {
        watch.readers().get(reader).is_some_and(|reader| reader.state() == ReaderState::Ready)
    })
    .await?;
    while timeout(QUIET, watch.next()).await.is_ok() {}
    Ok(watch)
}

async fn a_stopped_daemon_goes_on_with_its_session_and_its_waiter(stage: Stage) -> anyhow::Result<()> {
    let mut watch = settled_watch(&stage.broker, stage.reader).await?;
    let open = SessionOpen { idle_timeout: milliseconds(60_000), ..opening(stage.reader) };
    let mut session = Conversation::open(&stub(&stage.broker).await?, open).await?;
    assert_eq!(session.run(&[INCREMENT]).await, "1: 00000001 9000");
    let other = stage.broker.client().await?;
    let waiter = arrived(&other, unit(&other, stage.reader, &[INCREMENT])).await?;
    assert_eq!(session.hear().await, "waiters 1");

    stage.broker.signal(Signal::STOP)?;
    sleep(STOPPED).await;
    stage.broker.signal(Signal::CONT)?;

    assert_eq!(session.run(&[INCREMENT]).await, "2: 00000002 9000", "the lease holds");
    assert_eq!(session.close().await, ["over: OK"]);
    assert_eq!(answers(&timeout(LONG, waiter).await??), ["00000003 9000"]);
    let news = timeout(QUIET, watch.next()).await;
    assert!(news.is_err(), "the card has not changed: {news:?}");
    Ok(())
}

async fn a_wait_that_ends_while_the_daemon_is_stopped_times_out(stage: Stage) -> anyhow::Result<()> {
    let open = SessionOpen { idle_timeout: milliseconds(60_000), ..opening(stage.reader) };
    let session = Conversation::open(&stub(&stage.broker).await?, open).await?;
    let other = stage.broker.client().await?;
    let waiting = unit(&other, stage.reader, &[INCREMENT]).wait_timeout(STOPPED / 2);
    let waiter = arrived(&other, waiting).await?;
    stage.broker.signal(Signal::STOP)?;
    sleep(STOPPED).await;
    stage.broker.signal(Signal::CONT)?;
    let resumed = Instant::now();
    assert_eq!(told(&timeout(LONG, waiter).await?.unwrap_err()), "QUEUE_TIMEOUT not_sent");
    assert!(resumed.elapsed() < STOPPED / 2, "it waited anew: {:?}", resumed.elapsed());
    assert_eq!(session.close().await, ["over: OK"]);
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "the waiter's command never ran");
    Ok(())
}

#[test]
fn a_card_changed_while_the_daemon_was_stopped_is_reported_once() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::usual().await?;
        let mut watch = settled_watch(&world.broker, READER).await?;
        let before = watch.readers()[READER].clone();
        world.broker.signal(Signal::STOP)?;
        world.card.pull();
        // Longer than a poll of the driver.
        sleep(Duration::from_secs(1)).await;
        world.card.swap(CardOptions { serial: 7, ..CardOptions::default() });
        sleep(Duration::from_secs(1)).await;
        world.broker.signal(Signal::CONT)?;

        let mut ready = 0;
        while let Ok(event) = timeout(Duration::from_secs(2), watch.next()).await {
            let WatchEvent::Updated(reader) = event else { anyhow::bail!("told of {event:?}") };
            ready += usize::from(reader.state() == ReaderState::Ready);
        }
        let after = &watch.readers()[READER];
        assert_eq!((ready, after.state()), (1, ReaderState::Ready));
        assert_ne!(after.insertion_id, before.insertion_id);
        assert_eq!(after.insertion_count, before.insertion_count + 1);
        Ok(())
    })
}

#[test]
fn a_stopped_pcscd_makes_the_reader_unresponsive_until_it_goes_on() -> anyhow::Result<()> {
    tell(async {
        let rule = "[[reader]]\nmatch = '.*'\nexchange_timeout = '1s'\n";
        let world = PcscWorld::new(rule, CardOptions::default()).await?;
        let client = world.broker.client().await?;
        let mut watch = client.watch();
        wait_until(&mut watch, |watch| watch.readers().get(READER).is_some()).await?;
        world.pcscd.signal(Signal::STOP)?;
        let stuck = unit(&client, READER, &[INCREMENT]).send().await.unwrap_err();
        assert_eq!(told(&stuck), "READER_UNRESPONSIVE unknown");
        wait_until(&mut watch, |watch| watch.readers()[READER].state() == ReaderState::Unresponsive).await?;
        world.pcscd.signal(Signal::CONT)?;
        wait_until(&mut watch, |watch| watch.readers()[READER].state() == ReaderState::Ready).await?;
        let ran = world.card.seen().by_instruction[0x12];
        assert!(ran <= 1, "a command that may have run is not repeated");
        let next = unit(&client, READER, &[INCREMENT]).send().await?;
        assert_eq!(answers(&next).len(), 1);
        Ok(())
    })
}

#[test]
fn readers_that_vanish_and_return_keep_their_names_and_are_told_once() -> anyhow::Result<()> {
    tell(async {
        let mut world = PcscWorld::usual().await?;
        let mut watch = world.broker.client().await?.watch();
        wait_until(&mut watch, |watch| watch.readers().len() == 2).await?;
        let before = watch.readers()[READER].clone();
        // Longer than the time in which a reader counts as being on its way back.
        world.pcscd.restart_as(&["Another"])?;
        wait_until(&mut watch, |watch| watch.readers().get(READER).is_none() && watch.readers().len() == 2).await?;
        world.pcscd.restart_as(&["Virtual PCD A"])?;
        let mut states = Vec::new();
        let returned = async {
            while states.last() != Some(&ReaderState::Ready) {
                if let WatchEvent::Updated(reader) = watch.next().await
                    && reader.name == READER
                {
                    states.push(reader.state());
                }
            }
        };
        timeout(LONG, returned).await?;
        assert_eq!(states.iter().filter(|state| **state == ReaderState::Ready).count(), 1, "{states:?}");
        assert_ne!(watch.readers()[READER].insertion_id, before.insertion_id);
        Ok(())
    })
}

/// A daemon whose monotonic and boot clocks are weeks ahead of everybody else's.
#[test]
fn a_daemon_in_a_time_namespace_serves_waits_and_leases() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    tell(async {
        let pcscd = Pcscd::start(1)?;
        let _card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("s/cardbroker.sock");
        let mut daemon = Command::new("unshare");
        daemon.args(["--fork", "--kill-child", "--time", "--monotonic", "3000000", "--boottime", "3000000"]);
        daemon.arg(program("cardbrokerd")?).arg("--socket").arg(&socket).env("PCSCLITE_CSOCK_NAME", pcscd.socket());
        let mut daemon = daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("no unshare")?;
        let endpoint = format!("unix:{}", socket.display());
        let transmit = |arguments: &[&str]| {
            let all = [&["transmit", READER, COUNT, "--wait-for-card"], arguments].concat();
            run::run(&mut cardbroker(&endpoint, &all)?)
        };
        let deadline = Instant::now() + LONG;
        let mut answer = transmit(&[])?;
        while answer.code != Some(0) && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
            answer = transmit(&[])?;
        }
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let began = Instant::now();
        let empty = run::run(&mut cardbroker(
            &endpoint,
            &["transmit", "virtual-pcd-a-00-01", COUNT, "--wait-for-card", "--wait-timeout", "1s"],
        )?)?;
        assert!(empty.err.contains("QUEUE_TIMEOUT") || empty.err.contains("wait_timeout"), "{empty:?}");
        assert!((Duration::from_millis(900)..LONG).contains(&began.elapsed()), "{:?}", began.elapsed());
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    })
}

#[test]
fn a_daemon_ends_with_its_terminal_unless_it_was_started_by_nohup() -> anyhow::Result<()> {
    tell(async {
        // The tests themselves may run with the signal ignored.
        let (plain, nohup) = ("env --default-signal=HUP ", "nohup ");
        // Other systems have no `/proc`.
        let without_proc = "unshare --mount sh -c 'mount -t tmpfs none /proc && exec \"$@\"' sh ";
        let mut ways = vec![(plain.to_owned(), false), (nohup.to_owned(), true)];
        if may_become_others()? {
            ways.extend([(format!("{without_proc}{plain}"), false), (format!("{without_proc}{nohup}"), true)]);
        }
        for (prefix, survives) in ways {
            let broker_folder = tempfile::tempdir()?;
            let socket = broker_folder.path().join("s/cardbroker.sock");
            let line = format!(
                "exec {prefix}{} --simulate 1 --socket {} >/dev/null 2>&1",
                program("cardbrokerd")?.display(),
                socket.display()
            );
            let mut terminal = Command::new("script")
                .args(["--quiet", "--command", &line, "/dev/null"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .context("no script (package bsdutils)")?;
            let serves = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
            let wait = async |wished: bool, limit: Duration| {
                let deadline = Instant::now() + limit;
                while serves() != wished && Instant::now() < deadline {
                    sleep(Duration::from_millis(20)).await;
                }
                serves() == wished
            };
            assert!(wait(true, LONG).await, "it does not serve");
            let pid = format!(
                "{}",
                rustix::net::sockopt::socket_peercred(std::os::unix::net::UnixStream::connect(&socket)?)?
                    .pid
                    .as_raw_nonzero()
            );
            terminal.kill()?;
            terminal.wait()?;
            let ended = wait(false, if survives { Duration::from_secs(1) } else { LONG }).await;
            if survives {
                let kill = |signal: &str| Command::new("kill").args([signal, &pid]).status();
                assert!(!ended, "it ended in spite of {prefix}");
                assert!(kill("-TERM")?.success());
                assert!(wait(false, LONG).await);
            }
            assert!(survives || ended, "it lives on: {prefix}");
        }
        Ok(())
    })
}

#[test]
fn a_reload_by_signal_needs_no_terminal() -> anyhow::Result<()> {
    tell(async {
        let mut broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
        broker.signal(Signal::HUP)?;
        let deadline = Instant::now() + LONG;
        while !broker.log().contains("policy_reloaded") && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        assert!(broker.log().contains("policy_reloaded"), "{}", broker.log());
        wait_for(&broker, "readers/simulated-reader-00", ReaderState::Ready).await?;
        assert_eq!(broker.stop()?.code(), Some(0));
        Ok(())
    })
}
