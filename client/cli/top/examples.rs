//! States of a busy machine, for tests.

use std::time::{Duration, SystemTime};

use cardbroker_client::{
    ErrorReason, Reader, ReaderState,
    diagnostics::{
        BrokerStatus, Caller, CommandClass, CommandEnd, DriverCall, Holder, Incident, IncidentKind, LastCommand,
        Listener, PcscState, PcscStatus, ReaderCounters, ReaderStatus, Status, Tracer, Waiter,
    },
};

use super::{convert, model::Snapshot};

/// The moment of the state of a busy machine.
pub(super) fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// The machine's state as the model, `seconds` after the first one.
pub(super) fn busy(seconds: u64) -> Snapshot {
    convert::snapshot(busy_status(seconds))
}

/// The state of a machine with six readers: a long session, units in quick succession, a driver that hangs, a card
/// that another program holds, no card, and a free one.
pub(super) fn busy_status(seconds: u64) -> Status {
    let now = moment() + Duration::from_secs(seconds);
    Status {
        now: Some(now.into()),
        epoch: "e1".to_owned(),
        broker: Some(broker(now)),
        readers: vec![desk(now), door(now, seconds), free(now), hung(now), taken(now), empty(now)],
    }
}

fn before(now: SystemTime, milliseconds: u64) -> SystemTime {
    now - Duration::from_millis(milliseconds)
}

fn broker(now: SystemTime) -> BrokerStatus {
    let listener = |address: &str, connection_count| Listener { address: address.to_owned(), connection_count };
    BrokerStatus {
        version: "0.1.0".to_owned(),
        process_id: 812,
        user: "user 998".to_owned(),
        start_time: Some(before(now, 1000 * (3 * 86_400 + 4 * 3_600)).into()),
        listeners: vec![listener("unix:/run/cardbroker/cardbroker.sock", 11), listener("https://127.0.0.1:7180", 1)],
        pcsc: Some(PcscStatus { state: PcscState::Serving.into(), ..PcscStatus::default() }),
        lost_log_line_count: 17,
        ..BrokerStatus::default()
    }
}

pub(super) fn caller(user_name: &str, process_id: i32, program: &str) -> Caller {
    Caller {
        principal: format!("user {}", 1000 + process_id % 7),
        user_name: user_name.to_owned(),
        process_id: Some(process_id),
        program: program.to_owned(),
        connection: i64::from(process_id / 100),
        group: i64::from(process_id % 5),
        via_sshd: false,
    }
}

fn reader(id: &str, display_name: &str, state: ReaderState, since: SystemTime) -> ReaderStatus {
    ReaderStatus {
        reader: Some(Reader {
            name: format!("readers/{id}"),
            display_name: display_name.to_owned(),
            state: state.into(),
            ..Reader::default()
        }),
        state_time: Some(since.into()),
        ..ReaderStatus::default()
    }
}

fn waiter(caller: Caller, now: SystemTime, waited: u64, is_session: bool) -> Waiter {
    Waiter {
        caller: Some(caller),
        is_session,
        arrive_time: Some(before(now, waited).into()),
        deadline_time: Some((before(now, waited) + Duration::from_secs(60)).into()),
    }
}

