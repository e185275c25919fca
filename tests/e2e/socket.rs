//! The socket's path while the broker runs: removed, replaced, or gone with its folder.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_client::{Client, ReaderState};
use cardbroker_tests::harness::broker::{Broker, Setup, program};
use rustix::process::Signal;

use crate::{
    daemon::{cardbrokerd, cpu_ticks},
    world::{LONG, SELECT, tell, unit, wait_for},
};

const READER: &str = "readers/simulated-reader-00";
const AGAIN: &str = "the socket was removed or replaced: listening again";

/// A broker with a socket in a folder of its own, and a client with a connection.
async fn broker() -> anyhow::Result<(Broker, Client)> {
    let broker = Setup::simulated(1)?.new_folder()?.start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    let client = broker.client().await?;
    Ok((broker, client))
}

/// Waits until new clients find the broker again; the earlier client is served all the time.
async fn found_again(broker: &Broker, earlier: &Client, losses: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + LONG;
    while broker.log().matches(AGAIN).count() < losses {
        ensure!(Instant::now() < deadline, "not noticed: {}", broker.log());
        unit(earlier, READER, &[SELECT]).send().await?;
    }
    assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0));
    unit(earlier, READER, &[SELECT]).send().await?;
    assert_eq!(broker.settled_log().matches(AGAIN).count(), losses, "one record for each loss");
    Ok(())
}

#[test]
fn a_removed_socket_is_opened_again_at_once() -> anyhow::Result<()> {
    tell(async {
        let (mut broker, earlier) = broker().await?;
        for losses in 1..=3 {
            fs::remove_file(broker.socket())?;
            let removed = Instant::now();
            found_again(&broker, &earlier, losses).await?;
            assert!(removed.elapsed() < Duration::from_secs(5), "{:?}", removed.elapsed());
        }
        assert_eq!(broker.stop()?.code(), Some(0));
        assert!(!broker.socket().exists(), "it is the broker's own again");
        Ok(())
    })
}

#[test]
fn a_file_in_the_sockets_place_is_moved_aside() -> anyhow::Result<()> {
    tell(async {
        let (broker, earlier) = broker().await?;
        let other = broker.folder().join("other");
        fs::write(&other, "text")?;
        fs::rename(&other, broker.socket())?;
        found_again(&broker, &earlier, 1).await?;
        assert_eq!(fs::read_to_string(broker.socket().with_extension("sock.replaced"))?, "text");
        // A socket without a listener is nobody's.
        let dead = broker.folder().join("dead");
        drop(std::os::unix::net::UnixListener::bind(&dead)?);
        fs::rename(&dead, broker.socket())?;
        found_again(&broker, &earlier, 2).await
    })
}

#[test]
fn a_removed_folder_is_made_again() -> anyhow::Result<()> {
    tell(async {
        let (mut broker, earlier) = broker().await?;
        let folder = broker.socket().parent().map_or_else(PathBuf::new, PathBuf::from);
        // Renamed first: the broker would put its socket into a folder that is being emptied.
        let away = broker.folder().join("away");
        fs::rename(&folder, &away)?;
        fs::remove_dir_all(&away)?;
        found_again(&broker, &earlier, 1).await?;
        // It has the lock again, too.
        let socket = broker.socket().display().to_string();
        let second = cardbrokerd(&["--simulate", "1", "--config", "/dev/null", "--socket", &socket])?;
        assert_eq!(second.code, Some(4), "{second:?}");
        assert_eq!(broker.stop()?.code(), Some(0));
        Ok(())
    })
}

#[test]
fn a_replaced_folder_above_the_sockets_is_noticed_at_once() -> anyhow::Result<()> {
    tell(async {
        let (mut broker, earlier) = broker().await?;
        let above = broker.folder().join("above");
        for losses in 1..=3 {
            fs::rename(&above, broker.folder().join(format!("away-{losses}")))?;
            fs::create_dir_all(above.join("new"))?;
            let replaced = Instant::now();
            found_again(&broker, &earlier, losses).await?;
            assert!(replaced.elapsed() < Duration::from_secs(5), "{:?}", replaced.elapsed());
        }
        assert_eq!(broker.stop()?.code(), Some(0));
        Ok(())
    })
}

#[test]
fn a_folder_that_stays_missing_costs_nothing_until_it_is_back() -> anyhow::Result<()> {
    tell(async {
        let (broker, earlier) = broker().await?;
        let folder = broker.socket().parent().map_or_else(PathBuf::new, PathBuf::from);
        // A file in the folder's place: the broker can make none there.
        let away = broker.folder().join("away");
        let block = broker.folder().join("block");
        fs::write(&block, "")?;
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            &folder,
            rustix::fs::CWD,
            &block,
            rustix::fs::RenameFlags::EXCHANGE,
        )?;
        fs::rename(&block, &away)?;
        let problem = "the socket was removed or replaced, and new clients find no broker";
        let deadline = Instant::now() + LONG;
        while !broker.log().contains(problem) {
            ensure!(Instant::now() < deadline, "not noticed: {}", broker.log());
            unit(&earlier, READER, &[SELECT]).send().await?;
        }
        let (before, window) = (cpu_ticks(&broker)?, Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let used = cpu_ticks(&broker)? - before;
        assert!(used < 10, "{used} ticks of 10 ms in {:?}", window.elapsed());
        assert_eq!(broker.log().matches(problem).count(), 1, "{}", broker.log());
        fs::remove_file(&folder)?;
        found_again(&broker, &earlier, 1).await
    })
}

