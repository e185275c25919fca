//! Which reading answers which request.

use std::sync::{Arc, Mutex, mpsc};

use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::config::{ReloadAsker, Unanswered};

type Asked = JoinHandle<Result<ReloadOutcome, Unanswered>>;

/// Asks, and lets the request arrive.
async fn ask<F>(asker: &ReloadAsker, reloads: &mut Reloads<F>) -> Asked
where
    F: Fn() -> Result<Config, ConfigError> + Clone + Send + 'static,
{
    let asker = asker.clone();
    let asked = tokio::spawn(async move { asker.ask().await });
    assert!(matches!(reloads.next().await, ReloadEvent::Asked));
    asked
}

/// The end of the reading under way, which the plan records.
async fn end_of_reading<F>(reloads: &mut Reloads<F>)
where
    F: Fn() -> Result<Config, ConfigError> + Clone + Send + 'static,
{
    let ReloadEvent::Read(read) = reloads.next().await else { panic!("another request") };
    assert!(matches!(*read, Ok(Reading { config: Some(Ok(_)), .. })));
    reloads.plan.on_read(TokensRead::Good, now());
}

#[tokio::test]
async fn a_request_is_answered_by_a_reading_that_begins_after_it() {
    let (began, mut beginnings) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, word) = mpsc::channel();
    let word = Arc::new(Mutex::new(word));
    let settings = move || {
        began.send(()).unwrap();
        word.lock().unwrap().recv().unwrap();
        Ok(Config::default())
    };
    let (asker, requests) = ReloadAsker::new();
    let mut reloads = Reloads::new(settings, &Config::default(), requests);

    let early = ask(&asker, &mut reloads).await;
    tokio::select! {
        _ = reloads.next() => panic!("the reading waits for a word"),
        _ = beginnings.recv() => {}
    }
    let late = ask(&asker, &mut reloads).await;
    let later = ask(&asker, &mut reloads).await;
    go_on.send(()).unwrap();
    end_of_reading(&mut reloads).await;
    reloads.answer(&Err("first".into()));
    assert_eq!(early.await.unwrap(), Ok(Err("first".into())));
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(!late.is_finished() && !later.is_finished(), "they came while the file was being read");

    go_on.send(()).unwrap();
    end_of_reading(&mut reloads).await;
    reloads.answer(&Err("second".into()));
    for shared in [late, later] {
        assert_eq!(shared.await.unwrap(), Ok(Err("second".into())));
    }
    assert_eq!(beginnings.len(), 1, "the second reading is shared");
}

#[tokio::test]
async fn requests_that_were_given_up_leave_their_places() {
    let (asker, requests) = ReloadAsker::new();
    let mut reloads = Reloads::new(|| Ok(Config::default()), &Config::default(), requests);
    // As while a reading never ends.
    assert_eq!(reloads.plan.begin(now()), None);
    reloads.plan.on_signal();
    assert_eq!(reloads.plan.begin(now()), Some(Cause::Signal));
    for _ in 0..100 {
        ask(&asker, &mut reloads).await.abort();
        yield_now().await;
    }
    assert!(reloads.waiting.len() <= 2, "{}", reloads.waiting.len());
}
