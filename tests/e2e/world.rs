//! The world of a story: a broker on simulated readers, or on a private pcscd with a virtual card; and short names for
//! common calls of clients.

use std::{
    env,
    future::Future,
    io::{self, Write},
    path::Path,
    pin::Pin,
    time::Duration,
};

use anyhow::{Context, bail};
use cardbroker_client::{
    Client, Command, ConnectOptions, Endpoint, Error, Reader, ReaderState, Transmit, Transmitted, Watch, hex,
};
use cardbroker_core::{simulated_card::CardOptions, slot::Protocol};
pub(crate) use cardbroker_tests::harness::LONGEST;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup, program},
        habits::Habits,
        pcscd::Pcscd,
    },
};
use tokio::{task::JoinHandle, time::timeout};

/// The longest that anything may take that is not under test.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const SELECT: &str = "00A4040006F04341524401";
pub(crate) const SELECT_AND_FETCH: &str = "00A4040006F0434152440100";
pub(crate) const GET_RESPONSE: &str = "00C0000013";
pub(crate) const COUNT: &str = "8010000004";
pub(crate) const INCREMENT: &str = "8012000004";
pub(crate) const VERIFY: &str = "00200080083132333435363738";
pub(crate) const PROTECTED: &str = "00B0810005";

/// A command that the card answers after `milliseconds`.
pub(crate) fn slow(milliseconds: u16) -> String {
    format!("8016000002{milliseconds:04X}")
}

/// A command that causes a fault of the card; see the simulated card.
pub(crate) fn fault(kind: u8, a: u16, b: u16) -> String {
    format!("80F0{kind:02X}0004{a:04X}{b:04X}")
}

/// Runs a story on a runtime of its own. Stories block at times, on processes and cards, so their clients have threads
/// of their own.
pub(crate) fn tell(story: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tell_within(6 * LONG, story)
}

/// Like `tell`, with another limit.
pub(crate) fn tell_within(limit: Duration, story: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // The first story builds all programs, which its limit does not cover.
    program("cardbrokerd")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { timeout(limit, story).await.context("the story takes too long")? })
}

/// The seed of a story's random choices: that of the variable SEED, or a new one. Printed, so that the story can be
/// repeated.
pub(crate) fn seed() -> anyhow::Result<u64> {
    let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    writeln!(io::stderr(), "random choices with SEED={seed}")?;
    Ok(seed)
}

/// A random PIN of so many digits.
pub(crate) fn random_pin(random: &mut fastrand::Rng, digits: usize) -> String {
    (0..digits).map(|_| random.digit(10)).collect()
}

/// A broker on real PC/SC, and the card in its first reader.
pub(crate) struct PcscWorld {
    pub(crate) broker: Broker,
    pub(crate) card: VirtualCard,
    pub(crate) pcscd: Pcscd,
    /// The habits of the broker's PC/SC; `None` if it is pcsc-lite as it is.
    pub(crate) habits: Option<Habits>,
}

impl PcscWorld {
    /// Starts with two readers; a card is in the first one and is READY.
    pub(crate) async fn new(configuration: &str, card: CardOptions) -> anyhow::Result<Self> {
        Self::with(None, configuration, card).await
    }

    /// Like `new`, with these habits of PC/SC.
    pub(crate) async fn with(habits: Option<Habits>, configuration: &str, card: CardOptions) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(2)?;
        let card = VirtualCard::insert(pcscd.port(0), card)?;
        let setup = Setup::on(&pcscd)?.configuration(configuration);
        let broker = match &habits {
            // One that takes no code for a promise of pcsc-lite.
            Some(habits) => setup.habits(habits).daemon(Path::new(env!("CARGO_BIN_EXE_broker-of-others"))).start()?,
            None => setup.start()?,
        };
        wait_for(&broker, READER, ReaderState::Ready).await?;
        Ok(Self { broker, card, pcscd, habits })
    }

    /// Starts with the default configuration and card.
    pub(crate) async fn usual() -> anyhow::Result<Self> {
        Self::usual_with(None).await
    }

    /// Like `usual`, with these habits of PC/SC.
    pub(crate) async fn usual_with(habits: Option<Habits>) -> anyhow::Result<Self> {
        Self::with(habits, "", CardOptions::default()).await
    }
}

/// The first reader of a private pcscd.
pub(crate) const READER: &str = "readers/virtual-pcd-a-00-00";

/// A story's stage over one of the backends: a broker and a reader with a card.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) reader: &'static str,
    /// The PC/SC service of the broker.
    _stack: Option<Stack>,
}

