//! A repeated `request_id` gets the first outcome and no second execution, however the first answer was lost.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use cardbroker_client::{CardReset, Client, Command, Disposition, Endpoint, Error, StopRule, hex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

use crate::world::{
    COUNT, INCREMENT, LONG, PcscWorld, READER, Stage, answers, arrived, over_both_backends, refusal, slow, tell, told,
    unit,
};

const ROUNDS: u32 = 1000;

/// Forwards between a client and the broker; on request it swallows the broker's answers.
struct Proxy {
    socket: PathBuf,
    swallow: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    fn start(socket: PathBuf, broker: PathBuf) -> anyhow::Result<Self> {
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let swallow = Arc::new(AtomicBool::new(false));
        let swallows = Arc::clone(&swallow);
        let task = tokio::spawn(async move {
            // Its connections end with the proxy.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(broker) = UnixStream::connect(&broker).await else { return };
                connections.spawn(forward(client, broker, Arc::clone(&swallows)));
            }
        });
        Ok(Self { socket, swallow, task })
    }

    async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(Endpoint::Unix(self.socket.clone())).await?)
    }

    /// Cuts all connections, then stops.
    fn cut(self) {
        self.task.abort();
    }
}

async fn forward(client: UnixStream, broker: UnixStream, swallow: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let answers = async {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from_broker.read(&mut bytes).await {
            if !swallow.load(Ordering::Relaxed) && to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_broker) => {}
        () = answers => {}
    }
}

fn id(number: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[0xA5; 12]].concat()
}

#[test]
fn a_repeat_after_a_cut_connection_runs_once() -> anyhow::Result<()> {
    tell(async {
        let world = PcscWorld::new("limits.max_outcomes_per_user = 2000", Default::default()).await?;
        let steady = world.broker.client().await?;
        for round in 1..=ROUNDS {
            let proxy = Proxy::start(world.broker.folder().join("proxy.sock"), world.broker.socket())?;
            let client = proxy.client().await?;
            client.readers().await?;
            proxy.swallow.store(true, Ordering::Relaxed);
            let lost = tokio::spawn(unit(&client, READER, &[INCREMENT]).request_id(id(round)).send());
            ensure!(world.card.wait_until(LONG, |seen| seen.by_instruction[0x12] == u64::from(round)), "round {round}");
            proxy.cut();
            let error = lost.await?.unwrap_err();
            ensure!(error.delivery() == cardbroker_client::Delivery::Unknown, "{error:?}");

            let repeated = unit(&steady, READER, &[INCREMENT]).request_id(id(round)).send().await?;
            ensure!(answers(&repeated) == [format!("{round:08X} 9000")] && repeated.replayed, "{repeated:?}");
        }
        assert_eq!(world.card.seen().by_instruction[0x12], u64::from(ROUNDS));
        Ok(())
    })
}

async fn a_repeat_joins_a_waiting_or_running_request(stage: Stage) -> anyhow::Result<()> {
    let busy = stage.keep_busy(300).await?;
    let long = slow(300);
    let ask = || stage.unit(&[INCREMENT, &long]).request_id(id(1)).send();
    let (first, second, third) = tokio::join!(ask(), ask(), async {
        // Sent while the first one runs.
        busy.await??;
        stage.until_busy().await?;
        anyhow::Ok(ask().await?)
    });
    let (first, second, third) = (first?, second?, third?);
    assert_eq!(answers(&first), ["00000001 9000", "9000"]);
    assert_eq!((answers(&second), answers(&third)), (answers(&first), answers(&first)));
    // The order of arrival of two streams is undefined.
    assert!(first.replayed != second.replayed && third.replayed, "{first:?} {second:?} {third:?}");
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000002 9000"]);
    Ok(())
}

async fn a_repeat_with_an_insertion_binds_the_waiting_request(stage: Stage) -> anyhow::Result<()> {
    let before = stage.unit(&[COUNT]).send().await?.insertion_id;
    let busy = stage.keep_busy(300).await?;
    let ask = || stage.unit(&[INCREMENT]).request_id(id(1));
    let first = arrived(&stage.client, ask()).await?;
    assert_eq!(refusal(ask().if_insertion_id("another")).await?, "INSERTION_CHANGED not_sent");
    assert_eq!(told(&first.await.unwrap_err()), "INSERTION_CHANGED not_sent");
    busy.await??;

    let busy = stage.keep_busy(300).await?;
    let (first, second) = tokio::join!(ask().if_insertion_id(&*before).send(), ask().send());
    busy.await??;
    assert_eq!(
        (answers(&first?), answers(&second?)),
        (vec!["00000001 9000".to_owned()], vec!["00000001 9000".to_owned()])
    );
    // After the execution, its outcome is final.
    let repeated = ask().if_insertion_id("another").send().await?;
    assert!(repeated.replayed && repeated.insertion_id == before, "{repeated:?}");
    Ok(())
}

async fn a_repeat_of_an_unsent_unit_runs(stage: Stage) -> anyhow::Result<()> {
    let busy = stage.keep_busy(300).await?;
    let impatient = stage.unit(&[INCREMENT]).request_id(id(1)).wait_timeout(Duration::ZERO);
    assert_eq!(refusal(impatient).await?, "QUEUE_TIMEOUT not_sent");
    // All callers have given up: it leaves the queue.
    drop(arrived(&stage.client, stage.unit(&[INCREMENT]).request_id(id(2))).await?);
    busy.await??;
    for number in 1..=2 {
        let repeated = stage.unit(&[INCREMENT]).request_id(id(number)).send().await?;
        assert_eq!((&*answers(&repeated)[0], repeated.replayed), (&*format!("{number:08X} 9000"), false));
    }
    Ok(())
}

