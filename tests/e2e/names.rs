//! Readers' names: their bytes, their aliases, and the patterns that fit them.

use cardbroker_client::{Error, Reader, ReaderState};
use cardbroker_core::simulated_card::CardOptions;
use cardbroker_tests::{
    cards::VirtualCard,
    harness::{
        broker::{Broker, Setup, program},
        pcscd::Pcscd,
        run::{Run, cardbroker, run},
    },
};
use rustix::process::Signal;

use crate::world::{COUNT, answers, tell, unit, wait_for, wait_until};

const DESK: &str = "[[reader]]\nmatch = 'Desk .*'\nalias = 'desk'\n";
/// As an expression, the name has a mistake: a range from `l` to `I`.
const BRACKETS: &str = "Vendor Twin [Dual-Interface] (0123)";
const PATTERNS: &str = r"
reader = [
    { match = 'Vendor Twin [Dual-Interface] (0123) 00 00', alias = 'pasted' },
    { match = 'Vender .*', alias = 'typo' },
]
rule = [
    { name = 'all', principals = ['anyone'], allow = ['all'],
      readers = ['pasted', 'Vendor Twin [Dual-Interface] (0123) 00 01'] },
    { name = 'never the safe', principals = ['anyone'], readers = ['safe .*'], deny = ['all'] },
    { name = 'lab', principals = ['anyone'], readers = ['lab'], allow = ['see'] },
]";
const DENIES_NOTHING: &str = "rule \"never the safe\" denies nothing: no reader here fits \"safe .*\"";
const ALLOWS_NOTHING: &str = "rule \"lab\" allows nothing: no reader here fits \"lab\"";
const NO_EFFECT: &str = "the reader entry with match = \"Vender .*\" has no effect: no reader here fits";

/// Waits until the reader of this name is the one with PC/SC's name `display_name`.
async fn wait_for_name(broker: &Broker, name: &str, display_name: &str) -> anyhow::Result<Reader> {
    let mut watch = broker.client().await?.watch();
    let is_it = |reader: &Reader| reader.display_name == display_name && reader.state() == ReaderState::Empty;
    wait_until(&mut watch, |watch| watch.readers().get(name).is_some_and(is_it)).await?;
    Ok(watch.readers()[name].clone())
}

#[test]
fn readers_with_names_of_any_bytes_work() -> anyhow::Result<()> {
    tell(async {
        // The last one reads like the text of the first.
        let names: [&[u8]; 3] = [b"Intel\xAE Reader", "Gemalto\u{ae} K3000 \u{fc}".as_bytes(), br"Intel\xAE Reader"];
        let pcscd = Pcscd::start_as(&names)?;
        let cards = [0, 2, 4].map(|reader| VirtualCard::insert(pcscd.port(reader), CardOptions::default()));
        let broker = Setup::on(&pcscd)?.start()?;
        let client = broker.client().await?;
        let mut shown = Vec::new();
        for id in ["intel-reader-00-00", "gemalto-k3000-00-00", "intel-xae-reader-00-00"] {
            let reader = wait_for(&broker, &format!("readers/{id}"), ReaderState::Ready).await?;
            assert_eq!(answers(&unit(&client, &reader.name, &[COUNT]).send().await?), ["00000001 9000"]);
            // The text names the reader, too.
            assert_eq!(answers(&unit(&client, &reader.display_name, &[COUNT]).send().await?), ["00000002 9000"]);
            shown.push(reader.display_name);
        }
        let expected = [r"Intel\xAE Reader 00 00", "Gemalto\u{ae} K3000 \u{fc} 00 00", r"Intel\x5CxAE Reader 00 00"];
        assert_eq!(shown, expected);
        cards.into_iter().try_for_each(|card| card.map(drop))
    })
}

#[test]
fn an_alias_follows_the_reader_that_is_there() -> anyhow::Result<()> {
    tell(async {
        let mut pcscd = Pcscd::start_as(&["Desk Old", "Other"])?;
        let broker = Setup::on(&pcscd)?.configuration(DESK).start()?;
        wait_for_name(&broker, "readers/desk", "Desk Old 00 00").await?;
        wait_for_name(&broker, "readers/desk-2", "Desk Old 00 01").await?;

        // It comes back with another name: another port, another version of the driver.
        pcscd.restart_as(&["Other", "Desk New"])?;
        wait_for_name(&broker, "readers/desk", "Desk New 00 00").await?;
        wait_for_name(&broker, "readers/desk-2", "Desk New 00 01").await?;
        let _card = VirtualCard::insert(pcscd.port(2), CardOptions::default())?;
        wait_for(&broker, "readers/desk", ReaderState::Ready).await?;
        let answer = unit(&broker.client().await?, "readers/desk", &[COUNT]).send().await?;
        assert_eq!(answers(&answer), ["00000001 9000"]);

        // The first ones join: the readers that are there keep their names.
        drop(_card);
        pcscd.restart_as(&["Desk Old", "Desk New", "Other"])?;
        wait_for_name(&broker, "readers/desk-3", "Desk Old 00 00").await?;
        wait_for_name(&broker, "readers/desk-4", "Desk Old 00 01").await?;
        wait_for_name(&broker, "readers/desk", "Desk New 00 00").await?;

        // The alias goes to the lowest number of those that are there. All others keep their names, even if a lower
        // number is free by then.
        pcscd.restart_as(&["Other"])?;
        wait_for_name(&broker, "readers/other-00-00", "Other 00 00").await?;
        let mut watch = broker.client().await?.watch();
        wait_until(&mut watch, |watch| watch.readers().len() == 2).await?;
        pcscd.restart_as(&["Other", "Desk Old"])?;
        wait_for_name(&broker, "readers/desk", "Desk Old 00 00").await?;
        wait_for_name(&broker, "readers/desk-4", "Desk Old 00 01").await?;
        Ok(())
    })
}

