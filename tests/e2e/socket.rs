//! The socket's path while the broker runs: removed, replaced, or gone with its folder.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::ensure;
use cardbroker_client::{Client, ReaderState};
use cardbroker_tests::harness::broker::{Broker, Setup};

use crate::{
    daemon::{cardbrokerd, cpu_ticks},
    world::{LONG, SELECT, tell, unit, wait_for},
};

const READER: &str = "readers/simulated-reader-00";
const AGAIN: &str = "the socket was removed or replaced: listening again";

/// A broker with a socket in a folder of its own, and a client with a connection.
async fn broker() -> anyhow::Result<(Broker, Client)> {
    let broker = Setup::simulated(1)?.new_folder().start()?;
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
