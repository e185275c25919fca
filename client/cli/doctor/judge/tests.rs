//! Facts of many machines, and what is found there.

use std::{io, path::PathBuf};

use cardbroker_client::{
    Distrust, Endpoint, Error, Finding as Obstacle, Owner, Reader, ReaderState, Tried,
    diagnostics::{BrokerStatus, Caller, Incident, IncidentKind, PcscState, PcscStatus, ReaderStatus, Reload, Status},
};
use cardbroker_local::words::HERE;

use super::*;
use crate::doctor::{
    facts::{Door, File, Me, Pcsc, Place, Process},
    finding::Level,
    windows::{Policy, Service, WindowsCards},
};

const OWN: &str = "/run/user/1000/cardbroker/cardbroker.sock";
const SYSTEM: &str = "/run/cardbroker/cardbroker.sock";

fn unix(path: &str) -> Endpoint {
    Endpoint::Unix(path.into())
}

fn file(path: &str, gid: u32, mode: u32) -> File {
    File { path: path.into(), owner: "root".into(), gid, group: format!("g{gid}"), mode }
}

fn place(path: &str, socket: Option<File>, folder: Option<File>) -> Place {
    Place { endpoint: unix(path), socket, folder }
}

fn pcsc() -> Pcsc {
    Pcsc {
        socket: "/run/pcscd/pcscd.comm".into(),
        door: Door::Open,
        runs: Some(true),
        asks_polkit: false,
        has_rule: Some(false),
        clients: Vec::new(),
        sees_all: false,
        keepers: Vec::new(),
    }
}

fn anna() -> Me {
    Me { uid: Some(1000), name: "anna".into(), groups: vec![1000], assigned: vec![1000] }
}

/// A machine on which all is well: the system's broker with one reader, as a user without `diagnose` sees it.
fn well() -> Facts {
    Facts {
        version: "0.1.0",
        me: anna(),
        places: vec![
            place(OWN, None, None),
            place(SYSTEM, Some(file(SYSTEM, 7, 0o660)), Some(file("/run/cardbroker", 7, 0o750))),
        ],
        found: Found::At { endpoint: unix(SYSTEM), other: None },
        broker: Answer::Given(BrokerFacts {
            version: "0.1.3".into(),
            principal: "user 1000".into(),
            process_id: Some(77),
            ..BrokerFacts::default()
        }),
        readers: Answer::Given(vec![reader(ReaderState::Ready)]),
        status: Answer::NotAsked,
        pcsc: Some(pcsc()),
        windows: None,
    }
}

fn reader(state: ReaderState) -> Reader {
    let (name, display_name) = ("readers/desk".to_owned(), "Desk 00 00".to_owned());
    Reader { name, display_name, state: state.into(), ..Reader::default() }
}

/// A machine on which the search ended with these findings at the default places.
fn nothing(found: &[(&str, Obstacle)]) -> Facts {
    let tried = found.iter().map(|(path, finding)| Tried { endpoint: unix(path), finding: finding.clone() });
    Facts {
        found: Found::Nothing(Box::new(Error::NotRunning { tried: tried.collect() })),
        broker: Answer::NotAsked,
        readers: Answer::NotAsked,
        ..well()
    }
}

fn with_status(state: PcscState, problem: &str) -> Status {
    let pcsc = PcscStatus { state: state.into(), problem: problem.into(), ..PcscStatus::default() };
    let broker = BrokerStatus { pcsc: Some(pcsc), ..BrokerStatus::default() };
    Status { broker: Some(broker), ..Status::default() }
}

/// The names of all findings that are not `ok`, in their order.
fn bad(facts: &Facts) -> Vec<&'static str> {
    judge(facts).iter().filter(|finding| finding.level > Level::Ok).map(|finding| finding.name).collect()
}

fn named(facts: &Facts, name: &str) -> Finding {
    judge(facts).into_iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("{name}: {facts:?}"))
}

/// The system's broker has its own configuration.
#[cfg(unix)]
const SYSTEMS: &str = " --config /etc/cardbroker/cardbrokerd.toml";

