//! Tests of valid configuration files and of files with mistakes.

use std::time::Duration;

use cardbroker_core::{policy::ReaderNames, slot::ProtocolChoice, turns::quantum::Quantum};

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("c.toml"), text)
}

fn mistake(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The example with its settings switched on, and a group that exists. Not on Windows: it has no groups yet, and there
/// the absolute paths of the example are none.
#[cfg(unix)]
fn example_uncommented() -> String {
    let own = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
    let uncommented = Config::example().lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|first: char| first == '[' || first.is_lowercase()) => setting,
        _ => line,
    });
    let text = uncommented.collect::<Vec<_>>().join("\n");
    text.replace("socket_group = \"cardbroker\"", &format!("socket_group = \"{own}\"")).replace("0600", "0660")
}

#[test]
fn the_example_as_shipped_changes_nothing() {
    assert_eq!(Config { source: None, ..parse(Config::example()).unwrap() }, Config::default());
}

#[cfg(unix)]
#[test]
fn the_example_shows_the_defaults() {
    let shown = parse(&example_uncommented()).unwrap();
    assert_eq!(
        shown.rules.iter().map(|rule| &*rule.name).collect::<Vec<_>>(),
        ["no reset for programs", "certificates"]
    );
    let group = shown.listen.socket_group.clone();
    assert!(group.is_some());
    let defaults = Config::default();
    let listen = ListenConfig {
        socket: shown.listen.socket.clone(),
        socket_mode: 0o660,
        socket_group: group,
        pipe_group: shown.listen.pipe_group.clone(),
        tcp: shown.listen.tcp,
        tokens: shown.listen.tokens.clone(),
        max_connections_per_user: Some(defaults.listen.max_connections_per_user()),
        ..defaults.listen.clone()
    };
    let reader = shown.reader("Yubico YubiKey FIDO+CCID 00 00");
    assert_eq!(
        reader,
        ReaderSettings {
            alias: Some("yubikey".into()),
            own: Own::OnDemand,
            pcsclite_isolation: Some(super::Isolation::User),
            pcsclite_exclusive: Some(super::Exclusive::Strict),
            ..ReaderSettings::default()
        }
    );
    let readers = ReadersConfig { simulate_from: shown.readers.simulate_from.clone(), ..ReadersConfig::default() };
    assert!(readers.simulate_from.is_some());
    assert_eq!(
        Config { source: None, reader: Vec::new(), rules: Vec::new(), ..shown },
        Config { listen, readers, ..defaults }
    );
    assert!(Config::example().contains("#socket_mode = \"0600\""));
}

