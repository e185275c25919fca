//! The TCP port: only programs of this machine with a token have access, and each of their units is isolated. For TLS
//! see `tls.rs`.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_proto::{
    GROUP_METADATA,
    v1::{ListReadersRequest, OpenSessionRequest, TransmitRequest, WatchReadersRequest},
};
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::{cardbroker, run},
    tls,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tonic::{Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    daemon::cardbrokerd,
    wire::{self, Stub, field, request, stub, told},
    world::{COUNT, INCREMENT, LONG, LONGEST, PROTECTED, SELECT, VERIFY, answers, slow, tell, unit, wait_for},
};

pub(crate) const READER: &str = "readers/simulated-reader-00";
const REFUSED: &str = "Unauthenticated UNAUTHENTICATED not_sent";

async fn broker(names: &[&str]) -> anyhow::Result<Broker> {
    let rules = "rule = [{ name = 'tests', principals = ['anyone'], allow = ['all'] }]";
    let broker = Setup::simulated(1)?.tcp(names)?.configuration(rules).start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

pub(crate) fn token(broker: &Broker, name: &str) -> anyhow::Result<String> {
    Ok(fs::read_to_string(broker.token_file(name))?.lines().next().context("no token")?.to_owned())
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) async fn channel(broker: &Broker) -> anyhow::Result<Channel> {
    tls::channel(&broker.tcp_address()?, &broker.certificate_file(), "http://localhost").await
}

/// Two connections: five bad tokens in a row close one.
pub(crate) async fn channels(broker: &Broker) -> anyhow::Result<[Channel; 2]> {
    Ok([channel(broker).await?, channel(broker).await?])
}

/// A request with the given headers.
fn with<T>(message: T, headers: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// The outcome of each method of every service, three of them on each connection.
pub(crate) async fn everything(
    [channel, other]: &[Channel; 2],
    headers: &[(&'static str, &str)],
) -> anyhow::Result<Vec<Result<(), Status>>> {
    let mut stub = Stub::new(channel.clone());
    let list = timeout(LONG, stub.list_readers(with(ListReadersRequest {}, headers))).await?.map(drop);
    let transmit = timeout(LONG, stub.transmit(with(request(READER, &[INCREMENT]), headers))).await?.map(drop);
    let watch = timeout(LONG, stub.watch_readers(with(WatchReadersRequest::default(), headers))).await?.map(drop);
    let mut stub = Stub::new(other.clone());
    let opens = tokio_stream::pending::<OpenSessionRequest>();
    let session = timeout(LONG, stub.open_session(with(opens, headers))).await?.map(drop);
    // That of the whole broker needs no token.
    let service = HealthCheckRequest { service: "cardbroker.v1.CardBrokerService".into() };
    let health = HealthClient::new(other.clone()).check(with(service, headers)).await.map(drop);
    let reflection = {
        use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};
        let asks = tokio_stream::pending::<ServerReflectionRequest>();
        let mut client = ServerReflectionClient::new(other.clone());
        timeout(LONG, client.server_reflection_info(with(asks, headers))).await?.map(drop)
    };
    Ok(vec![list, transmit, watch, session, health, reflection])
}

/// The number of commands that the card has received, including this one.
async fn count(broker: &Broker) -> anyhow::Result<u32> {
    let answer = unit(&broker.client().await?, READER, &[COUNT]).send().await?;
    Ok(u32::from_be_bytes(answer.results[0].data[..].try_into()?))
}

#[test]
fn the_command_line_works_over_tcp_beside_the_socket() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["tests"]).await?;
        let (endpoint, file) = (broker.tcp_endpoint()?, broker.token_file("tests"));
        let flag = file.to_str().unwrap();
        let listed = run(&mut cardbroker(&endpoint, &["readers", "--token-file", flag])?)?;
        assert!(listed.code == Some(0) && listed.out.contains("simulated-reader-00"), "{listed:?}");
        let mut command = cardbroker(&endpoint, &["transmit", READER, INCREMENT])?;
        let sent = run(command.env("CARDBROKER_TOKEN_FILE", &file))?;
        assert_eq!((sent.code, &*sent.out), (Some(0), "00000001 9000\n"), "{sent:?}");
        let local = broker.client().await?;
        let remote = broker.tcp_client("tests").await?;
        for (client, expected) in [(&local, "00000002 9000"), (&remote, "00000003 9000"), (&local, "00000004 9000")] {
            assert_eq!(answers(&unit(client, READER, &[INCREMENT]).send().await?), [expected]);
        }
        Ok(())
    })
}