// The system's socket and configuration in the facts are those of Unix.
#[cfg(unix)]
#[test]
fn where_all_is_well_nothing_is_found() {
    let found = judge(&well());
    assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:?}");
    let names: Vec<_> = found.iter().map(|finding| finding.name).collect();
    assert_eq!(names, ["found", "answers", "same", "known", "ready", "sees-readers"]);
    assert_eq!(found[0].text, format!("{SYSTEM} is root:g7 0660, its folder root:g7 0750"));
    assert_eq!(found[5].steps, [format!("cardbroker policy check --as user:anna --reader desk{SYSTEMS}")]);
}

// The same.
#[cfg(unix)]
#[test]
fn the_question_to_the_policy_names_this_program_as_the_broker_does() {
    let anna = Me { uid: Some(1000), name: "anna".into(), ..Me::default() };
    let nameless = Me { uid: Some(1000), ..Me::default() };
    for (me, principal, expected) in [
        (&anna, "user 1000", "user:anna"),
        (&nameless, "user 1000", "uid:1000"),
        (&anna, "token build-7", "token:build-7"),
        (&Me::default(), "user S-1-5-21-1-2-3-1001", "sid:S-1-5-21-1-2-3-1001"),
        (&Me::default(), "unknown user", "self"),
    ] {
        let broker = Answer::Given(BrokerFacts { principal: principal.into(), ..BrokerFacts::default() });
        let steps = judge(&Facts { me: me.clone(), broker, ..well() }).pop().map(|finding| finding.steps);
        let question = format!("cardbroker policy check --as {expected} --reader desk{SYSTEMS}");
        assert_eq!(steps, Some(vec![question]), "{principal}");
    }
}

#[test]
fn a_search_without_success_says_what_to_type() {
    let refused = || Obstacle::of(&io::ErrorKind::ConnectionRefused.into(), None);
    let foreign = Distrust::Foreign("/run/x".into(), 7);
    for (obstacle, name, step) in [
        (Obstacle::Missing, "not-running", "cardbrokerd"),
        (refused(), "not-running", "cardbrokerd"),
        (Obstacle::TooLong, "path-too-long", "cardbrokerd --socket /SHORTER/PATH"),
        (Obstacle::Failed(io::ErrorKind::TimedOut), "unreachable", "See the broker's log."),
        (Obstacle::Untrusted(Distrust::Writable("/run/x".into(), 0o777)), "not-trusted", "sudo chmod go-w /run/x"),
        (Obstacle::Untrusted(Distrust::NotOwn("/run/x".into(), 7)), "not-trusted", "unset XDG_RUNTIME_DIR"),
        (Obstacle::Untrusted(foreign), "not-trusted", &*format!("{} /run/x", HERE.show_owner)),
        (Obstacle::OtherProgram, "other-program", "See the port in the broker's log."),
        (Obstacle::NoEndpointFile("/run/x".into()), "not-running", "cardbrokerd --tcp auto"),
    ] {
        let facts = nothing(&[(OWN, Obstacle::Missing), (SYSTEM, obstacle.clone())]);
        let first = &judge(&facts)[0];
        assert_eq!((first.level, first.name, &*first.steps[0]), (Level::Problem, name, step), "{obstacle:?}");
    }
    let both = nothing(&[(OWN, Obstacle::Missing), (SYSTEM, Obstacle::Missing)]);
    assert!(judge(&both)[0].text.contains(OWN) && judge(&both)[0].text.contains(SYSTEM));
    let malformed = "x".parse::<Endpoint>().unwrap_err();
    let malformed = Facts { found: Found::Nothing(Box::new(malformed.into())), ..nothing(&[]) };
    assert_eq!(judge(&malformed)[0].steps, ["unset CARDBROKER_ENDPOINT"]);
}

