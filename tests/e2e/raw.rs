//! Raw commands, APDUs or not, beside commands that the broker adapts to the card.

use cardbroker_client::{Command, MAX_RAW_BYTES, StatusWordSource, StopRule, hex};
use cardbroker_core::slot::Protocol;
use cardbroker_proto::v1::{TransmitRequest, command::Action};

use crate::{
    wire::{field, request, stub, told, transmit},
    world::{
        COUNT, GET_RESPONSE, INCREMENT, SELECT, SELECT_AND_FETCH, Stage, answers, over_both_backends, raw_unit, tell,
    },
};

over_both_backends! { T1: raw_and_adapted_commands_share_a_unit }

mod strict_t0 {
    use super::{Stage, over_both_backends};
    over_both_backends! { T0: raw_and_adapted_commands_share_a_unit }
    async fn raw_and_adapted_commands_share_a_unit(stage: Stage) -> anyhow::Result<()> {
        super::raw_and_adapted_commands_share_a_unit(stage).await
    }
}

async fn raw_and_adapted_commands_share_a_unit(stage: Stage) -> anyhow::Result<()> {
    let fitted = |apdu: &str| Command::new(hex::parse(apdu).unwrap());
    let raw = |apdu: &str| fitted(apdu).raw();
    let unit = stage.client.transmit(stage.reader).commands([
        raw(SELECT),
        raw(GET_RESPONSE),
        fitted(SELECT_AND_FETCH),
        fitted("00B2010400"),
        raw("00B2010400").stop_rule(StopRule::Any),
        fitted(COUNT),
    ]);
    let transmitted = unit.send().await?;
    let told = answers(&transmitted);
    assert_eq!((&*told[0], &*told[4]), ("6113", "6C10"), "{told:?}");
    assert!(told[1].starts_with("6F11") && told[1] == told[2], "{told:?}");
    let sources: Vec<_> = transmitted.results.iter().map(|result| result.status_word_source).collect();
    let command = StatusWordSource::Command;
    let [fetched, corrected] = [StatusWordSource::GetResponse, StatusWordSource::CorrectedCommand];
    assert_eq!(sources, [command, command, fetched, corrected, command, command]);
    // Each raw command is one exchange, each other one here is two; the query is one.
    assert_eq!(told[5], "00000008 9000");
    Ok(())
}

/// Sends raw commands of these lengths, and checks that longer and shorter ones are refused.
async fn raw_bytes_of_any_structure(stage: Stage, lengths: &[usize]) -> anyhow::Result<()> {
    for length in lengths {
        let bytes = Command::new(vec![0xB0; *length]).raw();
        let transmitted = stage.client.transmit(stage.reader).command(bytes).send().await?;
        assert_eq!(answers(&transmitted), ["6700"], "{length}");
    }
    let mut stub = stub(&stage.broker).await?;
    for length in [0, MAX_RAW_BYTES + 1] {
        let mut request: TransmitRequest = request(stage.reader, &[INCREMENT, INCREMENT]);
        let Some(Action::Apdu(apdu)) = &mut request.commands[1].action else { panic!("no APDU") };
        (apdu.raw, apdu.bytes) = (true, vec![0xB0; length]);
        let status = transmit(&mut stub, request).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST not_sent", "{length}");
        assert_eq!(field(&status).as_deref(), Some("commands[1].apdu.bytes"));
    }
    let unit = raw_unit(&stage.client, stage.reader, &[COUNT]);
    let received = format!("{:08X} 9000", lengths.len() + 1);
    assert_eq!(answers(&unit.send().await?), [received], "each of them, and nothing else");
    Ok(())
}

#[test]
fn raw_bytes_of_any_structure_reach_a_simulated_card() -> anyhow::Result<()> {
    tell(async {
        for protocol in [Protocol::T1, Protocol::T0] {
            let stage = Stage::simulated(protocol).await?;
            raw_bytes_of_any_structure(stage, &[1, 2, 3, 6, 1000, MAX_RAW_BYTES]).await?;
        }
        Ok(())
    })
}

#[test]
fn raw_bytes_of_any_structure_reach_a_card_over_pcsc() -> anyhow::Result<()> {
    tell(async {
        for protocol in [Protocol::T1, Protocol::T0] {
            let stage = Stage::pcsc(protocol).await?;
            // The virtual driver has a length of two bytes, and interprets a single byte itself.
            raw_bytes_of_any_structure(stage, &[2, 3, 6, 1000, 65_535]).await?;
        }
        Ok(())
    })
}
