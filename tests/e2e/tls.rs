//! TLS on the TCP port: a program in place of the broker gets nothing, and the certificate is made once and kept.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup, program},
    relay::{Relay, Role},
    run::{Run, cardbroker, run},
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{
    log::lines,
    tcp::{READER, token},
    world::{INCREMENT, LONGEST, tell, wait_for},
};

const RULES: &str = "rule = [{ name = 'tests', principals = ['anyone'], allow = ['all'] }]";

/// The bytes of [`VERIFY`] as the card gets them, and its text: they must not pass a program in place of the broker.
const VERIFY: &str = "0020008108A1B2C3D4A5B6C7D8";

async fn broker() -> anyhow::Result<Broker> {
    let broker = Setup::simulated(1)?.tcp(&["tests"])?.configuration(RULES).start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

/// Runs the command line with the token file called `tests`, for one attempt to connect.
fn ask(broker: &Broker, endpoint: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    let mut command = cardbroker(endpoint, &[&["--connect-timeout", "0s"], arguments].concat())?;
    run(command.env("CARDBROKER_TOKEN_FILE", broker.token_file("tests")))
}

/// Whether bytes contain the token or the command, as bytes or as text.
fn has_secret(bytes: &[u8], broker: &Broker) -> anyhow::Result<bool> {
    let token = token(broker, "tests")?;
    let command = cardbroker_client::hex::parse(VERIFY)?;
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    Ok(contains(token.as_bytes()) || contains(&command[5..]) || contains(VERIFY.as_bytes()))
}

/// A server with a certificate of its own for the same names.
pub(crate) fn impostor() -> anyhow::Result<Arc<ServerConfig>> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn is_refused(refused: &Run, endpoint: &str) {
    assert_eq!((refused.code, &*refused.out), (Some(3), ""), "{refused:?}");
    let expected = format!(
        "cardbroker: {endpoint} is not the broker of the token file: it has another certificate or no TLS; nothing was \
         sent to it: check the port, or make a new token file with \"cardbroker token new\"\n"
    );
    assert_eq!(refused.err, expected);
}

#[test]
fn a_relay_to_the_broker_works_and_learns_nothing() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let relay = Relay::start("127.0.0.1:0", Role::Forward(broker.tcp_address()?.parse()?))?;
        let sent = ask(&broker, &format!("https://{}", relay.address()), &["transmit", READER, VERIFY])?;
        assert_eq!(sent.code, Some(0), "{sent:?}");
        let seen = relay.received();
        assert!(seen.len() > 500 && !has_secret(&seen, &broker)?, "{} bytes", seen.len());
        Ok(())
    })
}

#[test]
fn a_program_with_another_certificate_gets_nothing() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let relay = Relay::start("127.0.0.1:0", Role::Serve(impostor()?))?;
        let endpoint = format!("https://{}", relay.address());
        for _ in 0..2 {
            is_refused(&ask(&broker, &endpoint, &["transmit", READER, VERIFY])?, &endpoint);
        }
        assert_eq!((relay.connections(), relay.received()), (2, Vec::new()), "no byte after the handshake");
        Ok(())
    })
}

#[test]
fn a_program_that_took_the_port_gets_nothing() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker().await?;
        let (endpoint, address) = (broker.tcp_endpoint()?, broker.tcp_address()?);
        broker.stop()?;
        // The first frame of a server of HTTP/2, as a broker without TLS sends it.
        let relay = Relay::start(&address, Role::Answer(b"\0\0\0\x04\0\0\0\0\0"))?;
        is_refused(&ask(&broker, &endpoint, &["transmit", READER, VERIFY])?, &endpoint);
        let seen = relay.received();
        assert!(seen.starts_with(&[0x16, 3]) && !has_secret(&seen, &broker)?, "{seen:?}");

        // The habit of plain TCP: the token file prevents it.
        let plain = ask(&broker, &endpoint.replace("https", "http"), &["transmit", READER, VERIFY])?;
        assert_eq!(plain.code, Some(2), "{plain:?}");
        assert!(plain.err.contains("has a certificate, and http:// is plain TCP: use https://"), "{plain:?}");
        assert_eq!(relay.connections(), 1);
        Ok(())
    })
}

