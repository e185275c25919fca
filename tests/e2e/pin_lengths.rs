//! A program that presents PINs of different lengths: status, metrics, log and report are the same once times and ids
//! are taken out.

use std::fs;

use anyhow::{Context, ensure};
use cardbroker_client::{Command, ReaderState, StopRule};
use cardbroker_proto::diagnostics::v1::{GetMetricsRequest, GetStatusRequest};
use cardbroker_tests::harness::broker::Setup;
use regex::Regex;

use crate::{
    wire::diagnostics,
    world::{COUNT, SELECT, random_pin, seed, tell, wait_for},
};

const READER: &str = "readers/simulated-reader-00";

/// The parts that differ between two runs of the same program: times, and names that a run gives.
const CHANGING: &[(&str, &str)] = &[
    (r"Timestamp \{[^}]*\}", "TIME"),
    (r"Duration \{[^}]*\}", "TIME"),
    (r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    (r"\b(waited_ms|card_ms|took_us|held_ms|duration_ms)=\d+", "$1=TIME"),
    (r"\d+(\.\d+)?( ?ms|ns|µs)\b", "TIME"),
    (r"\b(\d+m )?\d+s ago", "TIME ago"),
    (r"\b[0-9a-f]{16}(-[0-9a-f]{16})?", "ID"),
    (r#"\b(pid|connection)=\d+"#, "$1=ID"),
    (r"\bprocess \d+", "process ID"),
    (r"process_id: (Some\()?\d+", "process_id: ID"),
    (r"/tmp/broker-\w+", "FOLDER"),
];

fn without_times(text: &str) -> String {
    CHANGING.iter().fold(text.to_owned(), |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    })
}

/// Runs the program with a PIN, and returns what operators see of it afterwards.
async fn seen_of(pin: &str) -> anyhow::Result<[(&'static str, String); 4]> {
    // Without the guard, because the card tells a wrong PIN from one of a wrong length.
    let rule = "[[reader]]\nmatch = \".*\"\npin_guard = false\n";
    let broker = Setup::simulated(1)?.configuration(rule).log_level("debug").start()?;
    wait_for(&broker, READER, ReaderState::Ready).await?;
    let (client, mut operator) = (broker.client().await?, diagnostics(&broker).await?);
    let verify = [&[0x00, 0x20, 0x00, 0x80, u8::try_from(pin.len())?][..], pin.as_bytes()].concat();
    let select = cardbroker_client::hex::parse(SELECT)?;
    for _ in 0..2 {
        let commands = [select.clone(), verify.clone().into(), cardbroker_client::hex::parse(COUNT)?];
        let commands = commands.into_iter().map(|bytes| Command::new(bytes).stop_rule(StopRule::Any));
        client.transmit(READER).commands(commands).send().await?;
    }
    let status = operator.get_status(GetStatusRequest::default()).await?.into_inner().status.context("no status")?;
    let metrics = operator.get_metrics(GetMetricsRequest {}).await?.into_inner().text;
    // How long SELECT takes depends on the machine.
    let counts: Vec<_> = metrics.lines().filter(|line| !line.contains("_seconds_")).collect();
    let path = broker.folder().join("report.txt");
    let reported = broker.cardbroker(&["report", "--yes", "-o", &path.display().to_string()])?;
    ensure!(reported.code == Some(0), "{reported:?}");
    let report = without_times(&fs::read_to_string(&path)?);
    // Threads write at the same time.
    let mut log: Vec<_> = without_times(&broker.settled_log()).lines().map(str::to_owned).collect();
    log.sort();
    let status = without_times(&format!("{status:#?}"));
    Ok([("status", status), ("metrics", counts.join("\n")), ("log", log.join("\n")), ("report", report)])
}

#[test]
fn nothing_that_operators_see_depends_on_the_length_of_a_pin() -> anyhow::Result<()> {
    tell(async {
        let mut random = fastrand::Rng::with_seed(seed()?);
        let reference = seen_of(&random_pin(&mut random, 4)).await?;
        assert!(reference[2].1.contains("unit done"), "{}", reference[2].1);
        assert!(reference[3].1.contains("  units "), "{}", reference[3].1);
        for digits in [4, 6, 8, 12] {
            let pin = random_pin(&mut random, digits);
            for ((what, expected), (_, seen)) in reference.iter().zip(seen_of(&pin).await?) {
                let difference = similar::TextDiff::from_lines(expected, &seen);
                assert!(*expected == seen, "{what} of {digits} digits:\n{}", difference.unified_diff());
                // Four digits may occur by chance.
                assert!(digits == 4 || !seen.contains(&pin), "{what} contains the PIN");
            }
        }
        Ok(())
    })
}
