//! A broker full of names and numbers, and a report without them.

use std::time::SystemTime;

use cardbroker_client::{
    Endpoint,
    diagnostics::{ConnectionCount, Incident, Tracer},
};

use super::{content::write, mask::Numbers, system::System};
use crate::{
    doctor::{Answer, BrokerFacts, Door, Facts, File, Found, Me, Pcsc, Place, Process, judge},
    sample,
};

/// Everything private in [`facts`]. None of it may be in a report.
const SECRETS: &[&str] = &[
    "anna",
    "bert",
    "carla",
    "4711",
    "4712",
    "8123",
    "99999",
    "1000",
    "1001",
    "scdaemon",
    "sshd-session",
    "topsecret",
    "build-7",
    "21120512",
    "D8B1AF77",
    "YubiKey5C",
    "desk",
    "office",
    "/home",
    "/run",
    "/etc",
    "laptop",
    "night",
    "lisen",
    "3f2a91c0",
    "e1-",
    "ABABAB",
    "AB AB",
    "info",
    "debug",
    "7180",
    "127.0.0.1",
    "cards-group",
    "line 7",
];

/// The home of the user, in two parts for the check of such paths in sources.
const HOME: &str = concat!("/ho", "me/anna");

/// A machine on which every text is private.
fn facts() -> Facts {
    let mut status = sample::status();
    let broker = status.broker.as_mut().unwrap();
    broker.version = "0.1.0 on laptop".into();
    broker.process_id = 99_999;
    broker.connections.push(ConnectionCount {
        address: format!("unix:{HOME}/s"),
        principal: "token topsecret".into(),
        count: 1,
    });
    let pcsc = broker.pcsc.as_mut().unwrap();
    pcsc.problem = format!("PC/SC denies access to {HOME} (process 8123)");
    let desk = &mut status.readers[0];
    let reader = desk.reader.as_mut().unwrap();
    reader.display_name = "Bert SCR3310 [CCID Interface] (21120512202178) of anna D8B1AF77 00 00".into();
    reader.atr = cardbroker_client::hex::parse("3BFD1300008131FE15ABABABABABABABABABABABABAB00").unwrap().to_vec();
    let mut holder = sample::scdaemon();
    holder.user_name = "bert".into();
    holder.principal = "user 1001".into();
    holder.process_id = Some(4712);
    holder.program = "topsecret".into();
    desk.holder.as_mut().unwrap().caller = Some(holder.clone());
    desk.incidents.push(Incident {
        message: format!("released by process 4711 of user 1000 (anna): {HOME}/carla/card"),
        caller: Some(holder),
        kind: 4,
        ..Incident::default()
    });
    desk.tracers.push(Tracer { caller: Some(sample::scdaemon()), ..Tracer::default() });
    let readers = status.readers.iter().filter_map(|status| status.reader.clone()).collect();
    let own: Endpoint = format!("unix:{HOME}/cardbroker.sock").parse().unwrap();
    let file = File {
        path: format!("{HOME}/cardbroker.sock").into(),
        owner: "carla".into(),
        gid: 1001,
        group: "cards-group".into(),
        mode: 0o660,
    };
    let process = Process { pid: 4711, program: "scdaemon".into(), user: "anna".into() };
    Facts {
        version: "0.1.0",
        me: Me { uid: Some(1000), name: "carla".into(), groups: vec![1001], assigned: vec![1001] },
        places: vec![Place { endpoint: own.clone(), socket: Some(file.clone()), folder: Some(file) }],
        found: Found::At { endpoint: own.clone(), other: Some(own) },
        broker: Answer::Given(BrokerFacts {
            version: "0.9.0-laptop".into(),
            principal: "user 1000".into(),
            process_id: Some(8123),
            is_connection: true,
            limits: vec![("max_commands", 64)],
        }),
        readers: Answer::Given(readers),
        status: Answer::Given(status),
        pcsc: Some(Pcsc {
            socket: format!("{HOME}/pcscd.comm").into(),
            door: Door::Open,
            runs: Some(true),
            asks_polkit: true,
            has_rule: None,
            clients: vec![process.clone()],
            sees_all: true,
            keepers: vec![process],
        }),
        windows: None,
    }
}