#[test]
fn localhost_means_127_0_0_1_and_no_other_address() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker().await?;
        let port = broker.tcp_address()?.parse::<SocketAddr>()?.port();
        let rival = Relay::start(&format!("[::1]:{port}"), Role::Serve(impostor()?))?;
        let endpoint = format!("https://localhost:{port}");
        let found = ask(&broker, &endpoint, &["transmit", READER, INCREMENT])?;
        assert_eq!((found.code, &*found.out), (Some(0), "00000001 9000\n"), "{found:?}");
        broker.stop()?;
        let gone = ask(&broker, &endpoint, &["readers"])?;
        assert!(gone.code == Some(3) && gone.err.contains("no broker at"), "{gone:?}");
        assert_eq!(rival.connections(), 0);
        Ok(())
    })
}

#[test]
fn a_new_certificate_is_refused_until_the_token_file_is_new() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker().await?;
        let first = fs::read(broker.certificate_file())?;
        broker.stop()?;
        broker.start_again()?;
        lines(&broker, "serving ", 2).await?;
        assert_eq!(fs::read(broker.certificate_file())?, first, "it is kept over restarts");

        broker.stop()?;
        fs::remove_file(broker.certificate_file())?;
        let tokens = broker.folder().join("tokens").display().to_string();
        broker.start_again()?;
        lines(&broker, "serving ", 3).await?;
        let endpoint = broker.tcp_endpoint()?;
        is_refused(&ask(&broker, &endpoint, &["readers"])?, &endpoint);
        let made = run(&mut cardbroker("", &["token", "new", "again", "--tokens", &tokens])?)?;
        let certificate = made.out.split_once('\n').with_context(|| format!("no certificate: {made:?}"))?.1;
        let file = broker.token_file("tests");
        fs::write(&file, format!("{}\n{certificate}", token(&broker, "tests")?))?;
        assert_eq!(ask(&broker, &endpoint, &["readers"])?.code, Some(0));
        Ok(())
    })
}

#[test]
fn a_handshake_that_never_comes_costs_only_its_client() -> anyhow::Result<()> {
    tell(async {
        let setup = Setup::simulated(1)?.tcp(&["tests"])?;
        let limits = "[listen]\nfirst_request_timeout = \"1s\"\nmax_connections = 4\nmax_connections_per_user = 4";
        let broker = setup.configuration(&format!("{RULES}\n{limits}")).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let (address, endpoint) = (broker.tcp_address()?, broker.tcp_endpoint()?);
        let mut strangers = Vec::new();
        for beginning in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"\x16\x03\x01"] {
            let mut stranger = TcpStream::connect(&address)?;
            stranger.write_all(beginning)?;
            strangers.push(stranger);
        }
        // All slots may be taken, by connections that have made no handshake.
        assert_eq!(ask(&broker, &endpoint, &["readers"])?.code, Some(0));
        for mut stranger in strangers {
            stranger.set_read_timeout(Some(LONGEST))?;
            let _ = stranger.read_to_end(&mut Vec::new());
            assert!(!matches!(stranger.peek(&mut [0]), Ok(1..)), "it is closed");
        }
        let log = broker.settled_log();
        assert!(log.contains("connection closed: the TLS handshake failed"), "{log}");
        assert!(log.contains("connection closed: no request arrived"), "{log}");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        Ok(())
    })
}

