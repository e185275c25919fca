//! Bad input gets a clear error over the wire itself, reaches no card, and harms nobody else.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_proto::v1::{
    ApduCommand, OpenSessionResponse, SessionOpen, SessionTransmit, StatusWordPattern, TransmitRequest, TurnOptions,
    WatchReadersRequest, command::Action, open_session_response::Response,
};
use cardbroker_tests::harness::broker::{Broker, Setup};
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::Duration as WireDuration;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Request, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{
    wire::{Stub, apdu, channel, failure, field, refused_call, request, stub, told, transmit, waiting_for},
    world::{COUNT, INCREMENT, LONG, LONGEST, SELECT, slow, tell, wait_for},
};

const READER: &str = "readers/simulated-reader-00";

async fn broker() -> anyhow::Result<Broker> {
    let broker = Setup::simulated(1)?.start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

/// Runs one command whose answer is a number, and returns that number.
async fn number(stub: &mut Stub, apdu: &str) -> anyhow::Result<u32> {
    let answer = transmit(stub, request(READER, &[apdu])).await?;
    Ok(u32::from_be_bytes(data(&answer.results[0])[..].try_into()?))
}

/// The data of an answer that must be 90 00.
fn data(result: &cardbroker_proto::v1::CommandResult) -> &Vec<u8> {
    let apdu = apdu(result);
    assert_eq!(apdu.status_word, 0x9000, "{result:?}");
    &apdu.data
}

#[test]
fn every_violation_names_its_field_and_reaches_no_card() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stub = stub(&broker).await?;
        let good = || request(READER, &[SELECT]);
        // The unit's first command is valid each time: not even that one is sent.
        let second = |apdu: &str| request(READER, &[INCREMENT, apdu]);
        let altered = |alter: fn(&mut TransmitRequest)| {
            let mut request = good();
            alter(&mut request);
            request
        };
        let wait =
            |seconds, nanos| TransmitRequest { turn: waiting_for(Some(WireDuration { seconds, nanos })), ..good() };
        let turn = |turn| TransmitRequest { turn: Some(turn), ..good() };
        let option = |alter: fn(&mut ApduCommand)| {
            let mut request = good();
            if let Some(Action::Apdu(apdu)) = &mut request.commands[0].action {
                alter(apdu);
            }
            request
        };
        let mask = |mask| {
            let mut request = good();
            let [whole, masked] = [None, Some(mask)].map(|mask| StatusWordPattern { value: 0x9000, mask });
            request.commands[0].continue_on = vec![whole, masked];
            request
        };
        let apdu = "commands[1].apdu.bytes";
        let before = number(&mut stub, COUNT).await?;
        for (case, expected) in [
            (request(READER, &[]), "commands"),
            (request(READER, &[INCREMENT; 65]), "commands"),
            (second(""), apdu),
            (second("00A404"), apdu),
            (second("00A4040006F043415244"), apdu),
            (second("00A4040001F0434152440100"), apdu),
            (second("00A404000000"), apdu),
            (second("00A40400000002F0"), apdu),
            (second("00A4040000000000"), apdu),
            (second(&"00".repeat(65_545)), apdu),
            (turn(TurnOptions { reset_before: 9, ..TurnOptions::default() }), "turn.reset_before"),
            (turn(TurnOptions { if_insertion_id: "x".repeat(129), ..TurnOptions::default() }), "turn.if_insertion_id"),
            (turn(TurnOptions { if_state_tag: "x".repeat(129), ..TurnOptions::default() }), "turn.if_state_tag"),
            (wait(-1, 0), "turn.wait_timeout"),
            (wait(24 * 3600, 1), "turn.wait_timeout"),
            (altered(|request| request.disposition = 9), "disposition"),
            (altered(|request| request.commands[0].stop_rule = 9), "commands[0].stop_rule"),
            (altered(|request| request.commands[0].action = None), "commands[0].action"),
            (option(|apdu| apdu.continue_class = Some(256)), "commands[0].apdu.continue_class"),
            (option(|apdu| apdu.continue_instruction = 256), "commands[0].apdu.continue_instruction"),
            (
                altered(|request| {
                    request.commands[0].continue_on = vec![StatusWordPattern { value: 0x1_0000, mask: None }];
                }),
                "commands[0].continue_on[0].value",
            ),
            (mask(0), "commands[0].continue_on[1].mask"),
            (mask(0x1_0000), "commands[0].continue_on[1].mask"),
            (mask(-1), "commands[0].continue_on[1].mask"),
            (
                altered(|request| request.commands[0].continue_on = vec![StatusWordPattern::default(); 17]),
                "commands[0].continue_on",
            ),
        ] {
            let status = transmit(&mut stub, case).await.unwrap_err();
            assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST not_sent", "{expected}");
            assert_eq!(field(&status).as_deref(), Some(expected), "{status:?}");
            assert!(status.message().starts_with(expected) && !status.message().contains('\n'), "{status:?}");
        }
        let token = WatchReadersRequest { resume_token: "x".repeat(129) };
        let status = timeout(LONG, stub.watch_readers(token)).await?.map(drop).unwrap_err();
        assert_eq!(
            (&*told(&status), &*field(&status).unwrap()),
            ("InvalidArgument INVALID_REQUEST not_sent", "resume_token")
        );
        assert_eq!(number(&mut stub, COUNT).await?, before + 1, "the card saw a command");
        Ok(())
    })
}

