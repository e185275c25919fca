//! A service manager of the test's own, at the other end of the socket.

use tokio::net::UnixDatagram;

use super::*;

/// How a stop asks for time.
const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=15000000\n";

async fn received(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1_024];
    let length = timeout(Duration::from_secs(20), socket.recv(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn manager(watchdog: Option<Duration>) -> (ServiceManager, UnixDatagram) {
    let (here, there) = UnixDatagram::pair().unwrap();
    (ServiceManager::of(here, watchdog), there)
}

#[tokio::test]
async fn each_state_is_one_message_and_a_status_is_one_line() {
    let (mut manager, socket) = manager(None);
    manager.ready("2 readers");
    assert_eq!(received(&socket).await, "READY=1\nSTATUS=2 readers\n");
    manager.status("2 readers");
    manager.status("3\nreaders");
    assert_eq!(received(&socket).await, "STATUS=3 readers\n");
    manager.reloading();
    let reloading = received(&socket).await;
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
    manager.stopping();
    manager.finish().await;
    assert_eq!(received(&socket).await, format!("STOPPING=1\n{MORE_TIME}STATUS=stopping\n"));
}

/// Fills the buffer of a service manager that reads nothing, by pings.
async fn fill(socket: &UnixDatagram) -> usize {
    let mut sent = 0;
    while socket.try_send(b"WATCHDOG=1\n").is_ok() {
        sent += 1;
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn a_state_waits_for_a_service_manager_that_reads_late() {
    for reload in [false, true] {
        let (here, there) = UnixDatagram::pair().unwrap();
        let filled = fill(&here).await;
        let mut manager = ServiceManager::of(here, Some(Duration::from_millis(100)));
        manager.ready("0 readers");
        if reload {
            manager.reloading();
            manager.ready("0 readers");
        }
        for number in 1..=1_000 {
            manager.status(&format!("{number} readers"));
            tokio::task::yield_now().await;
        }
        // Many times the time of one message.
        sleep(Duration::from_secs(60)).await;
        for _ in 0..filled {
            assert_eq!(received(&there).await, "WATCHDOG=1\n");
        }
        let mut states = Vec::new();
        for _ in 0..20 {
            states.push(received(&there).await);
        }
        states.retain(|message| message != "WATCHDOG=1\n");
        assert_eq!(states.pop().unwrap_or_default(), "READY=1\nSTATUS=1000 readers\n");
        assert_eq!(states.len(), usize::from(reload), "{states:?}");
        assert!(states.iter().all(|state| state.starts_with("RELOADING=1\n")), "{states:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_asks_for_time_until_it_ends() {
    let (mut manager, socket) = manager(None);
    manager.ready("0 readers");
    manager.stopping();
    assert_eq!(received(&socket).await, format!("STOPPING=1\n{MORE_TIME}STATUS=stopping\n"));
    let begin = tokio::time::Instant::now();
    // The first one comes at once, too.
    for _ in 0..121 {
        assert_eq!(received(&socket).await, MORE_TIME);
    }
    let took = begin.elapsed();
    assert!((Duration::from_secs(600)..Duration::from_secs(610)).contains(&took), "{took:?}");
    manager.finish().await;
    assert!(socket.try_recv(&mut [0]).is_err(), "it asks no more");
}

#[tokio::test]
async fn the_watchdog_is_pinged_twice_in_its_time() {
    let (_manager, socket) = manager(Some(Duration::from_millis(100)));
    let begin = std::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(received(&socket).await, "WATCHDOG=1\n");
    }
    assert!(begin.elapsed() >= Duration::from_millis(140), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_service_manager_that_reads_nothing_delays_nobody() {
    let (mut manager, _socket) = manager(None);
    let begin = std::time::Instant::now();
    for number in 0..10_000 {
        manager.status(&number.to_string());
    }
    manager.finish().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