#[test]
fn the_example_names_every_key() {
    for (section, wrong) in [
        ("listen", "[listen]\nx = 0"),
        ("readers", "[readers]\nx = 0"),
        ("limits", "[limits]\nx = 0"),
        ("watch", "[watch]\nx = 0"),
        ("shutdown", "[shutdown]\nx = 0"),
        ("log", "[log]\nx = 0"),
        ("diagnostics", "[diagnostics]\nx = 0"),
        ("[reader]", "[[reader]]\nx = 0"),
        ("[rule]", "[[rule]]\nx = 0"),
        ("", "x = 0"),
    ] {
        let message = mistake(wrong);
        let known: Vec<_> = message.split('`').skip(3).step_by(2).collect();
        assert!(!known.is_empty(), "{message}");
        let begin = Config::example().find(&format!("[{section}]")).unwrap_or(0);
        for key in known {
            let stands = match section {
                "" => Config::example().contains(&format!("[{key}]")),
                _ => Config::example()[begin..].contains(&format!("\n#{key} = ")),
            };
            assert!(stands, "{key} of [{section}]");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_printed_configuration_reads_back_as_the_same() {
    let config = parse(&example_uncommented()).unwrap();
    let printed = parse(&config.to_string()).unwrap();
    assert_eq!(Config { source: config.source.clone(), ..printed }, config);
}

#[test]
fn a_quantum_is_auto_or_at_most_ten_seconds() {
    let quantum =
        |value: &str| parse(&format!("limits.turn_quantum = {value}")).map(|config| config.limits.turn_quantum);
    let fixed = |ms| Some(Quantum::Fixed(Duration::from_millis(ms)));
    for (value, expected) in
        [("\"auto\"", Some(Quantum::Auto)), ("\"0s\"", fixed(0)), ("\"250ms\"", fixed(250)), ("\"10s\"", fixed(10_000))]
    {
        assert_eq!(quantum(value).ok(), expected, "{value}");
    }
    for wrong in ["\"11s\"", "\"\"", "\"Auto\"", "1"] {
        let told = quantum(wrong).unwrap_err().to_string();
        assert!(told.contains("must be \"auto\", or a duration from 0s to 10s"), "{told}");
    }
    let shown = parse("limits.turn_quantum = \"250ms\"").unwrap().to_string();
    assert!(shown.contains("turn_quantum = \"250ms\""), "{shown}");
}

#[test]
fn the_recorder_has_a_time_or_is_off() {
    let recorder = |value: &str| parse(&format!("diagnostics.recorder = \"{value}\"")).unwrap().diagnostics.recorder;
    assert_eq!([recorder("off"), recorder("90s")], [None, Some(Duration::from_secs(90))]);
    assert_eq!(Config::default().diagnostics.recorder, Some(Duration::from_secs(3_600)));
    let off = parse("diagnostics.recorder = \"off\"").unwrap();
    assert_eq!(parse(&off.to_string()).unwrap().diagnostics, off.diagnostics);
}

#[test]
fn only_the_first_entry_matching_the_whole_name_applies() {
    let config = parse(
        r#"
        [[reader]]
        match = "ACS|ACS .* 00"
        own = "never"
        [[reader]]
        match = "ACS.*"
        alias = "acs"
        preferred_protocols = "t1"
        exchange_timeout = "10s"
        "#,
    )
    .unwrap();
    assert_eq!(config.reader("ACS ACR39U 00 00").own, Own::Never);
    assert_eq!(config.reader("ACS ACR39U 00 00").alias, None);
    let second = config.reader("ACS ACR39U 00 01");
    assert_eq!((second.alias.as_deref(), second.own), (Some("acs"), Own::Always));
    assert_eq!((second.protocols, second.exchange_timeout), (ProtocolChoice::T1, Duration::from_secs(10)));
    assert_eq!(config.reader("my ACS"), ReaderSettings::default());
}

#[test]
fn a_mistake_is_one_line_without_control_characters() {
    let message = mistake("rule = [{ name = 'r', principals = [\"t\\u001b[2J\\tken\"], deny = ['all'] }]");
    assert!(message.contains("`t [2J ken` is not a principal") && !message.contains(char::is_control), "{message:?}");
}

// The absolute paths are Unix's.
#[cfg(unix)]
#[test]
fn every_mistake_names_its_position_and_the_allowed_values() {
    for (text, expected) in [
        ("[listen]\n  sokcet = \"/a\"", "c.toml:2:3: listen.sokcet: unknown field `sokcet`, expected one of `socket`"),
        ("[lisen]", "c.toml:1:2: lisen: unknown field `lisen`, expected one of `listen`"),
        ("[listen]\nsocket = \"a.sock\"", "c.toml:2:10: listen.socket: must be an absolute path"),
        ("[listen]\nsocket_mode = 600", "c.toml:2:15: listen.socket_mode: must be permissions in quotes, octal"),
        ("[listen]\nsocket_mode = \"0400\"", "with at least rw for the owner"),
        ("listen.tcp = 7777", "c.toml:1:14: listen.tcp: must be an IP address and a port in quotes"),
        ("listen.tcp = \"localhost:7777\"", "listen.tcp: must be an IP address and a port"),
        ("listen.tcp = \"0.0.0.0:7777\"", "c.toml:1:14: listen.tcp: 0.0.0.0 means every address"),
        ("[listen]\ntcp = \"auto\"\ntcp_plain = true", "c.toml:3:1: listen.tcp_plain: not allowed with listen.tcp ="),
        ("[listen]\ntcp = \"10.0.0.1:7\"\ntcp_plain = true", "listen.tcp_plain: only allowed on loopback: on the way"),
        ("listen.tokens = \"tokens\"", "c.toml:1:17: listen.tokens: must be an absolute path"),
        ("listen.max_connections = 0", "c.toml:1:26: listen.max_connections: must be a whole number from 1 to 65536"),
        ("[readers]\nsimulate = \"3\"", "c.toml:2:12: readers.simulate: must be a whole number from 0 to 256"),
        ("readers.simulate_from = \"x.jsonl\"", "readers.simulate_from: must be an absolute path"),
        ("[readers]\nsimulate = 1\nsimulate_from = \"/x\"", "c.toml:3:1: readers.simulate_from: not allowed with"),
        ("[shutdown]\n\ngrace = 10", "c.toml:3:9: shutdown.grace: must be a duration from 0s to 10m in quotes"),
        ("[watch]\nheartbeat_interval = \"0s\"", "watch.heartbeat_interval: must be a duration from 1s to 30s"),
        (
            "[listen]\npipe_group = \"S-1-5-32)\"",
            "c.toml:2:14: listen.pipe_group: `S-1-5-32)` is not the SID of a group",
        ),
        ("listen.pipe_group = \"S-1-5-4294967296\"", "c.toml:1:21: listen.pipe_group: `S-1-5-4294967296` is not"),
        ("[listen]\nsocket_group = \"no-such-group\"", "c.toml:2:16: listen.socket_group: there is no group `no-such"),
        ("[log]\nlevel = \"infoo\"", "c.toml:2:9: log.level: `infoo` is no level: allowed are off, error"),
        ("[log]\nlevel = \"h2=loud\"", "c.toml:2:9: log.level: "),
        ("[log]\nformat = \"xml\"", "c.toml:2:10: log.format: unknown variant `xml`, expected `text` or `json`"),
        (
            "[log]\nsecret_instructions = [\"B6\", \"+6\"]",
            "c.toml:2:23: log.secret_instructions: must be an instruction",
        ),
        ("[diagnostics]\nrecorder = \"25h\"", "diagnostics.recorder: must be \"off\", or a duration from 1s to 24h"),
        (
            "diagnostics.trace_data = [{ class = '80', instruction = 'CA' }, { instruction = 'CA' }]",
            "diagnostics.trace_data[1]: must have class and instruction, and no application",
        ),
        (
            "diagnostics.trace_data = [{ class = '80', instruction = 'CA', application = 'A0' }]",
            "diagnostics.trace_data[0]: must have class and instruction, and no application",
        ),
        ("[[reader]]\nmatch = \"a(\"", "c.toml:2:9: reader[0].match: not a regular expression: unclosed group"),
        ("[[reader]]\nmatch = \"a)(b\"", "not a regular expression: unopened group"),
        ("[[reader]]\nown = \"never\"", "c.toml:1:1: reader[0]: missing field `match`"),
        ("[[reader]]\nmatch = \"a\"\nalias = \"A b\"", "c.toml:3:9: reader[0].alias: must be 1 to 64 lower-case"),
        (
            "[[reader]]\nmatch = \"a\"\nown = \"maybe\"",
            "reader[0].own: unknown variant `maybe`, expected one of `always`",
        ),
        ("[[reader]]\nmatch = \"a\"\nrelease_after = \"1s\"", "c.toml:3:1: reader[0].release_after: only allowed with"),
        (
            "rule = [{ name = 'r', principals = ['self'], allow = ['all'], share = 0 }]",
            "c.toml:1:71: rule[0].share: must be a number from 1 to 100",
        ),
        (
            "rule = [{ name = 'r', principals = ['self'], allow = ['all'], share = 101 }]",
            "rule[0].share: must be a number from 1 to 100",
        ),
        (
            "rule = [{ name = 'r', principals = ['self'], deny = ['all'], share = 2 }]",
            "rule[0].share: is only for rules that allow transmit or session",
        ),
        (
            "rule = [{ name = 'r', principals = ['self'], allow = ['see'], share = 2 }]",
            "rule[0].share: is only for rules that allow transmit or session",
        ),
        (
            "reader = [{match=\"a\", alias=\"x\"}, {match=\"b\", alias=\"x\"}]",
            "c.toml:1:47: reader[1].alias: `x` is the",
        ),
        ("[listen\nsocket = 1", "c.toml:1:8: "),
        ("# ü\nü", "c.toml:2:2: key with no value"),
    ] {
        let message = mistake(text);
        assert!(message.contains(expected), "{text}\n{message}\nexpected {expected}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_group_without_access_is_a_mistake() {
    let text = example_uncommented().replace("0660", "0640");
    let message = mistake(&text);
    assert!(message.contains("listen.socket_group: group") && message.contains("set it to \"0660\""), "{message}");
}

// The system's words for a missing file are Unix's.
#[cfg(unix)]
#[test]
fn a_missing_file_from_the_flag_is_an_error() {
    let error = Config::load(Some(Path::new("/nonexistent/c.toml"))).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/c.toml: cannot read the configuration: No such file"));
}

#[test]
fn an_entry_that_applies_to_no_reader_is_found() {
    let text =
        "reader = [{ match = 'A \\[x-A\\] 00 00' }, { match = 'A [x-A] 00 00' }, { match = '.*' }, { match = 'B .*' }]";
    let config = parse(text).unwrap();
    let readers = ["A [x-A] 00 00", "B 00 00"].map(|name| ReaderNames { id: String::new(), display_name: name.into() });
    let told: Vec<_> = config.unfit_entries(&readers).into_iter().map(|unfit| unfit.message).collect();
    assert_eq!(
        told,
        [
            "the reader entry with match = \"A [x-A] 00 00\" has no effect: earlier entries apply to all that fit",
            "the reader entry with match = \"B .*\" has no effect: earlier entries apply to all that fit",
        ]
    );
    let told: Vec<_> = config.unfit_entries(&readers[1..]).into_iter().map(|unfit| unfit.message).collect();
    assert!(told[0].ends_with("has no effect: no reader here fits") && told.len() == 3, "{told:?}");
}