async fn an_id_stands_for_one_request(stage: Stage) -> anyhow::Result<()> {
    stage.unit(&[INCREMENT]).request_id(id(1)).send().await?;
    for other in [stage.unit(&[COUNT]), stage.raw_unit(&[INCREMENT]), stage.unit(&[INCREMENT, INCREMENT])] {
        assert_eq!(refusal(other.request_id(id(1))).await?, "REQUEST_ID_REUSED not_sent");
    }
    assert_eq!(refusal(stage.unit(&[INCREMENT]).request_id(vec![1; 15])).await?, "INVALID_REQUEST not_sent");
    Ok(())
}

async fn an_id_covers_every_field_of_the_commands(stage: Stage) -> anyhow::Result<()> {
    let increment = || Command::new(hex::parse(INCREMENT).unwrap());
    let ask = |command: Command| stage.client.transmit(stage.reader).command(command).request_id(id(1));
    ask(increment()).send().await?;
    for other in [
        increment().raw(),
        increment().continue_class(0x00),
        increment().continue_class(0x80),
        increment().continue_instruction(0xA5),
        increment().stop_rule(StopRule::Any),
        increment().stop_rule(StopRule::Only9000),
        increment().continue_on_exactly(0x9000),
        increment().allow_last_try(),
    ] {
        assert_eq!(refusal(ask(other.clone())).await?, "REQUEST_ID_REUSED not_sent", "{other:?}");
    }
    for disposition in [Disposition::Reset, Disposition::Unpower] {
        let other = refusal(ask(increment()).disposition(disposition)).await?;
        assert_eq!(other, "REQUEST_ID_REUSED not_sent", "{disposition:?}");
    }
    assert_eq!(refusal(ask(increment()).reset_before(CardReset::Cold)).await?, "REQUEST_ID_REUSED not_sent");
    // Different terms of waiting do not make it a different request.
    let again = ask(increment()).wait_timeout(Duration::ZERO).disposition(Disposition::Leave).send().await?;
    assert_eq!((&*answers(&again)[0], again.replayed), ("00000001 9000", true));
    Ok(())
}

async fn executed_is_final_for_a_request_id(stage: Stage) -> anyhow::Result<()> {
    // The card drops the answer unless it is fetched in class 00.
    let ask = || stage.unit(&[INCREMENT, "801A000000", INCREMENT]).request_id(id(1)).send();
    for replayed in [false, true, true] {
        let error = ask().await.unwrap_err();
        assert_eq!(told(&error), "RESPONSE_LOST executed at 1 after 2 answers");
        let Error::Stopped { partial, .. } = error else { panic!("{error}") };
        assert_eq!((answers(&partial), partial.replayed), (vec!["00000001 9000".into(), "6105".into()], replayed));
    }
    // Sent were INCREMENT, OFFER and two GET RESPONSEs.
    assert_eq!(stage.run(&[COUNT]).await?, ["00000005 9000"], "nothing was executed again");
    Ok(())
}

async fn an_outcome_survives_the_deadline_of_its_first_caller(stage: Stage) -> anyhow::Result<()> {
    let long = slow(600);
    let ask = || stage.unit(&[INCREMENT, &long]).request_id(id(1));
    let late = ask().deadline(Duration::from_millis(200)).send().await.unwrap_err();
    assert_eq!(told(&late), "DEADLINE_NEAR unknown");
    let repeated = ask().send().await?;
    assert_eq!((answers(&repeated).len(), repeated.replayed), (2, true));
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000002 9000"]);
    Ok(())
}

over_both_backends! { T1:
    a_repeat_joins_a_waiting_or_running_request,
    a_repeat_with_an_insertion_binds_the_waiting_request,
    a_repeat_of_an_unsent_unit_runs,
    an_id_stands_for_one_request,
    an_id_covers_every_field_of_the_commands,
    executed_is_final_for_a_request_id,
    an_outcome_survives_the_deadline_of_its_first_caller,
}

#[test]
fn an_unknown_outcome_is_replaced_once_the_driver_returns() -> anyhow::Result<()> {
    tell(async {
        let rule = "[[reader]]\nmatch = \".*\"\nexchange_timeout = \"1s\"\n";
        let world = PcscWorld::new(rule, Default::default()).await?;
        let client = world.broker.client().await?;
        let ask = || unit(&client, READER, &[INCREMENT]).request_id(id(1)).send();
        world.card.hang_next(LONG);
        assert_eq!(told(&ask().await.unwrap_err()), "READER_UNRESPONSIVE unknown");
        assert_eq!(told(&ask().await.unwrap_err()), "READER_UNRESPONSIVE unknown");
        world.card.resume();
        unit(&client, READER, &[COUNT]).wait_for_card().send().await?;
        assert_eq!(answers(&ask().await?), ["00000001 9000"]);
        assert_eq!(world.card.seen().by_instruction[0x12], 1);
        Ok(())
    })
}

#[test]
fn the_number_of_outcomes_is_limited_without_early_drops() -> anyhow::Result<()> {
    tell(async {
        let world =
            PcscWorld::new("limits.max_outcomes_per_user = 2\nlimits.outcome_lifetime = \"2s\"", Default::default())
                .await?;
        let client = world.broker.client().await?;
        let ask = |number| unit(&client, READER, &[INCREMENT]).request_id(id(number)).send();
        ask(1).await?;
        ask(2).await?;
        let full = ask(3).await.unwrap_err();
        assert_eq!(told(&full), "OUTCOMES_FULL not_sent");
        assert!(full.retry_after() > Some(Duration::ZERO) && ask(1).await?.replayed);
        let waited = async {
            while ask(3).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LONG, waited).await?;
        Ok(())
    })
}