/// A private pcscd with a card, and the broker at whose door another one is a program.
struct Stack {
    _outer: Option<Broker>,
    _card: VirtualCard,
    _pcscd: Pcscd,
}

impl Stage {
    pub(crate) async fn simulated(protocol: Protocol) -> anyhow::Result<Self> {
        Self::simulated_with(protocol, "").await
    }

    pub(crate) async fn pcsc(protocol: Protocol) -> anyhow::Result<Self> {
        Self::pcsc_with(protocol, "").await
    }

    pub(crate) async fn simulated_with(protocol: Protocol, configuration: &str) -> anyhow::Result<Self> {
        let broker = Setup::simulated(2)?.configuration(configuration).start()?;
        let reader = match protocol {
            Protocol::T0 => "readers/simulated-reader-01",
            Protocol::T1 | Protocol::Raw => "readers/simulated-reader-00",
        };
        wait_for(&broker, reader, ReaderState::Ready).await?;
        Ok(Self { client: broker.client().await?, broker, reader, _stack: None })
    }

    pub(crate) async fn pcsc_with(protocol: Protocol, configuration: &str) -> anyhow::Result<Self> {
        let world = PcscWorld::new(configuration, CardOptions { protocol, ..CardOptions::default() }).await?;
        let client = world.broker.client().await?;
        let stack = Stack { _outer: None, _card: world.card, _pcscd: world.pcscd };
        Ok(Self { client, broker: world.broker, reader: READER, _stack: Some(stack) })
    }

    /// The broker is a program at the door of another one, which has the card.
    pub(crate) async fn nested(protocol: Protocol) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(2)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions { protocol, ..CardOptions::default() })?;
        let outer = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&outer, READER, ReaderState::Ready).await?;
        let broker = Setup::behind(outer.door())?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let stack = Stack { _outer: Some(outer), _card: card, _pcscd: pcscd };
        Ok(Self { client: broker.client().await?, broker, reader: READER, _stack: Some(stack) })
    }

    /// A unit of the stage's client on its reader.
    pub(crate) fn unit(&self, apdus: &[&str]) -> Transmit {
        unit(&self.client, self.reader, apdus)
    }

    /// Like `unit`, with raw commands.
    pub(crate) fn raw_unit(&self, apdus: &[&str]) -> Transmit {
        raw_unit(&self.client, self.reader, apdus)
    }

    /// Waits until a unit runs: a request that does not wait then fails.
    pub(crate) async fn until_busy(&self) -> anyhow::Result<()> {
        let busy = async { while self.unit(&[COUNT]).wait_timeout(Duration::ZERO).send().await.is_ok() {} };
        timeout(LONG, busy).await.context("the card is never busy")
    }

    /// Keeps the card busy by another client for `milliseconds`, from now on.
    pub(crate) async fn keep_busy(&self, milliseconds: u16) -> anyhow::Result<JoinHandle<Result<Transmitted, Error>>> {
        let client = self.broker.client().await?;
        let busy = tokio::spawn(unit(&client, self.reader, &[&slow(milliseconds)]).send());
        self.until_busy().await?;
        Ok(busy)
    }

    /// Runs a unit to its end; returns `DATA SW` of each answer.
    pub(crate) async fn run(&self, apdus: &[&str]) -> anyhow::Result<Vec<String>> {
        Ok(answers(&self.unit(apdus).send().await?))
    }
}

/// A client in an isolation group by a key, with a connection of its own.
pub(crate) async fn in_group(broker: &Broker, key: &str) -> anyhow::Result<Client> {
    let options = ConnectOptions { group: Some(key.to_owned()), ..ConnectOptions::default() };
    Ok(Client::connect_with(Endpoint::Unix(broker.socket()), options).await?)
}

/// A unit of `client` on `reader`.
pub(crate) fn unit(client: &Client, reader: &str, apdus: &[&str]) -> Transmit {
    let apdus: Vec<_> = apdus.iter().map(|apdu| hex::parse(apdu).unwrap()).collect();
    client.transmit(reader).commands(apdus)
}

/// Like `unit`, with raw commands.
pub(crate) fn raw_unit(client: &Client, reader: &str, apdus: &[&str]) -> Transmit {
    let raw = |apdu: &&str| Command::new(hex::parse(apdu).unwrap()).raw();
    client.transmit(reader).commands(apdus.iter().map(raw))
}

/// A unit that has arrived at the broker and is not answered yet. Dropping it disconnects its caller.
pub(crate) async fn arrived(
    client: &Client,
    unit: Transmit,
) -> anyhow::Result<Pin<Box<impl Future<Output = Result<Transmitted, Error>> + use<>>>> {
    let mut unit = Box::pin(unit.send());
    tokio::select! {
        biased;
        early = &mut unit => bail!("it was answered: {early:?}"),
        // A connection's calls arrive in order.
        readers = client.readers() => drop(readers?),
    }
    Ok(unit)
}

