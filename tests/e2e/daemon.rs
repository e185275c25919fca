//! The daemon's view from its host: socket, configuration, services and limits.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup, program},
    run::{Run, run},
};
use rustix::process::{Resource, Rlimit, getgid, getgroups, getrlimit, getuid, prlimit};
use tokio::time::timeout;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    wire::channel,
    world::{LONG, LONGEST, SELECT, tell, unit, wait_for},
};

const READER: &str = "readers/simulated-reader-00";

fn mode(path: &Path) -> anyhow::Result<u32> {
    Ok(fs::metadata(path)?.mode() & 0o7777)
}

/// Runs the daemon to its end.
pub(crate) fn cardbrokerd(arguments: &[&str]) -> anyhow::Result<Run> {
    run(Command::new(program("cardbrokerd")?).args(arguments))
}

/// A group that the test may give files to, if possible not its own: name and number.
fn some_group() -> anyhow::Result<(String, u32)> {
    let ours = getgroups()?;
    let text = fs::read_to_string("/etc/group")?;
    let groups = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?);
        let may = getuid().is_root() || gid == getgid().as_raw() || ours.iter().any(|ours| ours.as_raw() == gid);
        may.then(|| (name.to_owned(), gid))
    });
    groups.max_by_key(|(_, gid)| *gid != getgid().as_raw()).context("no group")
}

#[test]
fn socket_mode_and_group_let_a_group_in() -> anyhow::Result<()> {
    let (name, gid) = some_group()?;
    let configuration = format!("[listen]\nsocket_mode = \"0660\"\nsocket_group = \"{name}\"");
    let broker = Setup::simulated(1)?.new_folder()?.configuration(&configuration).start()?;
    let socket = broker.socket();
    let folder = socket.parent().unwrap();
    assert_eq!((mode(&socket)?, fs::metadata(&socket)?.gid()), (0o660, gid));
    assert_eq!((mode(folder)?, fs::metadata(folder)?.gid()), (0o750, gid));
    Ok(())
}

#[test]
fn a_second_broker_is_refused_and_harms_nothing() -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.start()?;
    let socket = broker.socket().display().to_string();
    let second = cardbrokerd(&["--simulate", "1", "--socket", &socket, "--config", "/dev/null"])?;
    assert_eq!(second.code, Some(4));
    assert_eq!(second.err, format!("cardbrokerd: a broker is already running on {socket}\n"));
    assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0), "the first one still serves");
    Ok(())
}

#[test]
fn the_socket_of_a_killed_broker_is_taken_over() -> anyhow::Result<()> {
    let mut broker = Setup::simulated(1)?.start()?;
    broker.kill()?;
    assert!(broker.socket().exists(), "it left its socket behind");
    broker.start_again()?;
    assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0));
    Ok(())
}

#[test]
fn the_example_configuration_is_valid_and_effective_settings_are_shown() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("c.toml");
    let example = cardbrokerd(&["--print-example-config"])?;
    assert_eq!((example.code, &*example.err), (Some(0), ""));
    fs::write(&path, &example.out)?;
    let config = path.to_str().unwrap();
    let checked = cardbrokerd(&["--check-config", "--config", config])?;
    assert_eq!((checked.code, &*checked.err), (Some(0), ""));
    fs::write(&path, "[shutdown]\ngrace = \"3s\"\n[[reader]]\nmatch = \"A\"\nown = \"never\"")?;
    let checked = cardbrokerd(&["--check-config", "--config", config, "--simulate", "2"])?;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for line in ["grace = \"3s\"", "simulate = 2", "own = \"never\""] {
        assert!(checked.out.lines().any(|shown| shown == line), "{line}\n{}", checked.out);
    }
    Ok(())
}