#[test]
fn an_unusable_certificate_stops_the_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let tokens = path("tokens");
    let socket = path("cardbroker.sock");
    run(&mut cardbroker("", &["token", "new", "a", "--tokens", &tokens])?)?;
    let start = || {
        let mut daemon = Command::new(program("cardbrokerd")?);
        daemon.args(["--simulate", "1", "--socket", &socket, "--tokens", &tokens, "--tcp", "127.0.0.1:0"]);
        run(daemon.args(["--config", "/dev/null"]))
    };
    let key = KeyPair::generate()?;
    let of = |name: &str, last_year: i32| {
        let mut parameters = CertificateParams::new([name.to_owned()])?;
        parameters.not_after = date_time_ymd(last_year, 1, 1);
        anyhow::Ok(parameters.self_signed(&key)?.pem())
    };
    let other = KeyPair::generate()?.serialize_pem();
    let own = key.serialize_pem();
    for (text, expected) in [
        (String::new(), "it has no certificate"),
        (of("localhost", 2090)?, "it has no private key"),
        (of("localhost", 2020)? + &own, "certificate expired"),
        (of("example.org", 2090)? + &own, "certificate not valid for name \"localhost\""),
        (of("localhost", 2090)? + &other, "keys may not be consistent"),
    ] {
        fs::write(folder.path().join("tls.pem"), &text)?;
        let refused = start()?;
        let begin = format!("cardbrokerd: the certificate {} cannot be used (", path("tls.pem"));
        assert_eq!((refused.code, refused.err.lines().count()), (Some(3), 1), "{refused:?}");
        assert!(refused.err.starts_with(&begin) && refused.err.contains(expected), "{expected}: {refused:?}");
        assert!(!std::path::Path::new(&socket).exists());
        assert_eq!(fs::read_to_string(folder.path().join("tls.pem"))?, text, "it is kept");
    }
    fs::set_permissions(folder.path().join("tls.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let loose = start()?;
    assert!(loose.code == Some(3) && loose.err.contains("tls.pem is open to others"), "{loose:?}");
    Ok(())
}

#[test]
fn plain_tcp_works_with_warnings_on_both_sides() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.plain_tcp(&["tests"])?.configuration(RULES).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let endpoint = broker.tcp_endpoint()?;
        let sent = ask(&broker, &endpoint, &["transmit", READER, INCREMENT])?;
        assert_eq!((sent.code, &*sent.out), (Some(0), "00000001 9000\n"), "{sent:?}");
        assert!(sent.err.contains("warning") && sent.err.contains("is plain TCP"), "{sent:?}");
        let json = ask(&broker, &endpoint, &["readers", "--json"])?;
        assert!(serde_json::from_str::<serde_json::Value>(&json.err)?["warning"]["message"].is_string(), "{json:?}");
        let log = broker.settled_log();
        assert!(log.contains("WARN") && log.contains("listen.tcp_plain is on"), "{log}");
        assert!(!broker.certificate_file().exists());

        let secure = endpoint.replace("http", "https");
        let without = ask(&broker, &secure, &["readers"])?;
        assert!(without.code == Some(2) && without.err.contains("has no certificate"), "{without:?}");
        let other = self::broker().await?;
        let mut command = cardbroker(&secure, &["readers", "--connect-timeout", "0s"])?;
        is_refused(&run(command.env("CARDBROKER_TOKEN_FILE", other.token_file("tests")))?, &secure);
        Ok(())
    })
}

#[test]
fn a_client_that_speaks_plain_tcp_to_tls_fails_soon() -> anyhow::Result<()> {
    tell(async {
        let broker = broker().await?;
        let endpoint = broker.tcp_endpoint()?.replace("https", "http");
        let lost = run(&mut cardbroker(&endpoint, &["readers", "--connect-timeout", "0s"])?)?;
        assert!(lost.code == Some(3) && lost.err.lines().count() == 2, "{lost:?}");
        let still = Duration::from_secs(1);
        assert!(tokio::time::timeout(still, broker.tcp_client("tests")).await.is_ok());
        Ok(())
    })
}