fn system() -> System {
    System { name: "linux x86_64".into(), pcscd: Some("1.9.9".into()) }
}

fn report(facts: &Facts) -> String {
    write(facts, &judge(facts), &system(), SystemTime::UNIX_EPOCH, &["laptop".to_owned()])
}

#[test]
fn no_name_number_path_or_message_survives() {
    let facts = facts();
    // The facts contain all of it, and doctor shows most of it.
    let raw = format!("{facts:?}").to_lowercase();
    let text = report(&facts);
    for secret in SECRETS {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret}:\n{text}");
    }
    for planted in ["anna", "bert", "carla", "4711", "scdaemon", "21120512202178", "/home", "laptop"] {
        assert!(raw.contains(planted), "{planted} is not in the facts");
    }
}

#[test]
fn what_a_maintainer_needs_is_there() {
    let text = report(&facts());
    for expected in [
        "  cardbroker              0.1.0\n",
        "  system                  linux x86_64\n",
        "  version                 warning: differs\n",
        "  max_commands            64\n",
        "  PC/SC                   SERVING, since 2days 7h 33m 20s ago\n",
        "  listener                https, 1 connection\n",
        "  name                    … SCR3310 [CCID Interface] … of … … 00 00\n",
        "  card                    3B FD 13 00 00 81 31 FE 15 [13 historical bytes] T1\n",
        "  holder                  session of process 1 of user 4, since 2m 10s ago\n",
        "  commands                14 done, last VERIFY REFUSED, idle since 10s ago\n",
        "  units                   1200\n",
        "  incident                DENIED, reason DENIED, 12 times, 1m 11s ago, token 2\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn without_permission_the_report_has_what_all_callers_see() {
    let text = report(&Facts { status: Answer::NotAsked, ..facts() });
    assert!(text.contains("  status                  none\n") && text.contains("Reader 2\n"), "{text}");
    assert!(!text.contains("holder"), "{text}");
}

#[test]
fn numbers_are_those_of_the_order() {
    assert_eq!(Numbers::default().process(4711), "process 1");
}

#[test]
#[cfg(unix)]
fn a_file_is_private_and_replaced_only_by_force() {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::save;
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("report"), folder.path().join("link"));
    save(&path, "one", false).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(save(&path, "two", false).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    symlink(&path, &link).unwrap();
    assert!(save(&link, "two", false).is_err());
    save(&link, "three", true).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_file(), "the link itself is replaced");
    assert_eq!((fs::read_to_string(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count()), ("one".into(), 2));
    assert!(save(&folder.path().join("no/report"), "x", true).is_err());
}

#[test]
fn on_windows_the_service_of_smart_cards_stands_for_pcscd() {
    let row = |facts: &Facts, name: &str| report(facts).lines().any(|line| line.trim_start().starts_with(name));
    let on_linux = facts();
    assert!(row(&on_linux, "pcscd ") && !row(&on_linux, "SCardSvr "));
    let on_windows = Facts { windows: Some(Default::default()), ..facts() };
    assert!(row(&on_windows, "SCardSvr ") && !row(&on_windows, "pcscd "));
}

#[test]
fn names_of_the_user_and_of_the_machine_are_private_on_each_system() {
    let found = super::private_names(|name| Some(format!("/all/of-{name}").into()));
    for expected in ["of-HOME", "of-USERPROFILE", "/all/of-USER", "/all/of-USERNAME", "/all/of-COMPUTERNAME"] {
        assert!(found.iter().any(|name| name == expected), "{expected}: {found:?}");
    }
    assert!(!super::private_names(|_| Some("".into())).contains(&String::new()));
}