#[test]
fn patterns_that_fit_no_reader_are_told_once_the_readers_have_settled() -> anyhow::Result<()> {
    tell(async {
        let mut pcscd = Pcscd::start_as(&[BRACKETS])?;
        let broker = Setup::on(&pcscd)?.configuration(PATTERNS).start()?;
        wait_for_name(&broker, "readers/pasted", &pcscd.reader_name(0)).await?;
        wait_for_name(&broker, "readers/vendor-twin-dual-interface-0123-00-01", &pcscd.reader_name(1)).await?;
        let told = |line: &str, level: &str| {
            let log = broker.settled_log();
            log.lines().filter(|said| said.contains(line) && said.contains(level)).count()
        };
        let becomes = async |line: &str, count: usize| {
            let becomes = async {
                while told(line, "") < count {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(crate::world::LONG, becomes).await
        };
        becomes(DENIES_NOTHING, 1).await?;
        assert_eq!([told(DENIES_NOTHING, "WARN"), told(ALLOWS_NOTHING, "INFO"), told(NO_EFFECT, "INFO")], [1, 1, 1]);
        assert_eq!(told("\"all\" allows nothing", ""), 0, "a pasted name fits");

        broker.signal(Signal::HUP)?;
        becomes(DENIES_NOTHING, 2).await?;
        assert_eq!(told(DENIES_NOTHING, "WARN"), 2);

        pcscd.restart_as(&[BRACKETS, "safe"])?;
        let over = format!("a reader fits now, so this is over: {DENIES_NOTHING}");
        becomes(&over, 1).await?;
        assert_eq!([told(&over, "INFO"), told(ALLOWS_NOTHING, ""), told(NO_EFFECT, "")], [1, 2, 2]);
        Ok(())
    })
}

#[test]
fn patterns_that_fit_no_reader_are_told_by_both_checks() -> anyhow::Result<()> {
    let pcscd = Pcscd::start_as(&[BRACKETS])?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), PATTERNS)?;
    let path = file.path().display().to_string();
    let check = |arguments: &[&str], socket: &std::path::Path| -> anyhow::Result<Run> {
        let mut daemon = std::process::Command::new(program("cardbrokerd")?);
        run(daemon
            .args(["--config", &path, "--socket", "/nowhere/s"])
            .args(arguments)
            .env("PCSCLITE_CSOCK_NAME", socket))
    };
    for arguments in [&["--check-config"][..], &["policy", "check"], &["policy", "check", "--json"]] {
        let told = check(arguments, &pcscd.socket())?;
        assert_eq!(told.code, Some(0), "{told:?}");
        let lines = [
            format!("cardbrokerd: note: {NO_EFFECT}"),
            format!("cardbrokerd: warning: {DENIES_NOTHING}"),
            format!("cardbrokerd: note: {ALLOWS_NOTHING}"),
        ];
        assert_eq!(told.err.lines().collect::<Vec<_>>(), lines, "{arguments:?}");
        let without = check(arguments, "/nowhere".as_ref())?;
        assert_eq!((without.code, &without.out), (Some(0), &told.out));
        assert!(
            without.err.starts_with("cardbrokerd: note: not checked whether patterns fit a reader: "),
            "{without:?}"
        );
    }
    Ok(())
}

#[test]
fn a_hidden_reader_named_on_the_command_line_is_audited() -> anyhow::Result<()> {
    tell(async {
        let broker = crate::policy::broker(crate::policy::HIDE).await?;
        for name in ["simulated-reader-01", "Simulated Reader 01", "readers/simulated-reader-01", "Simulated Reader 77"]
        {
            let run = run(&mut cardbroker(&broker.endpoint(), &["transmit", name, COUNT])?)?;
            assert_eq!(run.code, Some(4), "{run:?}");
            assert!(run.err.contains(&format!("no reader matches \"{name}\"; there are: ")), "{}", run.err);
        }
        let missing = broker.client().await?.reader("readers/simulated-reader-01").await.unwrap_err();
        assert!(matches!(missing, Error::Failed(_)), "{missing:?}");
        let denials = crate::policy::audit(&broker, "denied");
        assert!(denials.iter().all(|record| record["reader"] == "simulated-reader-01"), "{denials:#?}");
        assert!(denials.iter().any(|record| record["operation"] == "see"), "{denials:#?}");
        Ok(())
    })
}
