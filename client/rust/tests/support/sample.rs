//! A broker as an operator sees it: one of everything, for tests of clients and of what they print.

use cardbroker_client::{CardProtocol, ErrorReason, Reader, ReaderState, diagnostics::*};
use prost_types::{Duration, Timestamp};

/// The moment of the state: 2026-11-27 14:04:10 UTC.
pub(crate) const NOW: i64 = 1_795_788_250;

/// The time so many seconds before [`NOW`].
pub(crate) fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: NOW - seconds, nanos: 0 })
}

fn millis(millis: i64) -> Option<Duration> {
    Some(Duration { seconds: millis / 1000, nanos: (millis % 1000) as i32 * 1_000_000 })
}

pub(crate) fn scdaemon() -> Caller {
    Caller {
        principal: "user 1000".into(),
        user_name: "anna".into(),
        process_id: Some(4711),
        program: "scdaemon".into(),
        connection: 7,
        group: 3,
        via_sshd: false,
    }
}

/// A caller on TCP, whose process the broker does not know.
pub(crate) fn token() -> Caller {
    Caller { principal: "token build-7".into(), connection: 9, via_sshd: false, ..Caller::default() }
}

pub(crate) fn operator() -> Caller {
    Caller {
        principal: "user 0".into(),
        user_name: "root".into(),
        process_id: Some(90),
        program: "\"top\u{202e}".into(),
        connection: 11,
        group: 0,
        via_sshd: true,
    }
}

pub(crate) fn holder() -> Holder {
    Holder {
        lease: "e1-8812".into(),
        is_session: true,
        caller: Some(scdaemon()),
        begin_time: ago(130),
        arrive_time: ago(132),
        idle_time: ago(10),
        done_command_count: 14,
        command_count: 0,
        last_command: Some(LastCommand { command_class: CommandClass::Verify.into(), end: CommandEnd::Refused.into() }),
        is_released: false,
        released_by: None,
    }
}

/// `readers/desk`: held by a session, two wait.
pub(crate) fn desk() -> ReaderStatus {
    let unit = Waiter { caller: Some(token()), is_session: false, arrive_time: ago(8), deadline_time: ago(-22) };
    let session = Waiter { caller: Some(scdaemon()), is_session: true, arrive_time: ago(2), deadline_time: ago(-28) };
    ReaderStatus {
        reader: Some(Reader {
            name: "readers/desk".into(),
            display_name: "Yubico YubiKey OTP+FIDO+CCID 00 00".into(),
            state: ReaderState::Ready.into(),
            atr: [0x3B, 0xFD, 0x13].into_iter().chain([0xAB; 30]).collect(),
            active_protocol: CardProtocol::T1.into(),
            insertion_id: "e1-4".into(),
            insertion_count: 4,
        }),
        state_time: ago(7500),
        holder: Some(holder()),
        driver_call: None,
        waiters: vec![unit, session],
        waiter_count: 2,
        incidents: vec![
            Incident {
                time: ago(71),
                kind: IncidentKind::Denied.into(),
                reason: ErrorReason::Denied.into(),
                message: "transmit is denied by rule \"night\"".into(),
                caller: Some(token()),
                count: 12,
            },
            Incident {
                time: ago(90_000),
                kind: IncidentKind::Reader.into(),
                reason: ErrorReason::HeldElsewhere.into(),
                message: "another program holds the card".into(),
                caller: None,
                count: 1,
            },
        ],
        counters: Some(ReaderCounters {
            unit_count: 1200,
            session_count: 31,
            command_count: 51_200,
            failed_command_count: 2,
            reset_count: 40,
            insertion_count: 4,
            denied_count: 12,
            not_served_count: 1,
            release_count: 0,
            card_time: millis(723_400),
            wait_time: millis(95_000),
        }),
        tracers: vec![Tracer { caller: Some(operator()), shows_data: true, begin_time: ago(180) }],
    }
}

/// `readers/pcd-00-00`: its driver hangs, and its turn was released.
pub(crate) fn hung() -> ReaderStatus {
    ReaderStatus {
        reader: Some(Reader {
            name: "readers/pcd-00-00".into(),
            display_name: "PCD 00 00".into(),
            state: ReaderState::Unresponsive.into(),
            ..Reader::default()
        }),
        state_time: ago(15),
        holder: Some(Holder {
            lease: "e1-8813".into(),
            is_session: false,
            caller: Some(token()),
            begin_time: ago(136),
            arrive_time: ago(136),
            idle_time: None,
            done_command_count: 1,
            command_count: 3,
            last_command: Some(LastCommand {
                command_class: CommandClass::Sign.into(),
                end: CommandEnd::Unspecified.into(),
            }),
            is_released: true,
            released_by: Some(operator()),
        }),
        driver_call: Some(DriverCall { begin_time: ago(135), is_overdue: true }),
        ..ReaderStatus::default()
    }
}