#[test]
fn without_a_valid_token_nothing_is_served() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["tests"]).await?;
        let other = Setup::simulated(1)?.tcp(&["tests"])?.start()?;
        let right = token(&broker, "tests")?;
        let entry = fs::read_to_string(broker.folder().join("tokens"))?;
        let before = count(&broker).await?;
        for wrong in [
            None,
            Some(bearer("")),
            Some(bearer(&right[1..])),
            Some(bearer(&format!("{right}0"))),
            Some(bearer(&right.to_lowercase())),
            Some(format!("Basic {right}")),
            Some(right.clone()),
            Some(bearer(&token(&other, "tests")?)),
            Some(bearer(entry.trim().split_once(' ').context("no hash")?.1)),
        ] {
            let headers: Vec<_> = wrong.iter().map(|value| ("authorization", &**value)).collect();
            for outcome in everything(&channels(&broker).await?, &headers).await? {
                assert_eq!(told(&outcome.unwrap_err()), REFUSED, "{}", wrong.is_some());
            }
        }
        assert_eq!(count(&broker).await? - before, 1, "the card saw a command");
        let channels = channels(&broker).await?;
        everything(&channels, &[]).await?;
        let outcomes = everything(&channels, &[("authorization", &bearer(&right))]).await?;
        assert!(outcomes.iter().all(Result::is_ok), "on the same connection: {outcomes:?}");

        let run = run(&mut cardbroker(&broker.tcp_endpoint()?, &["readers"])?)?;
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{run:?}");
        assert!(run.err.contains("needs a token file") && run.err.contains("cardbroker token new"), "{run:?}");
        Ok(())
    })
}

#[test]
fn requests_possible_from_a_browser_page_are_refused() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["tests"]).await?;
        let authorization = bearer(&token(&broker, "tests")?);
        let invalid = "InvalidArgument INVALID_REQUEST not_sent";
        let page = [("authorization", &*authorization), ("origin", "http://localhost")];
        for outcome in everything(&channels(&broker).await?, &page).await? {
            let status = outcome.unwrap_err();
            assert_eq!((&*told(&status), field(&status).as_deref()), (invalid, Some("origin")));
        }
        for (authority, served) in [
            ("http://rebound.example:7777", false),
            ("http://10.0.0.1", false),
            ("http://localhost:1", true),
            ("http://[::1]", true),
        ] {
            let (address, certificate) = (broker.tcp_address()?, broker.certificate_file());
            let connect = || tls::channel(&address, &certificate, authority);
            for outcome in everything(&[connect().await?, connect().await?], &page[..1]).await? {
                match outcome {
                    Ok(()) => assert!(served, "{authority}"),
                    Err(status) => assert_eq!(
                        (served, &*told(&status), field(&status).as_deref()),
                        (false, invalid, Some(":authority")),
                        "{authority}"
                    ),
                }
            }
        }
        // A browser cannot connect to a Unix socket.
        let mut local = stub(&broker).await?;
        local.list_readers(with(ListReadersRequest {}, &page[1..])).await?;
        Ok(())
    })
}

