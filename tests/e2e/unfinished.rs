//! Requests that are never completed: their memory in the broker, and their effect on other users.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::{
    broker::{Broker, Setup, released_daemon},
    memory::{most_resident_bytes, resident_bytes},
    users::may_be_several_users,
};

use crate::world::{COUNT, tell, unit, wait_for};

const READER: &str = "readers/simulated-reader-00";
/// A user without any permission, and one who may run commands.
const STRANGER: u32 = 4002;
const MEMBER: u32 = 4003;
const RULES: &str = r#"
listen.socket_mode = "0666"

[[rule]]
name = "a member"
principals = ["uid:4003"]
allow = ["see", "transmit"]
"#;

const MIB: u64 = 1 << 20;
/// The daemon's allowed growth besides the attack, in bytes.
const MOST_GROWTH: u64 = 16 * MIB;
const REFUSED: &str = " not_sent";

/// The program `unfinished` of another user. Dropping kills it.
struct Attacker(Child, BufReader<ChildStdout>);

impl Attacker {
    fn start(broker: &Broker, user: u32, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unfinished"));
        command.arg(broker.socket()).args(arguments).arg(format!("--uid={user}"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(process.stdout.take().context("no output")?);
        Ok(Self(process, output))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Returns how many bytes were accepted, and how many requests were refused at once.
    fn begun(&mut self) -> anyhow::Result<(u64, usize)> {
        let line = self.line()?;
        let numbers: Vec<_> = line.split(' ').filter_map(|word| word.parse::<u64>().ok()).collect();
        let [sent, refused] = numbers[..] else { anyhow::bail!("it says {line:?}") };
        Ok((sent, usize::try_from(refused)?))
    }

    /// Returns how many requests are refused by now, and the messages.
    fn end(mut self) -> anyhow::Result<String> {
        drop(self.0.stdin.take());
        self.line()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn released_broker() -> anyhow::Result<Broker> {
    let setup = Setup::simulated(1)?.open_folder()?.configuration(RULES).log_level("info");
    let broker = setup.released().start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    Ok(broker)
}

fn attack(user: u32, arguments: &[&str], most_taken: u64) -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    released_daemon()?;
    tell(async {
        let broker = released_broker().await?;
        let owner = broker.client().await?;
        unit(&owner, READER, &[COUNT]).send().await?;
        let before = resident_bytes(broker.pid()?)?;

        let mut attacker = Attacker::start(&broker, user, arguments)?;
        let (sent, refused) = attacker.begun()?;
        ensure!(refused > 0, "nothing was refused");
        // A refused request had sent no more than HTTP/2 lets a client send before the answer.
        ensure!(sent < most_taken + refused as u64 * 64 * 1024, "{sent} bytes were taken in, {refused} were refused");
        unit(&owner, READER, &[COUNT]).send().await.context("the owner is kept out")?;

        let requests: usize = arguments[0].parse::<usize>()? * arguments[1].parse::<usize>()?;
        // The last one is refused when its time is over.
        thread::sleep(Duration::from_secs(11));
        let words = attacker.end()?;
        ensure!(words.starts_with(&format!("refused {requests}: ")) && words.contains(REFUSED), "{words}");
        let peak = most_resident_bytes(broker.pid()?)?;
        writeln!(std::io::stderr(), "{arguments:?}: {refused} refused at once, memory {before} -> {peak} bytes")?;
        ensure!(peak < before + MOST_GROWTH, "the daemon grew from {before} to {peak} bytes; {sent} were sent");
        Ok(())
    })
}

#[test]
fn a_strangers_unfinished_requests_take_almost_no_memory() -> anyhow::Result<()> {
    // More than the stranger's budget of refusals, so that the last ones are read late.
    attack(STRANGER, &["2", "600", "1048576", "--wait=120"], 256 << 10)
}

#[test]
fn a_strangers_short_unfinished_requests_are_refused_in_time() -> anyhow::Result<()> {
    attack(STRANGER, &["4", "16", "16384"], 256 << 10)
}

#[test]
fn whole_messages_of_requests_that_do_not_end_count_too() -> anyhow::Result<()> {
    attack(STRANGER, &["64", "16", "200000", "--whole", "--wait=120"], 256 << 10)
}

#[test]
fn unfinished_requests_to_other_services_count_too() -> anyhow::Result<()> {
    attack(STRANGER, &["16", "16", "4000000", "--method", "/grpc.health.v1.Health/Check"], 256 << 10)
}

#[test]
fn a_members_unfinished_requests_take_limited_memory() -> anyhow::Result<()> {
    attack(MEMBER, &["2", "300", "1048576", "--wait=120"], 4 * MIB)
}
