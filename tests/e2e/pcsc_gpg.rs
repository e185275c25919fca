//! GnuPG with an OpenPGP card on the door: gpg, its agent and scdaemon of the system, beside other programs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_tests::{
    cards::openpgp::OpenPgpCard,
    harness::{
        LONGEST,
        broker::{Broker, Setup},
        pcscd::Pcscd,
        run::{Run, run},
    },
};

use crate::world::{READER, tell, wait_for};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");
const SELECT: &str = "00A4040006D27600012401";

/// Answers each request for a PIN, and counts them.
const PINENTRY: &str = "#!/bin/sh
echo OK
while read -r command rest; do
    case $command in
        GETPIN) echo prompt >>\"${0%/*}/prompts\"; echo \"D $(cat \"${0%/*}/pin\")\"; echo OK ;;
        BYE) echo OK; exit ;;
        *) echo OK ;;
    esac
done
";

/// A home of GnuPG, whose programs use the door.
pub(crate) struct Gnupg {
    home: tempfile::TempDir,
    door: PathBuf,
}

impl Gnupg {
    pub(crate) fn new(door: PathBuf, pin: &str) -> anyhow::Result<Self> {
        // The path of the agent's socket in it must be short.
        let home = tempfile::Builder::new().prefix("gpg-").permissions(fs::Permissions::from_mode(0o700)).tempdir()?;
        let file = |name: &str| home.path().join(name);
        fs::write(file("pin"), pin)?;
        fs::write(file("pinentry"), PINENTRY)?;
        fs::set_permissions(file("pinentry"), fs::Permissions::from_mode(0o700))?;
        fs::write(file("gpg-agent.conf"), format!("pinentry-program {}\n", file("pinentry").display()))?;
        fs::write(file("scdaemon.conf"), "disable-ccid\n")?;
        Ok(Self { home, door })
    }

    /// The folder, which the programs know as `GNUPGHOME`.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Has scdaemon use this reader alone.
    pub(crate) fn use_reader(&self, reader: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.home.path().join("scdaemon.conf"), format!("disable-ccid\nreader-port {reader}\n"))?)
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(name);
        program.env("GNUPGHOME", self.home.path()).env("PCSCLITE_CSOCK_NAME", &self.door);
        program
    }

    pub(crate) fn gpg(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        let done = run(self.program("gpg").arg("--batch").args(arguments)).context("is gnupg installed?")?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(done)
    }

    /// How often a program asked for the PIN.
    pub(crate) fn prompts(&self) -> usize {
        fs::read_to_string(self.home.path().join("prompts")).unwrap_or_default().lines().count()
    }

    /// Signs a new file with the card's key, and verifies the signature.
    pub(crate) fn sign(&self, name: &str) -> anyhow::Result<()> {
        let [text, signature] = ["txt", "sig"].map(|end| self.home.path().join(format!("{name}.{end}")));
        fs::write(&text, name)?;
        let [text, signature] = [text, signature].map(|path| path.display().to_string());
        self.gpg(&["--output", &signature, "--detach-sign", &text])?;
        let verified = self.gpg(&["--verify", &signature, &text])?;
        ensure!(verified.err.contains("Good signature"), "{verified:?}");
        Ok(())
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        // The agent ends with its socket at the latest.
        let _ = run(self.program("gpgconf").args(["--kill", "all"]));
    }
}

/// A broker with an OpenPGP card, and its door.
struct World {
    broker: Broker,
    pcscd: Pcscd,
    gnupg: Gnupg,
    pin: String,
    _card: OpenPgpCard,
}

impl World {
    async fn new() -> anyhow::Result<Self> {
        let pin: String = (0..8).map(|_| fastrand::digit(10)).collect();
        let pcscd = Pcscd::start(1)?;
        let card = OpenPgpCard::insert_signer(pcscd.port(0), &pin)?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let gnupg = Gnupg::new(broker.door(), &pin)?;
        Ok(Self { broker, pcscd, gnupg, pin, _card: card })
    }

    fn behind(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Run> {
        let done = run(Command::new(program).args(arguments).env("PCSCLITE_CSOCK_NAME", self.broker.door()))?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(done)
    }
}

#[test]
fn gpg_signs_while_two_other_programs_use_the_card() -> anyhow::Result<()> {
    tell(async {
        let world = World::new().await?;
        let (gnupg, reader) = (&world.gnupg, world.pcscd.reader_name(0));
        let status = gnupg.gpg(&["--card-status"])?;
        assert!(status.out.contains("Jane Doe") && status.out.contains("ed25519"), "{status:?}");
        gnupg.gpg(&["--quick-generate-key", "Jane <jane@example.org>", "card", "sign", "never"])?;
        gnupg.sign("alone")?;
        assert_eq!(gnupg.prompts(), 1, "the card stays unlocked");
        // scdaemon holds the card exclusively, and loses it when it has idled for 20 s while others wait.
        let began = Instant::now();
        thread::scope(|scope| {
            let named = scope.spawn(|| world.behind("opensc-tool", &["--reader", &reader, "--name"]));
            let read = scope.spawn(|| world.behind(DIRECT, &[&reader, "--send", SELECT]));
            for number in 0..3 {
                gnupg.sign(&format!("beside-{number}"))?;
            }
            let named = named.join().ok().context("no result")??;
            ensure!(named.out.contains("OpenPGP"), "{named:?}");
            let read = read.join().ok().context("no result")??;
            ensure!(read.out.contains("9000\"]"), "{read:?}");
            Ok(())
        })?;
        assert!(began.elapsed() < 2 * LONGEST, "{:?}", began.elapsed());
        // scdaemon looks for removals every 0.5 s, and a signature that begins before it has seen one fails.
        let deadline = Instant::now() + LONGEST;
        while gnupg.gpg(&["--card-status"]).is_err() {
            ensure!(Instant::now() < deadline, "scdaemon does not see the card again");
            thread::sleep(Duration::from_millis(100));
        }
        gnupg.sign("after")?;
        assert_eq!(gnupg.prompts(), 2, "the card was reset for the others");
        let log = world.broker.settled_log();
        assert!(!log.contains(&world.pin), "the PIN is in the log");
        Ok(())
    })
}
