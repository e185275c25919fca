//! The state as people and programs see it.

use std::time::{Duration, SystemTime};

use cardbroker_client::diagnostics::{ReaderStatus, Waiter};

use super::{broker, interval, json, reader};
use crate::{
    clock::Clock,
    layout::{Paint, WIDTH},
    sample,
};

fn clock() -> Clock {
    Clock::utc(SystemTime::UNIX_EPOCH + Duration::from_secs(sample::NOW as u64))
}

fn shown(status: &ReaderStatus) -> String {
    reader::text(status, false, &clock(), Paint::NEVER)
}

#[test]
fn the_broker_is_a_block_of_rows() {
    let expected = "\
● cardbrokerd 0.1.0 at unix:/run/cardbroker/cardbroker.sock
   Running: since 2026-11-25 06:30:50, 2 days; process 812 of user 998
    Config: /etc/cardbroker/cardbrokerd.toml, SHA-256 3f2a91c03f2a…
    Reload: 13:04:10, refused: unknown key \"lisen\" at line 7
   Listens: unix:/run/cardbroker/cardbroker.sock, 4 connections (3 of user 1000,
            1 of user 0)
            https://127.0.0.1:7180, 1 connection
     PC/SC: serving since 2026-11-25 06:30:50
       Log: debug until 14:10:00, in 5 min; 3 lines lost
   Refused: 12 denied by the policy, 3 without a valid token, 5 over their
            user's budget
";
    let told = broker::text(&sample::broker(), "unix:/run/cardbroker/cardbroker.sock", &clock(), Paint::NEVER);
    assert_eq!(told, expected, "\n{told}");
}

#[test]
fn a_held_reader_names_holder_waiters_and_incidents() {
    let expected = "\
● readers/desk
      Name: \"Yubico YubiKey OTP+FIDO+CCID 00 00\"
     State: READY since 11:59:10, 2 h
      Card: T1, insertion 4, ATR
            3BFD13ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB
    Holder: process 4711 (says \"scdaemon\") of user 1000 (anna)
            session for 2 min, idle for 10 s, 14 commands, last: verify, refused
   Waiting: 2 requests
            1. token build-7, connection 9: unit, waits for 8 s, 22 s left
            2. process 4711 (says \"scdaemon\") of user 1000 (anna): session,
               waits for 2 s, 28 s left
    Traced: by process 90 (says \"\\\"top\\u{202e}\") of user 0 (root) via sshd, with
            data, for 3 min
   Counted: 1200 units, 31 sessions, 51200 commands (2 unanswered), 40 resets,
            4 insertions, 12 denied, 1 not served, 0 released, card used for
            12 min, waited for 95 s
 Incidents: 14:02:59 denied: transmit is denied by rule \"night\" (12 times);
            token build-7, connection 9
            2026-11-26 13:04:10 reader HELD_ELSEWHERE: another program holds the
            card
";
    let told = shown(&sample::desk());
    assert_eq!(told, expected, "\n{told}");
}

#[test]
fn a_hanging_driver_and_a_release_are_told() {
    let expected = "\
● readers/pcd-00-00
      Name: \"PCD 00 00\"
     State: UNRESPONSIVE since 14:03:55, 15 s
    Holder: token build-7, connection 9
            unit for 2 min, 1 of 3 commands done, last: sign, still running
            released by process 90 (says \"\\\"top\\u{202e}\") of user 0 (root) via
            sshd: ends when the driver's call returns
    Driver: in a call for 2 min; given up until it returns
   Waiting: nobody
";
    let told = shown(&sample::hung());
    assert_eq!(told, expected, "\n{told}");
}

#[test]
fn the_dot_has_the_colour_of_the_state() {
    let colour = |status: &ReaderStatus| {
        let text = reader::text(status, false, &clock(), Paint::ALWAYS);
        text.split(' ').next().unwrap().to_owned()
    };
    let idle = ReaderStatus { waiter_count: 0, ..sample::desk() };
    assert_eq!(colour(&sample::desk()), "\x1b[33m●\x1b[0m", "others wait for a long turn");
    assert_eq!(colour(&idle), "\x1b[32m●\x1b[0m");
    assert_eq!(colour(&sample::hung()), "\x1b[31m●\x1b[0m");
}

#[test]
fn long_names_and_many_waiters_keep_within_80_columns() {
    let mut desk = sample::desk();
    let name = "x".repeat(200);
    let reader = desk.reader.as_mut().unwrap();
    (reader.name, reader.display_name) = (format!("readers/{name}"), name.clone());
    let holder = desk.holder.as_mut().unwrap();
    (holder.lease, holder.caller.as_mut().unwrap().principal) = (name.clone(), name.clone());
    let waiter = |index| Waiter {
        caller: Some(cardbroker_client::diagnostics::Caller { connection: index, ..sample::token() }),
        ..Waiter::default()
    };
    desk.waiters = (0..64).map(waiter).collect();
    desk.waiter_count = 100;
    let told = shown(&desk);
    assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
    assert!(told.contains("16. token build-7, connection 15: unit\n            … and 84 more\n"), "{told}");
}

#[test]
fn an_empty_message_is_shown_without_failing() {
    assert_eq!(
        shown(&ReaderStatus::default()),
        "● \n      Name: \"\"\n     State: UNSPECIFIED\n    Holder: none\n   Waiting: nobody\n"
    );
    let status = json::status(&Default::default());
    assert_eq!(status, serde_json::json!({ "now": null, "epoch": "", "broker": null, "readers": [] }));
}

#[test]
fn json_has_the_names_of_the_contract() {
    let told = json::status(&sample::status());
    assert_eq!((&told["now"], &told["epoch"]), (&"2026-11-27T14:04:10.000Z".into(), &"e1".into()));
    assert_eq!(told["broker"]["last_reload"]["problem"], "unknown key \"lisen\" at line 7");
    assert_eq!(told["broker"]["pcsc"]["state"], "SERVING");
    let desk = &told["readers"][0];
    assert_eq!((&desk["name"], &desk["state"]), (&"readers/desk".into(), &"READY".into()));
    let last = serde_json::json!({ "command_class": "VERIFY", "end": "REFUSED" });
    assert_eq!((&desk["holder"]["last_command"], &desk["holder"]["caller"]["process_id"]), (&last, &4711.into()));
    assert_eq!((&desk["waiters"][0]["caller"]["process_id"], &desk["waiter_count"]), (&().into(), &2.into()));
    assert_eq!((&desk["counters"]["card_time_ms"], &desk["tracers"][0]["shows_data"]), (&723_400.into(), &true.into()));
    assert_eq!(
        (&desk["incidents"][0]["kind"], &desk["incidents"][1]["reason"]),
        (&"DENIED".into(), &"HELD_ELSEWHERE".into())
    );
    let hung = &told["readers"][1];
    assert_eq!(hung["holder"]["last_command"]["end"], serde_json::Value::Null);
    assert_eq!((&hung["driver_call"]["is_overdue"], &hung["holder"]["is_released"]), (&true.into(), &true.into()));
}

#[test]
fn the_interval_has_a_range() {
    assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(interval("1h"), Ok(Duration::from_secs(3600)));
    assert!(interval("249ms").is_err() && interval("61m").is_err() && interval("soon").is_err());
}