#[test]
fn the_largest_allowed_values_are_accepted() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stub = stub(&broker).await?;
        let largest = format!("8014000000FFFF{}0000", "5A".repeat(65_535));
        let answer = transmit(&mut stub, request(READER, &[&largest])).await?;
        assert_eq!(data(&answer.results[0]).len(), 65_535);
        assert_eq!(transmit(&mut stub, request(READER, &[INCREMENT; 64])).await?.results.len(), 64);
        let alike = [&[INCREMENT; 1][..], &[&largest[..]; 15]].concat();
        assert_eq!(transmit(&mut stub, request(READER, &alike)).await?.results.len(), 16, "just below 1 MiB");
        Ok(())
    })
}

#[test]
fn unknown_reader_names_are_not_found() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stub = stub(&broker).await?;
        let before = number(&mut stub, COUNT).await?;
        for name in ["readers/nowhere", "simulated-reader-00", "Simulated Reader 00", "readers/", ""] {
            let status = transmit(&mut stub, request(name, &[INCREMENT])).await.unwrap_err();
            assert_eq!(told(&status), "NotFound READER_NOT_FOUND not_sent");
            assert_eq!(failure(&status).unwrap().reader, "", "{name} is no reader");
        }
        // Repeated in an error, it would not fit into the headers.
        let status = transmit(&mut stub, request(&"x".repeat(100_000), &[INCREMENT])).await.unwrap_err();
        assert_eq!(told(&status), "NotFound READER_NOT_FOUND not_sent");
        assert_eq!(number(&mut stub, COUNT).await?, before + 1, "the card saw a command");
        Ok(())
    })
}

#[test]
fn a_message_over_one_mebibyte_is_refused_and_not_sent() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut stub = stub(&broker).await?;
        let before = number(&mut stub, COUNT).await?;
        let long = format!("80140000010000{}", "5A".repeat(65_000));
        let status = transmit(&mut stub, request(READER, &[&long[..]; 17])).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST not_sent");
        assert_eq!(number(&mut stub, COUNT).await?, before + 1, "the card saw a command");
        Ok(())
    })
}

#[test]
fn errors_outside_the_contract_carry_its_details_too() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        assert_eq!(told(&refused_call(&broker, "Transmit").await?), "InvalidArgument INVALID_REQUEST not_sent");
        assert_eq!(told(&refused_call(&broker, "Destroy").await?), "Unimplemented NOT_IMPLEMENTED not_sent");
        Ok(())
    })
}

#[test]
fn garbage_on_the_socket_harms_nobody() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let mut worker = stub(&broker).await?;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let garbage = [
            (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            [&preface[..], &[0xFF; 4096]].concat(),
            // A frame longer than agreed, and a HEADERS frame that is not HPACK.
            [&preface[..], &settings, &[0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1]].concat(),
            [&preface[..], &settings, &[0, 0, 4, 1, 5, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]].concat(),
        ];
        let socket = broker.socket();
        let vandal = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            for bytes in garbage.iter().cycle().take(50) {
                let mut stream = UnixStream::connect(&socket)?;
                stream.set_read_timeout(Some(LONGEST))?;
                // The broker may close the connection before it has read all of it.
                let _ = stream.write_all(bytes);
                let closed = match stream.read_to_end(&mut Vec::new()) {
                    Ok(_) => true,
                    Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
                };
                anyhow::ensure!(closed, "the broker keeps a connection that sends garbage");
            }
            Ok(())
        });
        let mut done = 0;
        while !vandal.is_finished() || done < 100 {
            done += 1;
            assert_eq!(number(&mut worker, INCREMENT).await?, done);
        }
        vandal.await??;

        let mut oversized = Request::new(request(READER, &[INCREMENT]));
        oversized.metadata_mut().insert("x-long", "x".repeat(40_000).parse()?);
        timeout(LONG, stub(&broker).await?.transmit(oversized)).await?.unwrap_err();
        assert_eq!(number(&mut worker, INCREMENT).await?, done + 1, "the oversized request has run");
        assert!(!broker.settled_log().contains("panicked"));
        Ok(())
    })
}

/// Bytes in place of a session's message, which may be malformed.
#[derive(Clone, PartialEq, prost::Message)]
struct Rough {
    #[prost(bytes = "vec", optional, tag = "1")]
    open: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    transmit: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "3")]
    no_reset: Option<u64>,
}

#[test]
fn a_malformed_message_ends_a_session_after_its_answers() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let open = SessionOpen { reader: READER.into(), ..SessionOpen::default() }.encode_to_vec();
        let slow = request(READER, &[INCREMENT, &slow(300)]).commands;
        let transmit = SessionTransmit { id: 1, commands: slow }.encode_to_vec();
        let messages = [
            Rough { open: Some(open), ..Rough::default() },
            Rough { transmit: Some(transmit), ..Rough::default() },
            Rough { no_reset: Some(1), ..Rough::default() },
        ];
        let mut client = Grpc::new(channel(&broker).await?);
        client.ready().await?;
        let path = PathAndQuery::from_static("/cardbroker.v1.CardBrokerService/OpenSession");
        // The stream stays open, so that the client receives the final status.
        let messages = tokio_stream::iter(messages).chain(tokio_stream::pending());
        let answers = client.streaming(Request::new(messages), path, ProstCodec::default()).await?;
        let mut answers: Streaming<OpenSessionResponse> = answers.into_inner();
        let mut answered = false;
        let over = loop {
            match timeout(LONG, answers.message()).await? {
                Ok(message) => {
                    let response = message.and_then(|message| message.response).context("the stream has ended")?;
                    answered |= matches!(response, Response::Transmitted(_));
                }
                Err(status) => break status,
            }
        };
        assert!(answered, "messages that were read before are answered");
        assert_eq!(told(&over), "InvalidArgument INVALID_REQUEST not_sent");
        Ok(())
    })
}