#[test]
fn http_1_is_refused() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["tests"]).await?;
        let address = broker.tcp_address()?;
        let authorization = bearer(&token(&broker, "tests")?);
        tls::stream(&address, &broker.certificate_file(), &[b"http/1.1"]).await.unwrap_err();
        for (line, more) in [
            ("GET / HTTP/1.1", ""),
            ("OPTIONS / HTTP/1.1", "Origin: http://localhost\r\n"),
            ("GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            (
                "POST /cardbroker.v1.CardBrokerService/ListReaders HTTP/1.1",
                "Content-Type: application/grpc\r\nContent-Length: 0\r\n",
            ),
        ] {
            let mut stream = tls::stream(&address, &broker.certificate_file(), &[]).await?;
            let request = format!("{line}\r\nHost: {address}\r\nAuthorization: {authorization}\r\n{more}\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            // Closed, with or without a last HTTP/2 frame.
            let _ = timeout(LONGEST, stream.read_to_end(&mut answer)).await.context("it is kept open")?;
            assert!(!answer.windows(5).any(|bytes| bytes == b"HTTP/"), "{line}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_start_with_insecure_tcp_settings_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (socket, config, tokens) = (path("cardbroker.sock"), path("c.toml"), path("tokens"));
    let start = |arguments: &[&str]| {
        cardbrokerd(
            &[&["--simulate", "1", "--socket", &socket, "--config", &config, "--tokens", &tokens], arguments].concat(),
        )
    };
    fs::write(&config, "[listen]\ntcp = \"0.0.0.0:7777\"")?;
    let wide = start(&[])?;
    let expected = format!("cardbrokerd: {config}:2:7: listen.tcp: 0.0.0.0 means every address ");
    assert!(wide.code == Some(3) && wide.err.starts_with(&expected), "{wide:?}");
    assert!(wide.err.contains("name one of them"), "{wide:?}");
    fs::write(&config, "")?;

    let check = || start(&["--tcp", "127.0.0.1:0", "--check-config"]);
    let missing = check()?;
    assert!(missing.code == Some(3) && missing.err.contains("cardbroker token new NAME"), "{missing:?}");
    fs::write(&tokens, "")?;
    for mode in [0o640, 0o620, 0o604] {
        fs::set_permissions(&tokens, Permissions::from_mode(mode))?;
        let loose = check()?;
        let expected =
            format!("cardbrokerd: listen.tokens: {tokens} is open to others (its mode is {mode:04o}): chmod 600 it\n");
        assert_eq!((loose.code, &*loose.err), (Some(3), &*expected));
    }
    fs::set_permissions(&tokens, Permissions::from_mode(0o600))?;
    fs::write(&tokens, "\nsecret")?;
    let wrong = check()?;
    assert!(wrong.code == Some(3) && wrong.err.contains("line 2: ") && !wrong.err.contains("secret"), "{wrong:?}");
    fs::write(&tokens, "")?;

    let rival = TcpListener::bind("127.0.0.1:0")?;
    let taken = start(&["--tcp", &rival.local_addr()?.to_string()])?;
    assert!(taken.code == Some(5) && taken.err.contains("choose another port (listen.tcp)"), "{taken:?}");
    assert!(!folder.path().join("cardbroker.sock").exists());
    Ok(())
}

#[test]
fn each_call_is_isolated_unless_it_has_a_group() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["tests"]).await?;
        let client = broker.tcp_client("tests").await?;
        let run = async |apdus: &[&str]| anyhow::Ok(answers(&unit(&client, READER, apdus).send().await?));
        assert!(run(&[VERIFY, PROTECTED]).await?[1].ends_with("9000"), "within one unit");
        assert_eq!(run(&[PROTECTED]).await?, ["6982"], "the next one on the same connection");

        let session = client.open_session(READER).open().await?;
        for (apdu, expected) in [(VERIFY, "9000"), (PROTECTED, "9000")] {
            let apdu = cardbroker_client::hex::parse(apdu)?;
            let answer = session.transmit([apdu]).send().await?;
            assert_eq!(format!("{:04X}", answer.results[0].status_word), expected);
        }
        session.close().await?;
        assert_eq!(run(&[PROTECTED]).await?, ["6982"], "after a session");

        let grouped = |apdu| {
            let authorization = bearer(&token(&broker, "tests").unwrap());
            with(request(READER, &[apdu]), &[("authorization", &authorization), (GROUP_METADATA, "family")])
        };
        let mut stub = Stub::new(channel(&broker).await?);
        for apdu in [VERIFY, PROTECTED] {
            let answer = timeout(LONG, stub.transmit(grouped(apdu))).await??.into_inner();
            assert_eq!(wire::apdu(&answer.results[0]).status_word, 0x9000, "{apdu}");
        }
        assert_eq!(run(&[PROTECTED]).await?, ["6982"]);
        Ok(())
    })
}

