//! Permissions: principals × operations × readers × commands as a table, over the socket and over TCP.

use std::{
    fs,
    process::{self, Stdio},
};

use anyhow::{Context, bail, ensure};
use cardbroker_client::{Command, Delivery, Error, ErrorReason, ReaderState, StopRule, hex};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::harness::{
    broker::{Broker, Setup},
    run::run,
    users::may_be_several_users,
};

use crate::world::{PcscWorld, READER, SELECT, answers, tell, wait_for};

/// Reads a file of the test card's application; the same after another SELECT; verifies a PIN; runs a command of the
/// card's own.
const COMMANDS: [&str; 4] = [
    "read=00A4040006F04341524401,00B0000002",
    "read elsewhere=00A4040006F04341524401,00A40000023F00,00B0000002",
    "verify=00A4040006F04341524401,00200080",
    "count=00A4040006F04341524401,8010000004",
];

const RULES: &str = r#"
[listen]
socket_mode = "0666"

[[rule]]
name = "no resets"
principals = ["uid:4002"]
deny = ["reset"]

[[rule]]
name = "no PIN"
principals = ["uid:4002"]
deny = ["session"]
commands = [{ instruction = "2x", application = "F04341524401" }]

[[rule]]
name = "desk"
principals = ["uid:4001", "gid:4050", "token:ci"]
readers = [".*-0[02]", "Virtual PCD A 00 00"]
allow = ["all"]

[[rule]]
name = "files"
principals = ["uid:4001", "token:guest"]
readers = [".*01"]
allow = ["see", "transmit", "session"]
commands = [{ instruction = "A4" }, { instruction = "B0", application = "F043415244" }]

[[rule]]
name = "alone"
principals = ["self"]
deny = ["shared_group", "leave"]
"#;

/// The table: the own user without a rule for it, users by uid:gid, and tokens by name.
const TABLE: &str = include_str!("permissions.txt");
const PRINCIPALS: [&str; 6] =
    ["user 0:0", "user 4001:100", "user 4002:4050", "user 4003:100", "token ci", "token guest"];
const CELL: usize = 22;

/// The outcome of each operation and command for one principal.
fn ask(broker: &Broker, readers: &[&str], who: &str) -> anyhow::Result<String> {
    let mut asker = process::Command::new(env!("CARGO_BIN_EXE_asker"));
    let (kind, name) = who.split_once(' ').context("a principal is a kind and a name")?;
    match kind {
        "token" => {
            asker.args([&broker.tcp_endpoint()?, "--token-file"]).arg(broker.token_file(name));
        }
        _ => {
            let (uid, gid) = name.split_once(':').context("a user is uid:gid")?;
            asker.args([&broker.endpoint(), "--uid", uid, "--gid", gid]);
        }
    }
    let asked =
        run(asker.args(readers).args(COMMANDS.map(|commands| format!("--commands={commands}"))).stdin(Stdio::null()))?;
    ensure!(asked.code == Some(0), "{who}: {asked:?}");
    Ok(asked.out)
}

/// The outcomes of all principals, as a table.
fn table(broker: &Broker, readers: &[&str]) -> anyhow::Result<String> {
    let told = PRINCIPALS.iter().map(|who| ask(broker, readers, who)).collect::<Result<Vec<_>, _>>()?;
    let rows = told[0].lines().map(|line| line.split('\t').next().unwrap_or_default());
    let mut table = row("", PRINCIPALS.iter().copied());
    for (index, name) in rows.enumerate() {
        let cells = told.iter().map(|told| told.lines().nth(index).and_then(|line| line.strip_prefix(name)));
        table += &row(name, cells.map(|cell| cell.unwrap_or("another row").trim()));
    }
    Ok(table)
}

fn row<'a>(name: &str, cells: impl Iterator<Item = &'a str>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:<CELL$}")).collect();
    format!("{}\n", format!("{name:<52}{cells}").trim_end())
}

#[test]
fn permissions_equal_the_golden_table() -> anyhow::Result<()> {
    if !may_be_several_users()? {
        return Ok(());
    }
    tell(async {
        let setup = Setup::simulated(3)?.tcp(&["ci", "guest"])?.configuration(RULES).open_folder()?;
        let broker = setup.log_level("info").start()?;
        let readers = ["readers/simulated-reader-00", "readers/simulated-reader-01"];
        for reader in readers {
            wait_for(&broker, reader, ReaderState::Ready).await?;
        }
        let told = table(&broker, &readers)?;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/permissions.txt"), &told)?;
        }
        let difference = similar::TextDiff::from_lines(TABLE, &told);
        assert!(told == TABLE, "{}", difference.unified_diff().header("written", "told"));
        Ok(())
    })
}

#[test]
fn the_selection_of_a_real_card_follows_its_answers() -> anyhow::Result<()> {
    tell(async {
        let rules = r#"
            [[rule]]
            name = "files"
            principals = ["self"]
            allow = ["see", "transmit"]
            commands = [{ instruction = "A4" }, { instruction = "B0", application = "F04341524401" }]
            [[rule]]
            name = "nothing else"
            principals = ["self"]
            deny = ["transmit"]
        "#;
        let world = PcscWorld::new(rules, CardOptions::default()).await?;
        let client = world.broker.client().await?;
        let read = "00B0000002";
        let unit = |apdus: &[&str]| {
            let commands = apdus.iter().map(|apdu| Command::new(hex::parse(apdu).unwrap()).stop_rule(StopRule::Any));
            client.transmit(READER).commands(commands).send()
        };
        assert_eq!(answers(&unit(&[SELECT, read]).await?)[1], "0001 9000");
        // A selection outlives the unit, but not a selection of something else.
        assert_eq!(answers(&unit(&[read]).await?), ["0001 9000"]);
        let Err(Error::Stopped { stop, partial }) = unit(&["00A40000023F00", read]).await else { bail!("not stopped") };
        assert_eq!(
            (stop.index, stop.failure.reason, stop.failure.delivery),
            (1, Some(ErrorReason::Denied), Delivery::NotSent)
        );
        assert_eq!(partial.results.len(), 1);
        let denied = unit(&[read]).await.unwrap_err();
        assert_eq!((denied.reason(), denied.delivery()), (Some(ErrorReason::Denied), Delivery::NotSent));
        Ok(())
    })
}
