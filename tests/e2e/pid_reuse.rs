//! Reuse of a process id: a connection of an ended process does not count as one of the process that has its id now.
//!
//! The stories run in a pid namespace of their own, where the next id can be set: each starts this test program again.

use std::{
    env, fs,
    io::{self, Write},
    process::Command,
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_proto::v1::{TransmitResponse, card_broker_service_client::CardBrokerServiceClient};
use cardbroker_tests::harness::{
    broker::{Broker, Setup, program},
    programs::Program,
    run::run,
    users::may_become_others,
};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketType, socket},
    process::{Signal, WaitOptions, waitpid},
};
use tokio::net::UnixStream;
use tower::service_fn;

use crate::{
    wire::{Stub, apdu, request, transmit},
    world::{PROTECTED, VERIFY, tell, wait_for},
};

const VICTIM: u32 = 4001;
const OTHER: u32 = 4002;
const READER: &str = "readers/simulated-reader-00";

const RULES: &str = r#"
[listen]
socket_mode = "0666"

[[rule]]
name = "all"
principals = ["anyone"]
allow = ["see", "transmit", "session", "leave"]
"#;

/// Set where a story runs inside its namespace.
const INSIDE: &str = "IN_A_PID_NAMESPACE";

/// The number of attempts to get the id: a thread of the test or of the victim's predecessor may get it instead.
const TRIES: usize = 100;

#[test]
fn another_user_with_a_reused_pid_is_another_caller() -> anyhow::Result<()> {
    in_a_pid_namespace("another_user_with_a_reused_pid_is_another_caller", OTHER)
}

#[test]
fn a_process_with_a_reused_pid_is_another_caller() -> anyhow::Result<()> {
    in_a_pid_namespace("a_process_with_a_reused_pid_is_another_caller", VICTIM)
}

/// Runs the story in a pid namespace. `attacker` is the user of the process that dies.
fn in_a_pid_namespace(test: &str, attacker: u32) -> anyhow::Result<()> {
    if env::var_os(INSIDE).is_some() {
        return tell(a_connection_outlives_its_process(attacker));
    }
    if !may_become_others()? || !may_set_pids()? || (attacker == VICTIM && !kernel_pins_peers()?) {
        let needed = "root's own pid namespaces are needed, and within one user Linux 6.5 or newer";
        writeln!(io::stderr(), "skipped: {needed}")?;
        return Ok(());
    }
    // Built outside the namespace, where nothing kills the compiler.
    program("cardbrokerd")?;
    let test = format!("{}::{test}", module_path!().split_once("::").context("no module")?.1);
    let again = env::current_exe()?;
    let told = run(namespace().arg(again).args(["--exact", &test, "--nocapture"]).env(INSIDE, "yes"))?;
    ensure!(told.code == Some(0) && told.out.contains("1 passed"), "{}{}", told.out, told.err);
    Ok(())
}

/// A command that runs a program as the first process of a new pid namespace, and kills the namespace with it.
fn namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// Whether this root user may create such namespaces; in a container it may not.
fn may_set_pids() -> anyhow::Result<bool> {
    let tried = run(namespace().args(["sh", "-c", "echo 100 > /proc/sys/kernel/ns_last_pid"]))?;
    ensure!(tried.code == Some(0) || env::var_os("CI").is_none(), "no pid namespace: {tried:?}");
    Ok(tried.code == Some(0))
}

/// Whether the kernel identifies the peer of a connection beyond the end of its process.
fn kernel_pins_peers() -> anyhow::Result<bool> {
    let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    let pins = getsockopt(&here, PeerPidfd).is_ok();
    ensure!(pins || env::var_os("CI").is_none(), "the kernel has no SO_PEERPIDFD");
    Ok(pins)
}

async fn a_connection_outlives_its_process(attacker: u32) -> anyhow::Result<()> {
    let broker = Setup::simulated(1)?.configuration(RULES).open_folder()?.start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;

    // While the broker is stopped, a process connects and ends, and another one gets its id.
    stop(&broker)?;
    let connection = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    let pid = connect_and_end(&broker, connection.try_clone()?, attacker)?;
    let mut victim = process_of_number(pid, &broker)?;
    broker.signal(Signal::CONT)?;
    assert_eq!((victim.line()?, victim.line()?), ("holding".into(), "left".into()), "the victim has verified its PIN");

    let mut dead = client_on(connection).await?;
    let stolen = transmit(&mut dead, request(READER, &[PROTECTED])).await?;
    assert_eq!((words(&stolen), stolen.was_reset), (vec![0x6982], true));
    let connected = format!("process {pid} of user ");
    let log = broker.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" connected ") && line.contains(&connected)).collect();
    assert_eq!(lines.len(), 2, "{log}");
    let named = lines.iter().filter(|line| line.contains("executable=")).count();
    assert_eq!(named, 1, "only the victim runs a program: {lines:?}");
    Ok(())
}

/// Stops the broker; afterwards none of its threads runs.
fn stop(broker: &Broker) -> anyhow::Result<()> {
    broker.signal(Signal::STOP)?;
    let (_, status) = waitpid(Some(broker.pid()?), WaitOptions::UNTRACED)?.context("no broker")?;
    ensure!(status.stopped(), "{status:?}");
    Ok(())
}

/// Connects the socket to the broker in a process of `uid`. Returns the id of that process.
fn connect_and_end(broker: &Broker, socket: OwnedFd, uid: u32) -> anyhow::Result<u32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connector"));
    let mut process = command.arg(broker.socket()).args(["--uid", &uid.to_string()]).stdin(socket).spawn()?;
    let status = process.wait()?;
    ensure!(status.success(), "{status}");
    Ok(process.id())
}

/// Starts the victim as the process with that id: it verifies the PIN, leaves the card as it is, and stays.
fn process_of_number(pid: u32, broker: &Broker) -> anyhow::Result<Program> {
    for _ in 0..TRIES {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-holder"));
        command.arg(broker.socket()).args([READER, VERIFY, "--leave", "--uid", &VICTIM.to_string()]);
        let program = Program::spawn(&mut command)?;
        if program.id() == pid {
            return Ok(program);
        }
    }
    anyhow::bail!("the number {pid} has not come round")
}

/// A client on a connected socket.
async fn client_on(socket: OwnedFd) -> anyhow::Result<Stub> {
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    let mut stream = Some(TokioIo::new(UnixStream::from_std(stream)?));
    let connect = service_fn(move |_| {
        let stream = stream.take().ok_or(std::io::ErrorKind::NotConnected);
        async { stream.map_err(std::io::Error::from) }
    });
    let channel = tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector(connect).await?;
    Ok(CardBrokerServiceClient::new(channel))
}

fn words(response: &TransmitResponse) -> Vec<i32> {
    response.results.iter().map(|result| apdu(result).status_word).collect()
}