/// A session that lasts while others wait; one of them has a name that would command the terminal.
fn desk(now: SystemTime) -> ReaderStatus {
    let reader = reader("desk", "Yubico YubiKey OTP+FIDO+CCID 00 00", ReaderState::Ready, before(now, 7_500_000));
    ReaderStatus {
        holder: Some(Holder {
            lease: "lease-1".to_owned(),
            is_session: true,
            caller: Some(caller("alice", 4711, "firefox")),
            begin_time: Some(before(now, 45_200).into()),
            arrive_time: Some(before(now, 46_400).into()),
            idle_time: Some(before(now, 38_000).into()),
            done_command_count: 4,
            last_command: Some(LastCommand { command_class: CommandClass::Sign.into(), end: CommandEnd::Well.into() }),
            ..Holder::default()
        }),
        waiters: vec![
            waiter(caller("bob", 812, "ssh-agent"), now, 31_000, false),
            waiter(caller("", 913, "\x1b[2Jx\"\n"), now, 4_200, true),
        ],
        waiter_count: 2,
        incidents: vec![
            Incident {
                time: Some(before(now, 130_000).into()),
                kind: IncidentKind::Denied.into(),
                reason: ErrorReason::Denied.into(),
                message: "the rule \"office-only\" denied transmit".to_owned(),
                caller: Some(caller("carol", 2290, "python3")),
                count: 3,
            },
            Incident {
                time: Some(before(now, 3_700_000).into()),
                kind: IncidentKind::TurnFailed.into(),
                reason: ErrorReason::CardRemoved.into(),
                message: "the card was removed".to_owned(),
                caller: Some(caller("alice", 4711, "firefox")),
                count: 1,
            },
        ],
        counters: Some(counters(120, 3, Duration::from_secs(95))),
        tracers: vec![Tracer {
            caller: Some(caller("root", 77, "cardbroker")),
            shows_data: true,
            begin_time: Some(before(now, 185_000).into()),
        }],
        ..reader
    }
}

fn counters(units: i64, sessions: i64, waited: Duration) -> ReaderCounters {
    ReaderCounters {
        unit_count: units,
        session_count: sessions,
        command_count: 5 * units,
        failed_command_count: 1,
        reset_count: 9,
        insertion_count: 2,
        denied_count: 3,
        not_served_count: 4,
        release_count: 1,
        card_time: Some(Duration::from_millis(u64::try_from(60 * units).unwrap()).try_into().unwrap()),
        wait_time: Some(waited.try_into().unwrap()),
    }
}

/// Forty units each second, each after 12 ms.
fn door(now: SystemTime, seconds: u64) -> ReaderStatus {
    let units = 40 * seconds + 9_000;
    let reader =
        reader("door-north-entrance", "ACS ACR122U PICC Interface 01 00", ReaderState::Ready, before(now, 90_000_000));
    ReaderStatus {
        holder: Some(Holder {
            lease: "lease-2".to_owned(),
            caller: Some(caller("doord", 1033, "doord")),
            begin_time: Some(before(now, 3).into()),
            arrive_time: Some(before(now, 15).into()),
            done_command_count: 1,
            command_count: 3,
            last_command: Some(LastCommand { command_class: CommandClass::Read.into(), ..LastCommand::default() }),
            ..Holder::default()
        }),
        driver_call: Some(DriverCall { begin_time: Some(before(now, 2).into()), is_overdue: false }),
        counters: Some(counters(i64::try_from(units).unwrap(), 0, Duration::from_millis(12 * units))),
        ..reader
    }
}

fn free(now: SystemTime) -> ReaderStatus {
    reader("gemalto", "Gemalto PC Twin Reader 02 00", ReaderState::Ready, before(now, 12_000))
}

fn hung(now: SystemTime) -> ReaderStatus {
    let reader = reader("hsm", "Cherry ST-2000 03 00", ReaderState::Unresponsive, before(now, 80_000));
    ReaderStatus {
        driver_call: Some(DriverCall { begin_time: Some(before(now, 95_000).into()), is_overdue: true }),
        incidents: vec![Incident {
            time: Some(before(now, 80_000).into()),
            kind: IncidentKind::Driver.into(),
            message: "a call of the driver has not returned for 15 s".to_owned(),
            count: 1,
            ..Incident::default()
        }],
        waiters: vec![waiter(caller("bob", 815, "ssh-agent"), now, 20_000, false)],
        waiter_count: 1,
        ..reader
    }
}

fn taken(now: SystemTime) -> ReaderStatus {
    reader("kiosk", "Identiv uTrust 3700 F 04 00", ReaderState::HeldElsewhere, before(now, 64_000))
}

fn empty(now: SystemTime) -> ReaderStatus {
    reader("spare", "Alcor Micro AU9560 05 00", ReaderState::Empty, before(now, 300_000_000))
}
