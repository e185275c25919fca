//! The audit trail of programs: one record for each handle, and one for each turn that passes from another caller.

use std::time::Duration;

use cardbroker_core::pcsclite::code::Code;

use super::{
    program::{Program, World},
    terms::{DIRECT, EXCLUSIVE, READ, READERS, RESET, SHARED},
};
use crate::{config::Config, pcsclite::IdleTimes, policy::audit::records::Records};

/// The records since the last call, in short: `EVENT PROCESS READER`, with the last digit of the reader's name.
fn taken(records: &Records) -> Vec<String> {
    let field = |record: &str, name: &str| {
        let value = record.split_once(&format!(" {name}=")).unwrap().1;
        value.split(' ').next().unwrap().trim_matches('"').to_owned()
    };
    let short = |record: String| {
        let event = record.split('"').nth(1).unwrap();
        let (process, reader) = (field(&record, "pid"), field(&record, "reader"));
        format!("{event} {process} {}", reader.strip_prefix("simulated-reader-0").unwrap())
    };
    records.take().into_iter().map(short).collect()
}

/// Has the program make so many transactions with two commands each.
async fn transact(program: &mut Program, handle: u32, times: usize) {
    for _ in 0..times {
        while program.begin(handle).await == Code::SHARING_VIOLATION {}
        for _ in 0..2 {
            program.transmit(handle, READ).await.unwrap();
        }
        assert_eq!(program.end(handle, 0).await, Code::SUCCESS);
    }
}

#[tokio::test]
async fn each_handle_has_one_record() {
    let (mut world, records) = (World::usual().await, Records::default());
    let _collecting = records.collect();
    let mut program = world.program(1, 4).await;
    let (handle, _) = program.connect(READERS[0], SHARED).await.unwrap();
    assert_eq!(taken(&records), ["handle_connected 1 0"]);
    program.connect(READERS[1], DIRECT).await.unwrap();
    assert_eq!(taken(&records), ["handle_connected 1 1"]);
    assert_eq!(program.connect("Reader of nobody", SHARED).await, Err(Code::UNKNOWN_READER));
    assert_eq!(program.connect(READERS[0], EXCLUSIVE).await, Err(Code::SHARING_VIOLATION), "its own process");
    assert_eq!(program.reconnect(handle, 0).await, Code::SUCCESS);
    assert_eq!(program.disconnect(handle, 0).await, Code::SUCCESS);
    assert_eq!(taken(&records), [""; 0], "no other handle");
    let mut rival = world.program(2, 4).await;
    let (exclusive, _) = rival.connect(READERS[0], EXCLUSIVE).await.unwrap();
    assert_eq!(taken(&records), ["session_began 2 0", "handle_connected 2 0"]);
    transact(&mut rival, exclusive, 3).await;
    assert_eq!(rival.disconnect(exclusive, RESET).await, Code::SUCCESS);
    program.connect(READERS[0], SHARED).await.unwrap();
    assert_eq!(taken(&records), ["handle_connected 1 0"]);
    world.stop().await;
    assert_eq!(taken(&records), [""; 0]);
}

#[tokio::test]
async fn each_change_of_turn_has_one_record() {
    let (mut world, records) = (World::usual().await, Records::default());
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let mut sibling = world.program(1, 4).await;
    let (three, _) = sibling.connect(READERS[0], SHARED).await.unwrap();
    let (other, _) = second.connect(READERS[1], SHARED).await.unwrap();
    let _collecting = records.collect();
    transact(&mut first, one, 5).await;
    assert_eq!(taken(&records), ["session_began 1 0"]);
    transact(&mut sibling, three, 2).await;
    first.transmit(one, READ).await.unwrap();
    assert_eq!(taken(&records), [""; 0], "the same process");
    for _ in 0..2 {
        // No command: the card in this reader speaks T=0.
        assert_eq!([second.begin(other).await, second.end(other, 0).await], [Code::SUCCESS; 2]);
    }
    assert_eq!(taken(&records), ["session_began 2 1"]);
    for _ in 0..3 {
        transact(&mut second, two, 2).await;
        assert_eq!(second.reconnect(two, RESET).await, Code::SUCCESS);
        assert_eq!(taken(&records), ["session_began 2 0"]);
        while first.reconnect(one, 0).await == Code::SHARING_VIOLATION {}
        transact(&mut first, one, 2).await;
        assert_eq!(taken(&records), ["session_began 1 0"]);
    }
    assert_eq!([second.begin(other).await, second.end(other, 0).await], [Code::SUCCESS; 2]);
    assert_eq!(taken(&records), [""; 0], "nobody else had a turn in this reader");
    world.stop().await;
    assert_eq!(taken(&records), [""; 0]);
}

#[tokio::test]
async fn a_turn_for_a_client_that_is_away_has_one_record() {
    let (mut world, records) = (World::usual().await, Records::default());
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let _collecting = records.collect();
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(second.begin(two).await, Code::SHARING_VIOLATION, "its place is kept");
    assert_eq!(taken(&records), ["session_began 1 0"]);
    assert_eq!(first.end(one, 0).await, Code::SUCCESS);
    // The second one misses its turn.
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(taken(&records), ["session_began 2 0", "session_began 1 0"]);
    assert_eq!(first.end(one, 0).await, Code::SUCCESS);
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(taken(&records), ["session_began 2 0"]);
    world.stop().await;
}

#[tokio::test]
async fn a_turn_that_the_broker_ends_has_a_record_of_its_end() {
    let shared = Duration::from_millis(200);
    let mut world = World::with(Config::default(), IdleTimes { shared, ..IdleTimes::default() }).await;
    let records = Records::default();
    let [(mut first, one), (mut second, two)] = world.programs().await;
    let _collecting = records.collect();
    assert_eq!(first.begin(one).await, Code::SUCCESS);
    assert_eq!(second.begin(two).await, Code::SUCCESS);
    assert_eq!(taken(&records), ["session_began 1 0", "session_ended_by_broker 1 0", "session_began 2 0"]);
    world.stop().await;
}