#[test]
fn a_closed_socket_is_explained_by_its_group() {
    let forbidden = || nothing(&[(OWN, Obstacle::Missing), (SYSTEM, Obstacle::Forbidden(Owner::default()))]);
    let at = |socket: Option<File>, folder: Option<File>, me: Me| {
        let mut facts = Facts { me, ..forbidden() };
        facts.places[1] = place(SYSTEM, socket, folder);
        judge(&facts).remove(0)
    };
    let group = || Some(file("/run/cardbroker", 7, 0o750));
    let member = |groups: &[u32], assigned: &[u32]| Me { groups: groups.into(), assigned: assigned.into(), ..anna() };
    let stranger = at(None, group(), anna());
    assert_eq!((stranger.name, &*stranger.steps[0]), ("not-member", "sudo usermod --append --groups g7 anna"));
    let new = at(None, group(), member(&[1000], &[1000, 7]));
    assert_eq!((new.name, &*new.steps[1]), ("new-member", "newgrp g7"));
    assert_eq!(at(None, group(), member(&[7], &[7])).name, "forbidden-to-member");
    assert_eq!(at(Some(file(SYSTEM, 7, 0o600)), group(), member(&[7], &[7])).name, "private");
    assert_eq!(at(Some(file(SYSTEM, 8, 0o660)), group(), anna()).steps[0], "sudo usermod --append --groups g8 anna");
    assert_eq!(at(None, Some(file("/run/cardbroker", 0, 0o700)), anna()).name, "private");
    assert_eq!(at(None, None, anna()).name, "forbidden");
}

#[test]
fn a_socket_without_listener_and_a_second_broker_are_told() {
    let mut facts = well();
    facts.places[0].socket = Some(file(OWN, 1000, 0o600));
    assert_eq!(bad(&facts), ["left-over"]);
    // It is not known what is at the places behind the one that was found.
    facts.found = Found::At { endpoint: unix(OWN), other: Some(unix(SYSTEM)) };
    assert_eq!(bad(&facts), ["two-brokers"]);
    assert_eq!(named(&facts, "two-brokers").steps[0], format!("cardbroker --endpoint unix:{SYSTEM} readers"));
}

#[test]
fn a_broker_that_does_not_answer_is_a_problem() {
    let silent = Facts { broker: Answer::Silent, readers: Answer::NotAsked, ..well() };
    assert_eq!(bad(&silent), ["silent"]);
    let hangs = Facts { found: Found::Silence, broker: Answer::NotAsked, readers: Answer::NotAsked, ..well() };
    assert_eq!(bad(&hangs), ["search-hangs"]);
    let slow = Facts { readers: Answer::Silent, status: Answer::Silent, ..well() };
    assert_eq!(bad(&slow), ["silent", "silent"]);
}

#[test]
fn versions_differ_if_the_minor_one_does() {
    let version = |own: &'static str| bad(&Facts { version: own, ..well() });
    assert_eq!((version("0.1.9-rc.1"), version("0.2.0"), version("1.1.0")), (vec![], vec!["differs"], vec!["differs"]));
}

// The system's socket and configuration in the facts are those of Unix.
#[cfg(unix)]
#[test]
fn each_state_of_a_reader_says_what_to_do() {
    for (state, level, name) in [
        (ReaderState::Ready, Level::Ok, "ready"),
        (ReaderState::Empty, Level::Ok, "empty"),
        (ReaderState::Settling, Level::Ok, "settling"),
        (ReaderState::Mute, Level::Problem, "mute"),
        (ReaderState::HeldElsewhere, Level::Problem, "held-elsewhere"),
        (ReaderState::Unresponsive, Level::Problem, "unresponsive"),
        (ReaderState::Unavailable, Level::Problem, "unavailable"),
        (ReaderState::Unspecified, Level::Warning, "unknown-state"),
    ] {
        let finding = named(&Facts { readers: Answer::Given(vec![reader(state)]), ..well() }, name);
        assert_eq!((finding.level, finding.steps.is_empty()), (level, level == Level::Ok), "{state:?}");
        assert!(finding.text.starts_with("readers/desk (Desk 00 00) "), "{finding:?}");
    }
    let none = Facts { readers: Answer::Given(Vec::new()), ..well() };
    assert_eq!(bad(&none), ["none"]);
    assert!(named(&none, "none").steps.contains(&format!("cardbroker policy check --as user:anna{SYSTEMS}")));
    let root = Me { uid: Some(0), name: "root".into(), ..Me::default() };
    let own = Found::At { endpoint: unix(OWN), other: None };
    for facts in [Facts { me: root, ..none.clone() }, Facts { found: own, ..none }] {
        let steps = named(&facts, "none").steps;
        assert!(steps.iter().all(|step| !step.contains("--config")), "{steps:?}");
    }
}