/// The answers as text: data and status word, as the command line prints them.
pub(crate) fn answers(transmitted: &Transmitted) -> Vec<String> {
    let line = |data: &[u8], word: u16| format!("{} {word:04X}", hex::format(data)).trim_start().to_owned();
    transmitted.results.iter().map(|result| line(&result.data, result.status_word)).collect()
}

/// A failure as "REASON delivery"; the stop of a unit as "REASON delivery after N answers".
pub(crate) fn told(error: &Error) -> String {
    let reason = error.reason().map_or("no reason", |reason| reason.short_name());
    let delivery = error.delivery().short_name();
    match error {
        Error::Stopped { stop, partial } => {
            format!("{reason} {delivery} at {} after {} answers", stop.index, partial.results.len())
        }
        _ => format!("{reason} {delivery}"),
    }
}

/// The failure of a unit that must fail, as text.
pub(crate) async fn refusal(unit: Transmit) -> anyhow::Result<String> {
    match unit.send().await {
        Ok(transmitted) => bail!("it was answered: {:?}", answers(&transmitted)),
        Err(error) => Ok(told(&error)),
    }
}

/// Watches a reader until its state fits `wished`; returns the reader.
pub(crate) async fn wait_until(watch: &mut Watch, mut wished: impl FnMut(&Watch) -> bool) -> anyhow::Result<()> {
    let wait = async {
        while !wished(watch) {
            watch.next().await;
        }
    };
    timeout(LONG, wait).await.with_context(|| format!("not seen in time; last seen: {:?}", watch.readers()))
}

/// Waits until a reader is in `state`.
pub(crate) async fn wait_for(broker: &Broker, reader: &str, state: ReaderState) -> anyhow::Result<Reader> {
    let mut watch = broker.client().await?.watch();
    wait_until(&mut watch, |watch| watch.readers().get(reader).is_some_and(|reader| reader.state() == state)).await?;
    watch.readers().get(reader).cloned().context("gone")
}

/// Runs each story in a module of this name, on a stage of its own.
macro_rules! on_stage {
    ($module:ident, $stage:expr, $($story:ident),+) => {
        mod $module {
            $(#[test] fn $story() -> anyhow::Result<()> {
                use cardbroker_core::slot::Protocol;

                use crate::world::{Stage, tell};
                tell(async { super::$story($stage.await?).await })
            })+
        }
    };
}
pub(crate) use on_stage;

/// Runs each story over both backends: as `simulated::STORY` and `pcsc::STORY`, on a card with the protocol, and with
/// the broker's configuration if one is given.
macro_rules! over_both_backends {
    ($protocol:ident: $($story:ident),+ $(,)?) => {
        crate::world::over_both_backends! { $protocol, "": $($story),+ }
    };
    ($protocol:ident, $configuration:literal: $($story:ident),+ $(,)?) => {
        crate::world::on_stage! { simulated, Stage::simulated_with(Protocol::$protocol, $configuration), $($story),+ }
        crate::world::on_stage! { pcsc, Stage::pcsc_with(Protocol::$protocol, $configuration), $($story),+ }
    };
}
pub(crate) use over_both_backends;

/// Runs each story over both backends, and those of the first list also with a broker that is a program at the door of
/// another one, as `nested::STORY`.
macro_rules! over_all_stacks {
    ($protocol:ident: $($story:ident),+; not nested: $($other:ident),*) => {
        crate::world::over_both_backends! { $protocol: $($story,)+ $($other),* }
        crate::world::on_stage! { nested, Stage::nested(Protocol::$protocol), $($story),+ }
    };
}
pub(crate) use over_all_stacks;

/// Runs each story over pcsc-lite as it is, and with all habits of other systems' PC/SC at once: as `pcsc_lite::STORY`
/// and `all_habits::STORY`.
macro_rules! with_and_without_habits {
    ($($story:ident),+ $(,)?) => {
        mod pcsc_lite {
            $(#[test] fn $story() -> anyhow::Result<()> {
                crate::world::tell(async { super::$story(None).await })
            })+
        }
        mod all_habits {
            $(#[test] fn $story() -> anyhow::Result<()> {
                use cardbroker_tests::harness::habits::Habits;

                crate::world::tell(async { super::$story(Some(Habits::all()?)).await })
            })+
        }
    };
}
pub(crate) use with_and_without_habits;
