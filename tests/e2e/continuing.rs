//! GET RESPONSE after `61xx`, over both backends and both protocols: its class, and the loss of the answer.

use cardbroker_client::{Command, CommandResult, Delivery, Error, StatusWordSource, Transmit, Transmitted, hex};
use tonic::Code;

use crate::world::{COUNT, INCREMENT, Stage, answers, over_both_backends, refusal, told};

/// The answer of OFFER to a GET RESPONSE in the right class.
const OFFERED: &str = "7069636B79 9000";
/// The class of OFFER, of which another class of the same channel differs in secure messaging only.
const OWN: u8 = 0x80;
const INTERINDUSTRY: u8 = 0x00;

/// The classes that the protocol's rule and the other protocol's rule derive from OFFER's class.
struct Classes {
    first: u8,
    other: u8,
}

const T1: Classes = Classes { first: OWN, other: INTERINDUSTRY };
const T0: Classes = Classes { first: INTERINDUSTRY, other: OWN };

macro_rules! on_both_protocols {
    ($($story:ident),+ $(,)?) => {
        mod t1 {
            use super::{Stage, over_both_backends};
            over_both_backends! { T1: $($story),+ }
            $(async fn $story(stage: Stage) -> anyhow::Result<()> { super::$story(stage, super::T1).await })+
        }
        mod t0 {
            use super::{Stage, over_both_backends};
            over_both_backends! { T0: $($story),+ }
            $(async fn $story(stage: Stage) -> anyhow::Result<()> { super::$story(stage, super::T0).await })+
        }
    };
}

on_both_protocols! {
    get_response_goes_in_the_class_of_the_protocol,
    a_lost_answer_is_executed_and_shows_61xx,
    a_chosen_class_is_the_only_one,
    a_class_of_another_channel_is_refused,
}

/// A command whose answer can be fetched in `class` only; with `keep` the answer survives another class.
fn offer(class: u8, keep: bool) -> Command {
    Command::new([OWN, 0x1A, class, u8::from(keep), 0x00])
}

fn unit(stage: &Stage, command: Command) -> Transmit {
    stage.client.transmit(stage.reader).command(command)
}

/// The number of commands that the card has received, including this query.
async fn received(stage: &Stage) -> anyhow::Result<u32> {
    let count = stage.unit(&[COUNT]).send().await?;
    Ok(u32::from_be_bytes(count.results[0].data[..].try_into()?))
}

/// The result of a command whose answer was lost.
fn lost(outcome: Result<Transmitted, Error>) -> CommandResult {
    let error = outcome.expect_err("it was answered");
    assert_eq!(told(&error), "RESPONSE_LOST executed at 0 after 1 answers");
    let failure = error.failure().unwrap();
    assert_eq!((failure.code, failure.delivery, failure.retry_after), (Code::DataLoss, Delivery::Executed, None));
    let Error::Stopped { partial, .. } = error else { panic!("{error}") };
    partial.results[0].clone()
}

async fn get_response_goes_in_the_class_of_the_protocol(stage: Stage, classes: Classes) -> anyhow::Result<()> {
    // The class of the protocol's rule: the card drops its answer for any other.
    let direct = unit(&stage, offer(classes.first, false)).send().await?;
    let result = &direct.results[0];
    assert_eq!(answers(&direct), [OFFERED]);
    assert_eq!((result.status_word_source, result.get_response_count), (StatusWordSource::GetResponse, 1));
    // A patient card that requires the other class: the broker tries that class once.
    let further = unit(&stage, offer(classes.other, true)).send().await?;
    assert_eq!((&*answers(&further)[0], further.results[0].get_response_count), (OFFERED, 2));
    assert_eq!(received(&stage).await?, 2 + 3 + 1);
    Ok(())
}

async fn a_lost_answer_is_executed_and_shows_61xx(stage: Stage, classes: Classes) -> anyhow::Result<()> {
    let commands = [offer(classes.other, false), Command::new(hex::parse(INCREMENT)?)];
    let result = lost(stage.client.transmit(stage.reader).commands(commands).send().await);
    assert_eq!((result.data.len(), result.status_word), (0, 0x6105), "not the card's answer to GET RESPONSE");
    assert_eq!((result.status_word_source, result.get_response_count), (StatusWordSource::Command, 2));
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "the command behind it was not sent");
    Ok(())
}

async fn a_chosen_class_is_the_only_one(stage: Stage, classes: Classes) -> anyhow::Result<()> {
    let chosen = unit(&stage, offer(classes.other, false).continue_class(classes.other)).send().await?;
    assert_eq!((&*answers(&chosen)[0], chosen.results[0].get_response_count), (OFFERED, 1));
    // The broker does not try another class, not even for a card that would wait.
    let result = lost(unit(&stage, offer(classes.first, true).continue_class(classes.other)).send().await);
    assert_eq!((result.status_word, result.get_response_count), (0x6105, 1));
    assert_eq!(received(&stage).await?, 2 + 2 + 1);
    Ok(())
}

async fn a_class_of_another_channel_is_refused(stage: Stage, classes: Classes) -> anyhow::Result<()> {
    for class in [0x01, 0x83, 0x40, 0xC0, 0xFF] {
        let commands = [Command::new(hex::parse(INCREMENT)?), offer(OWN, true).continue_class(class)];
        let refused = stage.client.transmit(stage.reader).commands(commands).send().await.unwrap_err();
        assert_eq!(told(&refused), "INVALID_REQUEST not_sent", "{class:02X}");
        let fields: Vec<_> = refused.field_violations().iter().map(|violation| &*violation.field).collect();
        assert_eq!(fields, ["commands[1].apdu.continue_class"]);
    }
    // Without GET RESPONSE the class has no effect.
    let raw = unit(&stage, offer(OWN, true).raw().continue_class(0x01)).send().await?;
    assert_eq!(answers(&raw), ["6105"]);
    // Only the class that the card requires helps, not its neighbour on the same channel.
    let neighbour = unit(&stage, offer(classes.first, false).continue_class(0x84));
    assert_eq!(refusal(neighbour).await?, "RESPONSE_LOST executed at 0 after 1 answers");
    assert_eq!(stage.run(&[INCREMENT]).await?, ["00000001 9000"], "nothing of a refused unit was sent");
    Ok(())
}