pub(crate) fn broker() -> BrokerStatus {
    let socket = "unix:/run/cardbroker/cardbroker.sock";
    let count = |principal: &str, count| ConnectionCount { address: socket.into(), principal: principal.into(), count };
    BrokerStatus {
        version: "0.1.0".into(),
        process_id: 812,
        user: "user 998".into(),
        start_time: ago(200_000),
        config_file: "/etc/cardbroker/cardbrokerd.toml".into(),
        config_digest: "3f2a91c0".repeat(8),
        last_reload: Some(Reload { end_time: ago(3600), problem: "unknown key \"lisen\" at line 7".into() }),
        listeners: vec![
            Listener { address: socket.into(), connection_count: 4 },
            Listener { address: "https://127.0.0.1:7180".into(), connection_count: 1 },
        ],
        connections: vec![count("user 1000", 3), count("user 0", 1)],
        pcsc: Some(PcscStatus { state: PcscState::Serving.into(), state_time: ago(200_000), problem: String::new() }),
        lost_log_line_count: 3,
        log_filter: "debug".into(),
        log_filter_revert_time: ago(-350),
        over_budget_count: 5,
        denied_count: 12,
        unauthenticated_count: 3,
    }
}

pub(crate) fn status() -> Status {
    Status { now: ago(0), epoch: "e1".into(), broker: Some(broker()), readers: vec![desk(), hung()] }
}

fn event(number: i64, caller: Option<Caller>, event: Event) -> TraceEvent {
    let lease = if caller.is_some() { "e1-8812".to_owned() } else { String::new() };
    TraceEvent {
        time: Some(Timestamp { seconds: NOW, nanos: number as i32 * 1_000_000 }),
        reader: "readers/desk".into(),
        number,
        is_recorded: number < 3,
        caller,
        lease,
        traceparent: String::new(),
        event: Some(event),
    }
}

pub(crate) fn events() -> Vec<TraceEvent> {
    let verify = CommandEvent {
        index: 2,
        command_class: CommandClass::Verify.into(),
        header: vec![0x00, 0x20, 0x00, 0x81],
        status_word: "63Cx".into(),
        duration: millis(50),
        is_masked: true,
        ..CommandEvent::default()
    };
    let select = CommandEvent {
        index: 1,
        command_class: CommandClass::Select.into(),
        header: vec![0x00, 0xA4, 0x04, 0x00],
        expected_length: Some(256),
        application: vec![0xA0, 0, 0, 3, 8],
        status_word: "6110".into(),
        duration: millis(12),
        command: vec![0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0, 0, 3, 8, 0],
        response: vec![0x61, 0x10],
        ..CommandEvent::default()
    };
    let fetch = CommandEvent {
        index: 1,
        is_continuation: true,
        command_class: CommandClass::Read.into(),
        header: vec![0x00, 0xC0, 0x00, 0x00],
        expected_length: Some(16),
        failed: true,
        duration: millis(3),
        is_masked: true,
        ..CommandEvent::default()
    };
    let inserted =
        CardInserted { insertion_id: "e1-5".into(), atr: vec![0x3B, 0x80], protocol: CardProtocol::T1.into() };
    let mine = || Some(scdaemon());
    vec![
        event(1, None, Event::CardInserted(inserted)),
        event(2, mine(), Event::TurnBegan(TurnBegan { is_session: false, command_count: 2, waited: millis(3) })),
        event(3, mine(), Event::Command(select)),
        event(4, mine(), Event::Command(fetch)),
        event(5, mine(), Event::Command(verify)),
        event(
            6,
            mine(),
            Event::TurnEnded(TurnEnded {
                reason: ErrorReason::LeaseRevoked.into(),
                is_abandoned: false,
                held: millis(80),
            }),
        ),
        event(7, None, Event::Reset(ResetEvent { is_cold: true, failed: false, duration: millis(150) })),
        event(8, Some(token()), Event::Denial(DenialEvent { operation: "transmit".into(), rule: "night".into() })),
        event(9, None, Event::CardRemoved(CardRemoved {})),
        event(10, mine(), Event::NotServed(NotServedEvent { reason: ErrorReason::HeldElsewhere.into() })),
    ]
}
