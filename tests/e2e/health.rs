//! The health service: in reflection, and on TCP one check that needs no token.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::{cardbroker, wait},
};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    tcp::{bearer, channel, token},
    world::{LONG, LONGEST, tell},
};

/// A broker that closes a connection without a request after this time.
async fn broker(timeout: &str) -> anyhow::Result<Broker> {
    let rules = "rule = [{ name = 'tests', principals = ['token:tests', 'self'], allow = ['all'] }]";
    let configuration = format!("listen.first_request_timeout = \"{timeout}\"\n{rules}");
    Setup::simulated(1)?.tcp(&["tests"])?.configuration(&configuration).log_level("debug").start()
}

async fn check(channel: &Channel, service: &str) -> anyhow::Result<Result<ServingStatus, Status>> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = timeout(LONG, HealthClient::new(channel.clone()).check(request)).await?;
    Ok(answer.map(|answer| answer.into_inner().status()))
}

#[test]
fn only_the_check_of_the_whole_broker_needs_no_token() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("1m").await?;
        let open = channel(&broker).await?;
        for _ in 0..3 {
            assert_eq!(check(&open, "").await?.unwrap(), ServingStatus::Serving);
        }
        for service in ["cardbroker.v1.CardBrokerService", "x"] {
            assert_eq!(check(&open, service).await?.unwrap_err().code(), Code::Unauthenticated, "{service}");
        }
        let mut client = HealthClient::new(open.clone());
        let watch = client.watch(HealthCheckRequest::default());
        assert_eq!(timeout(LONG, watch).await?.unwrap_err().code(), Code::Unauthenticated);
        // A token that is not valid is a failed try here, too.
        let mut wrong = Request::new(HealthCheckRequest::default());
        wrong.metadata_mut().insert("authorization", "Bearer x".parse()?);
        let wrong = timeout(LONG, HealthClient::new(open.clone()).check(wrong)).await?;
        assert_eq!(wrong.unwrap_err().code(), Code::Unauthenticated);
        let mut right = Request::new(HealthCheckRequest { service: "cardbroker.v1.CardBrokerService".into() });
        right.metadata_mut().insert("authorization", bearer(&token(&broker, "tests")?).parse()?);
        let right = timeout(LONG, HealthClient::new(open).check(right)).await??;
        assert_eq!(right.into_inner().status(), ServingStatus::Serving);
        Ok(())
    })
}

#[test]
fn ten_checks_a_second_are_served_and_no_try_is_counted() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("1m").await?;
        let open = channel(&broker).await?;
        let (mut served, begin) = (Vec::new(), Instant::now());
        for _ in 0..40 {
            match check(&open, "").await? {
                Ok(status) => {
                    assert_eq!(status, ServingStatus::Serving);
                    served.push(Instant::now());
                }
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
            }
        }
        let most = 10 * (1 + begin.elapsed().as_secs() as usize);
        assert!((10..=most).contains(&served.len()), "{} in {:?}", served.len(), begin.elapsed());
        sleep(Duration::from_millis(1_100)).await;
        assert_eq!(check(&open, "").await?.unwrap(), ServingStatus::Serving, "five bad tokens would have closed it");
        assert!(!broker.settled_log().contains("unauthenticated"), "{}", broker.log());
        Ok(())
    })
}

#[test]
fn a_client_with_many_checks_keeps_no_other_from_its_own() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("1m").await?;
        let mut greedy = Vec::new();
        for _ in 0..3 {
            let open = channel(&broker).await?;
            // It ends with the broker.
            let goes_on = |answer: &Result<_, Status>| {
                answer.as_ref().err().is_none_or(|status| status.code() == Code::ResourceExhausted)
            };
            greedy.push(tokio::spawn(
                async move { while check(&open, "").await.is_ok_and(|answer| goes_on(&answer)) {} },
            ));
        }
        let begin = Instant::now();
        // A probe opens a connection each time, or keeps its own.
        let kept = channel(&broker).await?;
        while begin.elapsed() < Duration::from_secs(3) {
            for open in [&channel(&broker).await?, &kept] {
                assert_eq!(check(open, "").await?.unwrap(), ServingStatus::Serving, "after {:?}", begin.elapsed());
            }
            sleep(Duration::from_millis(200)).await;
        }
        greedy.iter().for_each(tokio::task::JoinHandle::abort);
        Ok(())
    })
}

#[test]
fn checks_keep_no_connection_open() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("2s").await?;
        let open = channel(&broker).await?;
        let closed = async {
            while !broker.log().contains("connection closed: no request arrived in time") {
                let _ = check(&open, "").await;
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(LONGEST, closed).await.context("the checks keep it open")?;
        Ok(())
    })
}

#[test]
fn a_broker_that_stops_is_not_serving() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker("1m").await?;
        let open = channel(&broker).await?;
        assert_eq!(check(&open, "").await?.unwrap(), ServingStatus::Serving);
        // A command of 5 s, which the broker lets end before it stops.
        let mut unit = cardbroker(&broker.endpoint(), &["transmit", "reader-00", "80160000021388"])?;
        let mut unit = unit.stdout(Stdio::null()).spawn()?;
        let deadline = Instant::now() + LONGEST;
        while broker.cardbroker(&["transmit", "reader-00", "8010000004", "--wait-timeout", "0s"])?.code != Some(7) {
            ensure!(Instant::now() < deadline, "{}", broker.log());
        }
        broker.signal(Signal::TERM)?;
        while check(&open, "").await?.context("no answer while the unit runs")? != ServingStatus::NotServing {
            ensure!(Instant::now() < deadline, "{}", broker.log());
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(wait(&mut unit, LONGEST)?.code(), Some(0), "the unit has ended in order");
        assert_eq!(broker.wait()?.code(), Some(0));
        Ok(())
    })
}
