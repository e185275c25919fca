//! The larger PC/SC programs of the system on the door: PKCS#11 in two programs, many programs at once, and a
//! newer libpcsclite.

use std::{fs, path::PathBuf, process::Command, thread};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::{VirtualCard, piv::PIN},
    harness::{
        broker::{Broker, Setup},
        newer_pcsclite::{self, NewerPcsclite},
        pcscd::Pcscd,
        programs::Program,
        run::{Run, run},
    },
};
use rustix::process::Signal;

use crate::{
    piv_world::{PivWorld, opensc_module},
    world::{COUNT, READER, tell, wait_for},
};

const DIRECT: &str = env!("CARGO_BIN_EXE_direct-pcsc");

impl PivWorld {
    /// The world with a door.
    async fn with_door() -> anyhow::Result<Self> {
        Self::with(|setup| setup.door("")).await
    }

    /// A program with the door as its PC/SC service.
    fn behind(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("PCSCLITE_CSOCK_NAME", self.broker.door());
        command
    }

    /// Writes the public key, which the card's certificate would contain, for OpenSC. Returns the path.
    fn key_file(&self) -> anyhow::Result<PathBuf> {
        let path = self.broker.folder().join("9a.der");
        fs::write(&path, self.card.public_key_info())?;
        Ok(path)
    }

    /// Signs a hash with pkcs11-tool; returns the signature.
    fn sign(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let [hash, signature] = ["hash", "signature"].map(|end| self.broker.folder().join(format!("{name}.{end}")));
        fs::write(&hash, [7; 32])?;
        let [hash, out] = [&hash, &signature].map(|path| path.display().to_string());
        let arguments =
            ["--login", "--pin", PIN, "--sign", "--mechanism", "ECDSA", "--id", "01", "-i", &hash, "-o", &out];
        let signed = run(self.behind("pkcs11-tool", &arguments).env("PIV_9A_KEY", self.key_file()?))?;
        ensure!(signed.code == Some(0), "{signed:?}");
        Ok(fs::read(signature)?)
    }
}

/// Runs a program as a user does; it must succeed.
fn succeeds(command: &mut Command) -> anyhow::Result<Run> {
    let done = run(command).with_context(|| format!("is {} installed?", command.get_program().display()))?;
    ensure!(done.code == Some(0), "{done:?}");
    Ok(done)
}

#[test]
fn two_pkcs11_programs_sign_while_a_third_reads() -> anyhow::Result<()> {
    tell(async {
        let world = PivWorld::with_door().await?;
        assert_eq!(world.sign("alone")?.len(), 64);
        thread::scope(|scope| {
            let signers = ["first", "second"].map(|name| {
                let world = &world;
                scope.spawn(move || (0..3).map(|_| world.sign(name)).collect::<anyhow::Result<Vec<_>>>())
            });
            let reader = scope.spawn(|| succeeds(&mut world.behind("pkcs15-tool", &["--dump"])));
            for signer in signers {
                let signed = signer.join().ok().context("no result")??;
                ensure!(signed.iter().all(|signature| signature.len() == 64));
            }
            ensure!(reader.join().ok().context("no result")??.out.contains("PIV"));
            Ok(())
        })
    })
}

#[test]
fn p11tool_lists_the_token_of_opensc() -> anyhow::Result<()> {
    tell(async {
        let world = PivWorld::with_door().await?;
        let provider = format!("--provider={}", opensc_module()?.display());
        let listed = succeeds(&mut world.behind("p11tool", &[&provider, "--list-tokens"]))?;
        assert!(listed.out.contains("Manufacturer: piv_II"), "{listed:?}");
        Ok(())
    })
}

#[test]
fn eight_programs_of_four_kinds_finish_together() -> anyhow::Result<()> {
    tell(async {
        let world = PivWorld::with_door().await?;
        let reader = world.pcscd.reader_name(0);
        let programs: [(&str, Vec<&str>); 4] = [
            ("pkcs15-tool", vec!["--dump"]),
            ("opensc-tool", vec!["--reader", &reader, "--serial"]),
            ("opensc-tool", vec!["--reader", &reader, "--name"]),
            ("pkcs11-tool", vec!["--list-slots"]),
        ];
        let alone = programs.each_ref().map(|(program, arguments)| run(&mut world.behind(program, arguments)));
        thread::scope(|scope| {
            let together = [0, 1].map(|_| {
                programs.each_ref().map(|(program, arguments)| {
                    let world = &world;
                    scope.spawn(move || run(&mut world.behind(program, arguments)))
                })
            });
            for half in together {
                for (program, alone) in half.into_iter().zip(&alone) {
                    let (together, alone) = (program.join().ok().context("no result")??, alone.as_ref());
                    let alone = alone.map_err(|error| anyhow::anyhow!("{error:#}"))?;
                    ensure!((together.code, &together.out) == (alone.code, &alone.out), "{together:?} {alone:?}");
                }
            }
            Ok(())
        })
    })
}

/// A broker with a door and a card, for programs with a newer libpcsclite.
struct NewerLibrary {
    files: NewerPcsclite,
    broker: Broker,
    card: VirtualCard,
    pcscd: Pcscd,
}

impl NewerLibrary {
    async fn new() -> anyhow::Result<Self> {
        let files = newer_pcsclite::files()?;
        let pcscd = Pcscd::start(1)?;
        let card = VirtualCard::insert(pcscd.port(0), CardOptions::default())?;
        let broker = Setup::on(&pcscd)?.door("").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        Ok(Self { files, broker, card, pcscd })
    }

    /// A program with the newer library, at the door.
    fn program(&self, path: &str, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.files.run(path)?;
        command.args(arguments).env("PCSCLITE_CSOCK_NAME", self.broker.door());
        Ok(command)
    }

    /// Checks that a program spoke the version of the newer library.
    fn spoke_its_version(self) {
        let log = self.broker.settled_log();
        assert!(log.contains("version=V4_5"), "{log}");
    }
}

#[test]
fn a_newer_library_is_served() -> anyhow::Result<()> {
    tell(async {
        let newer = NewerLibrary::new().await?;
        let reader = newer.pcscd.reader_name(0);
        for arguments in [&[&*reader, "--send", COUNT][..], &[&reader, "--pairs", "50", "--transactions"]] {
            let done = succeeds(&mut newer.program(DIRECT, arguments)?)?;
            assert!(done.out.contains("9000") || done.out.contains("\"broken\":0"), "{done:?}");
        }
        newer.spoke_its_version();
        Ok(())
    })
}

#[test]
fn a_newer_library_follows_a_card_that_comes_and_goes() -> anyhow::Result<()> {
    tell(async {
        let newer = NewerLibrary::new().await?;
        let mut scan = Program::spawn(&mut newer.program("/usr/bin/pcsc_scan", &["-n"])?)?;
        let mut sees = |text: &str| {
            while !scan.line()?.contains(text) {}
            anyhow::Ok(())
        };
        sees("Card inserted")?;
        newer.card.pull();
        sees("Card removed")?;
        newer.card.swap(CardOptions::default());
        sees("Card inserted")?;
        scan.signal(Signal::INT)?;
        scan.wait()?;
        newer.spoke_its_version();
        Ok(())
    })
}