#[test]
fn a_foreign_holder_is_named_as_far_as_it_is_known() {
    let held = |clients: &[(&str, u32)], sees_all| {
        let process =
            |(program, pid): &(&str, u32)| Process { pid: *pid, program: (*program).into(), user: "anna".into() };
        let clients = clients.iter().map(process).collect();
        let readers = Answer::Given(vec![reader(ReaderState::HeldElsewhere)]);
        named(&Facts { readers, pcsc: Some(Pcsc { clients, sees_all, ..pcsc() }), ..well() }, "held-elsewhere")
    };
    let one = held(&[("scdaemon", 4711)], true);
    assert!(one.text.ends_with("is \"scdaemon\" (process 4711, user anna)"), "{one:?}");
    assert_eq!(one.steps, ["gpgconf --kill scdaemon"]);
    let two = held(&[("scdaemon", 4711), ("mine", 4712)], true);
    assert_eq!(two.steps, ["gpgconf --kill scdaemon", "kill 4712"]);
    let user = held(&[], false);
    assert!(user.text.contains("only root sees") && user.steps[0] == "sudo cardbroker doctor", "{user:?}");
    assert!(held(&[], true).text.contains("another container"));
    assert!(held(&[("mine", 4712)], false).text.contains("of your own"));
}

#[test]
fn pcsc_is_judged_by_its_socket_where_the_broker_has_no_reader() {
    for (door, runs, name) in [
        (Door::Missing, Some(false), "not-running"),
        (Door::Missing, Some(true), "socket-lost"),
        (Door::Refused, Some(false), "ended"),
        (Door::Forbidden, None, "forbidden"),
        (Door::Stuck, Some(true), "stuck"),
    ] {
        let facts = Facts {
            readers: Answer::Given(vec![reader(ReaderState::Unavailable)]),
            pcsc: Some(Pcsc { door, runs, ..pcsc() }),
            ..well()
        };
        assert_eq!(bad(&facts), [name, "unavailable"]);
        // Working readers show that PC/SC is somewhere else.
        assert_eq!(bad(&Facts { readers: well().readers, ..facts }), Vec::<&str>::new());
    }
}

#[test]
fn polkit_is_named_where_it_may_be_the_cause() {
    let unavailable = || Answer::Given(vec![reader(ReaderState::Unavailable)]);
    let asks = |has_rule| Some(Pcsc { asks_polkit: true, has_rule, ..pcsc() });
    let facts = |has_rule| Facts { readers: unavailable(), pcsc: asks(has_rule), ..well() };
    assert_eq!(bad(&facts(Some(false))), ["no-rule", "unavailable"]);
    assert_eq!(bad(&facts(None)), ["no-rule", "unavailable"]);
    assert_eq!(bad(&facts(Some(true))), ["unavailable"]);
    let denied = "PC/SC denies access (Access was denied.)";
    let status = Answer::Given(with_status(PcscState::Unavailable, denied));
    let denied = Facts { status, ..facts(Some(true)) };
    assert_eq!(bad(&denied), ["denies", "unavailable"]);
    assert!(named(&denied, "denies").steps[0].contains("polkit.addRule"));
    let refused = Answer::Given(with_status(PcscState::Unavailable, "PC/SC refuses a call"));
    assert_eq!(bad(&Facts { status: refused, ..facts(None) }), ["does-not-serve", "unavailable"]);
}

#[test]
fn simulated_readers_need_no_pcsc() {
    let status = Answer::Given(with_status(PcscState::Simulated, ""));
    let facts = Facts { status, pcsc: Some(Pcsc { door: Door::Missing, ..pcsc() }), ..well() };
    assert_eq!(bad(&facts), Vec::<&str>::new());
    assert_eq!(named(&facts, "simulated").level, Level::Ok);
}

#[test]
fn programs_that_keep_cards_are_a_warning() {
    let scdaemon = Process { pid: 9, program: "scdaemon".into(), user: "anna".into() };
    let facts = Facts { pcsc: Some(Pcsc { keepers: vec![scdaemon], ..pcsc() }), ..well() };
    assert_eq!(bad(&facts), ["keepers"]);
    assert_eq!(named(&facts, "keepers").steps[0], "gpgconf --kill scdaemon");
}

