//! The first minute: what the daemon says at a terminal, and a log that programs can read.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use cardbroker_client::ReaderState;
use cardbroker_tests::harness::broker::{Setup, program};
use rustix::process::Signal;

use crate::world::{COUNT, tell, unit, wait_for};

const READER: &str = "readers/simulated-reader-00";

#[test]
fn at_a_terminal_three_lines_say_what_is_served_and_what_to_type() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("s/cardbroker.sock");
    let daemon = program("cardbrokerd")?;
    let line =
        format!("exec {} --simulate 2 --config /dev/null --log off --socket {}", daemon.display(), socket.display());
    let mut terminal = Command::new("script")
        .args(["--quiet", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("no script (package bsdutils)")?;
    let shown: Vec<String> =
        BufReader::new(terminal.stdout.take().context("no output")?).lines().take(3).collect::<Result<_, _>>()?;
    terminal.kill()?;
    terminal.wait()?;
    let shown: Vec<_> = shown.iter().map(|line| line.trim_end()).collect();
    assert_eq!(shown[0], format!("Serving 2 simulated readers on {}.", socket.display()));
    let next = format!("Next, in another terminal: cardbroker readers --endpoint unix:{}", socket.display());
    assert_eq!(shown[1], next);
    assert!(shown[2].starts_with("Only ") && shown[2].ends_with("Ctrl-C stops the broker."), "{shown:?}");
    Ok(())
}

#[test]
fn a_daemon_without_a_terminal_writes_records_only() -> anyhow::Result<()> {
    let mut broker = Setup::simulated(1)?.log_level("off").start()?;
    broker.stop()?;
    assert_eq!(broker.log(), "");
    Ok(())
}

/// A line of the text log, as documented.
#[derive(Debug)]
struct Line {
    level: String,
    target: String,
    message: String,
    fields: BTreeMap<String, String>,
}

/// Splits at blanks outside of quotes.
fn words(line: &str) -> anyhow::Result<Vec<&str>> {
    let (mut words, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, letter) in line.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                words.push(&line[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
    }
    ensure!(!quoted, "an open quote: {line}");
    words.push(&line[begin..]);
    Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
}

fn parse(line: &str) -> anyhow::Result<Line> {
    let words = words(line)?;
    let [time, level, rest @ ..] = &words[..] else { anyhow::bail!("too short: {line}") };
    ensure!(time.ends_with('Z') && time.contains('T'), "no time: {line}");
    let places = rest.iter().take_while(|word| word.ends_with(':')).count();
    ensure!(places > 0, "no target: {line}");
    let is_field = |word: &&str| {
        word.split_once('=').is_some_and(|(key, _)| {
            !key.is_empty()
                && key.chars().all(|letter| letter == '_' || letter == '.' || letter.is_ascii_alphanumeric())
        })
    };
    let fields = rest[places..].iter().position(is_field).map_or(rest.len(), |index| places + index);
    let pairs =
        rest[fields..].iter().map(|word| word.split_once('=').with_context(|| format!("{word} is no field: {line}")));
    let fields_found = pairs.map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(Line {
        level: (*level).to_owned(),
        target: rest[places - 1].trim_end_matches(':').to_owned(),
        message: rest[places..fields].join(" "),
        fields: fields_found.collect::<anyhow::Result<_>>()?,
    })
}

#[test]
fn every_line_of_the_text_log_can_be_parsed() -> anyhow::Result<()> {
    tell(async {
        let rules = "rule = [{ name = 'no sessions', principals = ['self'], deny = ['session'] }]";
        let setup = Setup::simulated(1)?.configuration(rules);
        let mut broker = setup.log_level("trace").start()?;
        wait_for(&broker, READER, ReaderState::Ready).await?;
        let client = broker.client().await?;
        unit(&client, READER, &[COUNT]).send().await?;
        assert!(client.open_session(READER).open().await.is_err());
        std::fs::write(broker.folder().join("cardbrokerd.toml"), "[listen]\nsocket = \"a=b c\"")?;
        broker.signal(Signal::HUP)?;
        crate::log::lines(&broker, "policy_reload_refused", 1).await?;
        broker.stop()?;
        let log = broker.log();
        let lines: Vec<Line> = log.lines().map(parse).collect::<Result<_, _>>()?;
        assert!(lines.len() > 20 && lines.iter().all(|line| !line.level.is_empty()), "{log}");
        let about = |message: &str| lines.iter().find(|line| line.message == message).context(message.to_owned());
        assert!(about("starting")?.fields.contains_key("version"));
        assert_eq!(about("serving")?.target, "cardbroker_server::server");
        assert!(about("unit done")?.fields["caller"].starts_with("\"process "), "{log}");
        let event = |name: &str| {
            let quoted = format!("\"{name}\"");
            lines.iter().find(|line| line.fields.get("event").is_some_and(|event| *event == quoted || event == name))
        };
        let denied = event("denied").context("no denial")?;
        assert!(
            denied.fields["principal"].starts_with("\"user ") && denied.fields["rule"] == "\"no sessions\"",
            "{denied:?}"
        );
        assert!(event("policy_reload_refused").context("no refusal")?.fields["problem"].starts_with('"'));
        Ok(())
    })
}