#[test]
fn a_request_id_belongs_to_one_token() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["one", "two"]).await?;
        let send = async |name: &str| {
            let message = TransmitRequest { request_id: vec![7; 16], ..request(READER, &[INCREMENT]) };
            let request = with(message, &[("authorization", &bearer(&token(&broker, name)?))]);
            // On a new connection each time.
            let answer = timeout(LONG, Stub::new(channel(&broker).await?).transmit(request)).await??.into_inner();
            anyhow::Ok((answer.replayed, wire::apdu(&answer.results[0]).data.last().copied()))
        };
        assert_eq!(send("one").await?, (false, Some(1)));
        assert_eq!(send("one").await?, (true, Some(1)));
        assert_eq!(send("two").await?, (false, Some(2)), "another token, another request");
        Ok(())
    })
}

#[test]
fn tokens_of_one_connection_wait_for_turns_of_their_own() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(&["one", "two"]).await?;
        let stub = Stub::new(channel(&broker).await?);
        let send = |name: &str, apdus: &[&str]| {
            let request = with(request(READER, apdus), &[("authorization", &bearer(&token(&broker, name)?))]);
            let mut stub = stub.clone();
            anyhow::Ok(tokio::spawn(async move { stub.transmit(request).await }))
        };
        let running = send("one", &[&slow(500)])?;
        let waiting = [send("two", &[INCREMENT])?, send("two", &[INCREMENT])?, send("one", &[INCREMENT])?];
        timeout(LONG, running).await???;
        for answer in waiting {
            timeout(LONG, answer).await???;
        }
        // Nobody is left waiting.
        let client = broker.tcp_client("one").await?;
        assert_eq!(timeout(LONG, client.watch_turn().next()).await??, Vec::new());
        Ok(())
    })
}

#[test]
fn the_drain_closes_the_port_and_lets_units_end() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker(&["tests"]).await?;
        let client = broker.tcp_client("tests").await?;
        let address = broker.tcp_address()?;
        let under_way = tokio::spawn(unit(&client, READER, &[INCREMENT, &slow(2000)]).send());
        let busy = async {
            let asked = || unit(&client, READER, &[SELECT]).wait_timeout(Duration::ZERO).send();
            while asked().await.is_ok() {}
        };
        timeout(LONG, busy).await?;
        broker.signal(Signal::TERM)?;
        let refused = async {
            while tokio::net::TcpStream::connect(&address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, refused).await.context("new connections are still taken")?;
        assert!(!under_way.is_finished(), "all of this must happen while a unit runs");
        assert_eq!(under_way.await??.results.len(), 2);
        assert_eq!(broker.wait()?.code(), Some(0));
        Ok(())
    })
}

#[test]
fn a_connection_without_a_valid_token_is_closed_in_time() -> anyhow::Result<()> {
    tell(async {
        let setup = Setup::simulated(1)?.configuration("listen.first_request_timeout = \"1s\"").tcp(&["tests"])?;
        let broker = setup.start()?;
        let right = channel(&broker).await?;
        let authorization = bearer(&token(&broker, "tests")?);
        let ask = async |channel: &Channel, headers: &[(&'static str, &str)]| {
            timeout(LONG, Stub::new(channel.clone()).list_readers(with(ListReadersRequest {}, headers))).await
        };
        let valid = [("authorization", &*authorization)];
        ask(&right, &valid).await??;
        let begin = Instant::now();
        let asked = || ask(&right, &[]);
        assert_eq!(told(&asked().await?.unwrap_err()), REFUSED, "one refusal does not harm a connection that is known");

        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(channel(&broker).await?);
        }
        let closed = async {
            // Every refused connection keeps sending requests, fewer than those that close it; the log shows its end.
            while broker.log().matches("connection closed: no request arrived in time").count() < 3 {
                for channel in &connections {
                    let _ = ask(channel, &[]).await;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        timeout(LONG, closed).await.context("they are still open")?;
        assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
        ask(&right, &valid).await??;
        let first = broker
            .settled_log()
            .lines()
            .filter(|line| line.contains("closed: no request"))
            .any(|line| line.contains("connection 1 "));
        assert!(!first, "{}", broker.log());
        Ok(())
    })
}