/// The findings on a Windows with these services and policies.
fn on_windows(windows: WindowsCards) -> Facts {
    Facts { windows: Some(windows), pcsc: None, ..well() }
}

#[test]
fn windows_own_programs_are_warnings_until_they_are_switched_off() {
    let usual = WindowsCards {
        pcsc: Some(Service::Runs),
        propagation: Some(Service::Runs),
        propagation_policy: Some(Policy::NotSet),
        plug_and_play_policy: Some(Policy::NotSet),
    };
    let facts = on_windows(usual);
    assert_eq!(bad(&facts), ["on-windows", "propagation-runs"]);
    let off = r"reg add HKLM\SOFTWARE\Policies\Microsoft\Windows\ScPnP /v EnableScPnP /t REG_DWORD /d 0";
    assert_eq!(named(&facts, "on-windows").steps, [off]);
    assert_eq!(named(&facts, "propagation-runs").steps[0], "net stop CertPropSvc");
    assert_eq!(named(&facts, "runs").level, Level::Ok);

    let off = WindowsCards { propagation_policy: Some(Policy::Off), plug_and_play_policy: Some(Policy::Off), ..usual };
    assert_eq!(bad(&on_windows(off)), Vec::<&str>::new());
    assert!(named(&on_windows(off), "off").steps[0].starts_with("reg delete "));
    let on = WindowsCards { plug_and_play_policy: Some(Policy::On), propagation: Some(Service::Stopped), ..usual };
    assert_eq!(bad(&on_windows(on)), ["on-windows"]);

    for (state, name, step) in [
        (Service::Stopped, "stopped", "Plug a reader in."),
        (Service::Missing, "no-service", "Install Windows' support for smart cards."),
    ] {
        let facts = on_windows(WindowsCards { pcsc: Some(state), ..off });
        assert_eq!((bad(&facts), &*named(&facts, name).steps[0]), (vec![name], step));
    }
    // What the system does not tell is left out, also a policy that may be set.
    assert_eq!(bad(&on_windows(WindowsCards::default())), Vec::<&str>::new());
    let untold = WindowsCards { propagation_policy: None, plug_and_play_policy: None, ..usual };
    assert_eq!(bad(&on_windows(untold)), Vec::<&str>::new());
    let simulated = Answer::Given(with_status(PcscState::Simulated, ""));
    assert_eq!(bad(&Facts { status: simulated, ..on_windows(usual) }), Vec::<&str>::new());
}

#[test]
fn an_operator_sees_refused_reloads_and_own_denials() {
    let mut status = with_status(PcscState::Serving, "");
    let broker = status.broker.as_mut().unwrap();
    broker.last_reload = Some(Reload { problem: "line 7".into(), ..Reload::default() });
    (broker.lost_log_line_count, broker.over_budget_count) = (1, 1);
    let denial = |principal: &str| Incident {
        kind: IncidentKind::Denied.into(),
        message: format!("transmit is denied to {principal}"),
        caller: Some(Caller { principal: principal.into(), ..Caller::default() }),
        count: 3,
        ..Incident::default()
    };
    let incidents = vec![denial("user 7"), denial("user 1000")];
    status.readers =
        vec![ReaderStatus { reader: Some(reader(ReaderState::Ready)), incidents, ..ReaderStatus::default() }];
    let facts = Facts { status: Answer::Given(status), ..well() };
    assert_eq!(bad(&facts), ["reload-refused", "lines-lost", "over-budget", "denied"]);
    assert_eq!(named(&facts, "denied").text, "readers/desk: transmit is denied to user 1000, 3 times in a row");
}

#[test]
fn what_cannot_be_checked_is_left_out() {
    let remote = Facts { pcsc: None, places: Vec::new(), ..well() };
    assert_eq!(bad(&remote), Vec::<&str>::new());
    let held = Facts { readers: Answer::Given(vec![reader(ReaderState::HeldElsewhere)]), ..remote };
    assert_eq!(bad(&held), ["held-elsewhere"]);
    let path: PathBuf = "/x".into();
    assert_eq!(
        named(&Facts { found: Found::At { endpoint: Endpoint::Unix(path), other: None }, ..held }, "found").check,
        "socket"
    );
}