#[test]
fn a_configuration_mistake_is_one_line_and_nothing_starts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, socket) = (folder.path().join("c.toml"), folder.path().join("cardbroker.sock"));
    let (config, socket_flag) = (path.to_str().unwrap(), socket.to_str().unwrap());
    let refused = |expected: &str| -> anyhow::Result<()> {
        for flags in [&["--check-config"][..], &["--simulate", "1"]] {
            let run = cardbrokerd(&[&["--config", config, "--socket", socket_flag], flags].concat())?;
            assert_eq!((run.code, &*run.out, run.err.lines().count()), (Some(3), "", 1), "{run:?}");
            assert!(run.err.starts_with(&format!("cardbrokerd: {config}:{expected}")), "{run:?}\nexpected {expected}");
        }
        assert!(!socket.exists(), "a socket was opened");
        Ok(())
    };
    refused(" cannot read the configuration: No such file")?;
    for (text, expected) in [
        ("[listen\n", "1:8: "),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"", "3:1: "),
        ("[listen]\n  sokcet = \"/a\"", "2:3: listen.sokcet: unknown field `sokcet`, expected one of `socket`"),
        ("[lisen]", "1:2: lisen: unknown field `lisen`"),
        ("[shutdown]\n\ngrace = 10", "3:9: shutdown.grace: must be a duration"),
        (
            "[limits]\nmax_waiting_per_caller = 0",
            "2:26: limits.max_waiting_per_caller: must be a whole number from 1 to 1000",
        ),
        ("[listen]\nsocket_group = \"no-such-group\"", "2:16: listen.socket_group: there is no group `no-such-group`"),
        ("[[reader]]\nmatch = \"a(\"", "2:9: reader[0].match: not a regular expression"),
        (
            "[[rule]]\nname = \"a\"\nprincipals = [\"anyone\", \"gid:7\"]\ndeny = [\"session\"]",
            "3:1: rule[0].principals: a process can leave its group and evade a rule that denies: deny its users",
        ),
        (
            "[[rule]]\nname = \"a\"\nprincipals = [\"sid:S-1-5-18\"]\nallow = [\"see\"]",
            "3:14: rule[0].principals: only users and groups of Windows have a SID: use user:NAME",
        ),
        (
            "[[rule]]\nname = \"a\"\nprincipals = ['user:NOWHERE\\anna']\nallow = [\"see\"]",
            "3:14: rule[0].principals: there is no user `NOWHERE\\anna`: use another name, or its number \
             (uid:1000); a domain before the name is for Windows",
        ),
    ] {
        fs::write(&path, text)?;
        refused(expected)?;
    }
    fs::write(&path, "")?;
    for mode in [0o620, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        refused(" can be written by others, who could change its rules: chmod go-w it")?;
    }
    Ok(())
}

#[test]
fn health_and_reflection_are_served() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        let channel = channel(&broker).await?;
        let mut health = HealthClient::new(channel.clone());
        for service in ["", "cardbroker.v1.CardBrokerService"] {
            let answer = timeout(LONG, health.check(HealthCheckRequest { service: service.into() })).await??;
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
        }
        let unknown = timeout(LONG, health.check(HealthCheckRequest { service: "x".into() })).await?;
        assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);

        macro_rules! services {
            ($version:ident) => {{
                use tonic_reflection::pb::$version::{
                    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
                };
                let request = ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(MessageRequest::ListServices(String::new())),
                };
                let mut client = ServerReflectionClient::new(channel.clone());
                let answers = client.server_reflection_info(tokio_stream::once(request));
                let answer = crate::wire::next(&mut timeout(LONG, answers).await??.into_inner()).await?;
                let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                    panic!("{answer:?}")
                };
                list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
            }};
        }
        for services in [services!(v1), services!(v1alpha)] {
            assert!(services.contains(&"cardbroker.v1.CardBrokerService".into()), "{services:?}");
        }
        Ok(())
    })
}

/// The CPU time of a process, in ticks of 10 ms.
pub(crate) fn cpu_ticks(broker: &Broker) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", broker.pid()?.as_raw_nonzero()))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    Ok(fields[14 - 3].parse::<u64>()? + fields[15 - 3].parse::<u64>()?)
}

#[test]
fn running_out_of_descriptors_does_not_spin_and_recovers() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        // The daemon has about twenty open, and only root may count them.
        let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
        prlimit(Some(broker.pid()?), Resource::Nofile, limit)?;
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(UnixStream::connect(broker.socket())?);
        }
        let noticed = async {
            while !broker.log().contains("cannot accept clients for now") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, noticed).await.context("it still has descriptors")?;
        let (before, window) = (cpu_ticks(&broker)?, Instant::now());
        while window.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            unit(&client, READER, &[SELECT]).send().await.context("a connected client is still served")?;
        }
        let used = cpu_ticks(&broker)? - before;
        assert!(used < 30, "{used} ticks of 10 ms in {:?}", window.elapsed());
        drop(crowd);
        assert_eq!(broker.cardbroker(&["readers"])?.code, Some(0));
        Ok(())
    })
}

#[test]
fn only_connections_without_a_request_are_closed() -> anyhow::Result<()> {
    tell(async {
        let broker = Setup::simulated(1)?.configuration("listen.first_request_timeout = \"1s\"").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[SELECT]).send().await?;
        for greeting in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
            let mut half_open = UnixStream::connect(broker.socket())?;
            half_open.write_all(greeting)?;
            half_open.set_read_timeout(Some(LONGEST))?;
            let opened = Instant::now();
            let closed = tokio::task::spawn_blocking(move || half_open.read_to_end(&mut Vec::new())).await?;
            assert!(closed.is_ok(), "it is still open: {closed:?}");
            assert!(opened.elapsed() > Duration::from_millis(900), "{:?}", opened.elapsed());
        }
        // Older than the others, but still on its first connection.
        unit(&client, READER, &[SELECT]).send().await?;
        Ok(())
    })
}
