//! Two machines with a cable between them: each is a network namespace with one address.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};

use super::{run::run, users::may_become_others};

/// The address of the machine where brokers run.
pub const SERVER: &str = "10.77.0.1";
/// The address of the machine where clients run.
pub const CLIENT: &str = "10.77.0.2";

/// The machines. Dropping them ends the namespaces.
pub struct Network {
    server: Holder,
    client: Holder,
}

/// A process in a namespace, which exists as long as it.
struct Holder(Child);

impl Network {
    /// Makes the machines and the cable; `None` if this process may not.
    ///
    /// # Errors
    /// In CI, if it may not; the cable cannot be made.
    pub fn new() -> anyhow::Result<Option<Self>> {
        if !may_become_others()? {
            return Ok(None);
        }
        let (Some(server), Some(client)) = (Holder::new()?, Holder::new()?) else {
            ensure!(std::env::var_os("CI").is_none(), "no network namespace");
            return Ok(None);
        };
        let ends = format!("link add cable netns {} type veth peer name cable netns {}", server.0.id(), client.0.id());
        done(Command::new("ip").args(ends.split(' ')))?;
        let network = Self { server, client };
        for (holder, address) in [(&network.server, SERVER), (&network.client, CLIENT)] {
            for step in
                [format!("addr add {address}/24 dev cable"), "link set cable up".into(), "link set lo up".into()]
            {
                done(holder.command("ip").args(step.split(' ')))?;
            }
        }
        Ok(Some(network))
    }

    /// A program that runs where brokers do.
    pub fn at_server(&self, program: impl AsRef<OsStr>) -> Command {
        self.server.command(program)
    }

    /// A program that runs where clients do.
    pub fn at_client(&self, program: impl AsRef<OsStr>) -> Command {
        self.client.command(program)
    }
}

impl Holder {
    /// `None` if the kernel refuses.
    fn new() -> anyhow::Result<Option<Self>> {
        let mut process = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let holder = Self(process);
        Ok((line == "ready\n").then_some(holder))
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program);
        command
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let run = run(command)?;
    ensure!(run.code == Some(0), "{command:?}: {run:?}");
    Ok(())
}
