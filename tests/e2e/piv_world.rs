//! A broker on a private pcscd with a PIV card.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use cardbroker_client::{ReaderState, hex};
use cardbroker_tests::{
    cards::piv::{self, PivCard},
    harness::{
        broker::{Broker, Setup},
        pcscd::Pcscd,
        programs::Program,
    },
};

use crate::world::{READER, wait_for};

/// The path of OpenSC's PKCS#11 module on this machine.
pub(crate) fn opensc_module() -> anyhow::Result<PathBuf> {
    let mut paths = fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path().join("opensc-pkcs11.so"));
    paths.find(|path| path.exists()).context("no module of OpenSC")
}

pub(crate) struct PivWorld {
    pub(crate) broker: Broker,
    pub(crate) card: PivCard,
    pub(crate) pcscd: Pcscd,
}

impl PivWorld {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Self::with(|setup| setup).await
    }

    /// The same, of a broker that is set up further.
    pub(crate) async fn with(prepare: impl FnOnce(Setup) -> Setup) -> anyhow::Result<Self> {
        let pcscd = Pcscd::start(1)?;
        let card = PivCard::insert(pcscd.port(0), Duration::ZERO)?;
        let broker = prepare(Setup::on(&pcscd)?).start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        Ok(Self { broker, card, pcscd })
    }

    /// A process that verifies the PIN in a session, ends it, leaves the card as it is, and stays connected.
    pub(crate) fn verifier(&self, group: Option<&str>) -> anyhow::Result<Program> {
        let (select, verify) = (hex::format(&piv::select()), hex::format(&piv::verify(piv::PIN)));
        let socket = self.broker.socket();
        let socket = socket.to_str().context("no text")?;
        let group: Vec<_> = group.into_iter().flat_map(|group| ["--group", group]).collect();
        let arguments = [&[socket, READER, &select, &verify, "--leave"][..], &group].concat();
        let mut program = Program::start(env!("CARGO_BIN_EXE_session-holder"), &self.pcscd, &arguments)?;
        ensure!(program.line()? == "holding" && program.line()? == "left");
        Ok(program)
    }
}