#[test]
fn files_that_were_moved_aside_are_kept() -> anyhow::Result<()> {
    tell(async {
        let (broker, earlier) = broker().await?;
        let place = |name: &str| broker.folder().join(name);
        let replaced = |name: &str| broker.socket().with_extension(format!("sock.replaced{name}"));
        fs::write(place("first"), "first")?;
        fs::rename(place("first"), broker.socket())?;
        found_again(&broker, &earlier, 1).await?;
        // A folder, which has something in it.
        fs::create_dir(place("second"))?;
        fs::write(place("second").join("inside"), "second")?;
        fs::remove_file(broker.socket())?;
        while fs::rename(place("second"), broker.socket()).is_err() {
            // The broker was faster.
            fs::remove_file(broker.socket())?;
        }
        let deadline = Instant::now() + LONG;
        while !replaced("-2").exists() || std::os::unix::net::UnixStream::connect(broker.socket()).is_err() {
            ensure!(Instant::now() < deadline, "not moved aside: {}", broker.log());
            unit(&earlier, READER, &[SELECT]).send().await?;
        }
        assert_eq!(fs::read_to_string(replaced(""))?, "first");
        assert_eq!(fs::read_to_string(replaced("-2").join("inside"))?, "second");

        // The number of such files is bounded: then the broker says so and waits.
        for number in 3..=9 {
            fs::write(replaced(&format!("-{number}")), number.to_string())?;
        }
        fs::write(place("third"), "third")?;
        fs::rename(place("third"), broker.socket())?;
        let problem = "9 files were moved away from there before: remove the files whose names contain .replaced";
        while !broker.log().contains(problem) {
            ensure!(Instant::now() < deadline, "not refused: {}", broker.log());
            unit(&earlier, READER, &[SELECT]).send().await?;
        }
        assert_eq!(fs::read_to_string(broker.socket())?, "third");
        fs::remove_file(replaced("-5"))?;
        while fs::read_to_string(replaced("-5")).ok().as_deref() != Some("third") {
            ensure!(Instant::now() < deadline, "not moved aside: {}", broker.log());
            unit(&earlier, READER, &[SELECT]).send().await?;
        }
        assert_eq!(fs::read_to_string(replaced("-4"))?, "4");
        Ok(())
    })
}

#[test]
fn the_broker_with_the_lock_takes_its_path_back() -> anyhow::Result<()> {
    tell(async {
        let (mut broker, earlier) = broker().await?;
        let other = broker.folder().join("other");
        let listener = std::os::unix::net::UnixListener::bind(&other)?;
        fs::rename(&other, broker.socket())?;
        found_again(&broker, &earlier, 1).await?;
        let aside = broker.socket().with_extension("sock.replaced");
        drop(std::os::unix::net::UnixStream::connect(aside)?);
        drop(listener);
        assert_eq!(broker.stop()?.code(), Some(0));
        Ok(())
    })
}

#[test]
fn a_broker_whose_path_another_broker_has_taken_ends() -> anyhow::Result<()> {
    tell(async {
        let (mut first, earlier) = broker().await?;
        let waiting = earlier.open_session(READER).open().await?;
        let folder = first.socket().parent().map_or_else(PathBuf::new, PathBuf::from);
        // The first one must not notice the loss before the second one has begun.
        first.signal(Signal::STOP)?;
        fs::rename(&folder, first.folder().join("away"))?;
        let log = File::create(first.folder().join("second.log"))?;
        let mut second = Command::new(program("cardbrokerd")?)
            .args(["--simulate", "1", "--config", "/dev/null", "--socket"])
            .arg(first.socket())
            .stderr(log)
            .spawn()?;
        let story = async {
            let deadline = Instant::now() + LONG;
            while !first.socket().exists() {
                ensure!(Instant::now() < deadline && second.try_wait()?.is_none(), "the second broker does not begin");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            first.signal(Signal::CONT)?;
            assert_eq!(first.wait()?.code(), Some(4), "{}", first.log());
            let log = first.settled_log();
            assert!(log.contains(&format!("another broker has taken {}", first.socket().display())), "{log}");
            assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
            drop(waiting);
            // The second one is not disturbed.
            assert_eq!(first.cardbroker(&["readers"])?.code, Some(0));
            assert!(first.socket().exists() && second.try_wait()?.is_none());
            Ok(())
        };
        let told = story.await;
        second.kill()?;
        second.wait()?;
        told
    })
}
