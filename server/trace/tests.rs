//! The hub: who gets which events, and what a slow client misses.

use std::{sync::Arc, time::Duration};

use cardbroker_core::{
    caller::Caller,
    journal::{Batch, CallerFilter, EventKind, Journal, TraceKind},
    policy::{
        principal::PrincipalPattern,
        rule::{Operation, Rule},
    },
    slot::ResetKind,
    user::{Account, SystemUser},
};

use super::*;
use crate::policy::accounts::SystemAccounts;

fn names(id: &str) -> Arc<ReaderNames> {
    Arc::new(ReaderNames { id: id.into(), display_name: format!("Reader {id}") })
}

fn origin(user: u32) -> Arc<Origin> {
    Arc::new(Origin { caller: Caller::local(1, Account::unix(user, 0), None, None), group: None, traceparent: None })
}

fn denied(user: u32) -> Event {
    let kind = EventKind::Denied { operation: Operation::Transmit, rule: "desk".into() };
    Event { at: Instant::now(), origin: Some(origin(user)), lease: None, kind }
}

fn removed() -> Event {
    Event { at: Instant::now(), origin: None, lease: None, kind: EventKind::Removed }
}

fn policy(rules: &str) -> Policy {
    #[derive(serde::Deserialize)]
    struct Rules {
        rule: Vec<Rule<String>>,
    }
    let rules: Rules = toml::from_str(rules).unwrap();
    let principal = |text| PrincipalPattern::parse(text, &SystemAccounts).unwrap();
    Policy::new(rules.rule.into_iter().map(|rule| rule.with_principals(principal)).collect(), SystemUser::unix(7))
}

fn rule(readers: &str, allow: &str) -> String {
    format!("[[rule]]\nname = \"{readers}\"\nprincipals = [\"anyone\"]\nreaders = [\"{readers}\"]\nallow = [{allow}]\n")
}

struct World {
    hub: TraceHub,
    policy: watch::Sender<Arc<Policy>>,
}

/// A hub whose owner, the user 7, may do everything.
fn world() -> World {
    let policy = watch::Sender::new(Arc::new(Policy::new(Vec::new(), SystemUser::unix(7))));
    World { hub: TraceHub::new(policy.subscribe(), false), policy }
}

fn begin(world: &World, request: TraceRequest) -> Tracer {
    world.hub.begin(origin(7), request, Instant::now()).unwrap()
}

/// The tracer's waiting events: the number of missed events before, and `reader number`.
async fn batch(tracer: &Tracer) -> Option<(u64, Vec<String>)> {
    let next = tokio::time::timeout(Duration::from_millis(20), tracer.next()).await;
    let Batch { missed, items } = next.ok()?;
    Some((missed, items.iter().map(|item| format!("{} {}", item.reader.id, item.number)).collect()))
}

#[tokio::test(start_paused = true)]
async fn tracers_get_the_events_that_they_want() {
    let world = world();
    let all = begin(&world, TraceRequest::default());
    let filter = TraceFilter { readers: vec!["a".into()], ..TraceFilter::default() };
    let one = begin(&world, TraceRequest { filter, ..TraceRequest::default() });
    let callers = vec![CallerFilter { principal: Some("user 8".into()), ..CallerFilter::default() }];
    let filter = TraceFilter { callers, kinds: vec![TraceKind::Denial], ..TraceFilter::default() };
    let caller = begin(&world, TraceRequest { filter, ..TraceRequest::default() });
    world.hub.publish(&names("a"), 1, &denied(8));
    world.hub.publish(&names("b"), 1, &denied(9));
    world.hub.publish(&names("a"), 2, &removed());
    let texts = |texts: &[&str]| Some((0, texts.iter().map(ToString::to_string).collect()));
    assert_eq!(batch(&all).await, texts(&["a 1", "b 1", "a 2"]));
    assert_eq!(batch(&one).await, texts(&["a 1", "a 2"]));
    assert_eq!(batch(&caller).await, texts(&["a 1"]));
    assert_eq!(batch(&all).await, None);
}

#[tokio::test(start_paused = true)]
async fn readers_without_permission_are_left_out_at_every_moment() {
    let world = world();
    let rules = rule("a|b", "\"see\", \"trace\"") + &rule("c", "\"trace\"");
    world.policy.send_replace(Arc::new(policy(&rules)));
    let tracer = world.hub.begin(origin(9), TraceRequest::default(), Instant::now()).unwrap();
    let data = TraceRequest { level: TraceLevel::Data, ..TraceRequest::default() };
    let data = world.hub.begin(origin(9), data, Instant::now()).unwrap();
    let publish = |number| {
        for reader in ["a", "b", "c", "d"] {
            world.hub.publish(&names(reader), number, &denied(9));
        }
    };
    publish(1);
    assert_eq!(batch(&tracer).await, Some((0, vec!["a 1".into(), "b 1".into()])));
    publish(2);
    // What waits is not delivered under rules that forbid it.
    world.policy.send_replace(Arc::new(policy(&rule("b", "\"see\", \"trace\", \"trace_data\""))));
    assert_eq!(batch(&tracer).await, Some((0, vec!["b 2".into()])));
    publish(3);
    assert_eq!(batch(&tracer).await, Some((0, vec!["b 3".into()])));
    assert_eq!(batch(&data).await, Some((0, vec!["b 3".into()])), "it needs trace_data, too");
    let tracers = |reader| world.hub.tracers_at(&names(reader)).len();
    assert_eq!((tracers("a"), tracers("b")), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_learns_how_many_events_it_missed() {
    let world = world();
    let (slow, quick) = (begin(&world, TraceRequest::default()), begin(&world, TraceRequest::default()));
    let (mut seen, mut count) = (0, 0_u64);
    for number in 1..=20_000 {
        world.hub.publish(&names("a"), number, &denied(8));
        if number % 1_000 == 0 {
            while let Some((missed, items)) = batch(&quick).await {
                assert_eq!(missed, 0, "a slow client costs others nothing");
                seen += items.len();
            }
        }
    }
    assert_eq!(seen, 20_000);
    let mut total = 0;
    while let Some((missed, items)) = batch(&slow).await {
        total += missed;
        count += missed;
        for item in items {
            count += 1;
            assert_eq!(item, format!("a {count}"));
        }
    }
    assert!(total > 10_000, "{total} of 20,000 events do not fit");
    assert_eq!(count, 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_user_has_four_of_eight_traces() {
    let world = world();
    let of = |user| world.hub.begin(origin(user), TraceRequest::default(), Instant::now());
    let mut tracers: Vec<_> = [7, 7, 7, 7, 8, 8, 8].map(|user| of(user).unwrap()).into();
    assert_eq!(of(7).err(), Some(TooManyTracers::OfUser));
    tracers.push(of(9).unwrap());
    assert_eq!(of(8).err(), Some(TooManyTracers::OfAll));
    assert_eq!(of(7).err(), Some(TooManyTracers::OfUser), "that is the more helpful answer");
    // The first one is of user 7.
    drop(tracers.remove(0));
    tracers.push(of(7).unwrap());
}

#[tokio::test(start_paused = true)]
async fn data_is_wanted_while_it_is_traced_and_nothing_after_the_last_trace() {
    let world = world();
    let wanted = || world.hub.0.wanted.load(Ordering::Relaxed);
    assert_eq!(wanted(), NOTHING);
    let mut tracers = vec![begin(&world, TraceRequest::default())];
    assert_eq!((wanted(), world.hub.wants_data()), (HEADERS, false));
    let data = || TraceRequest { level: TraceLevel::Data, ..TraceRequest::default() };
    tracers.push(begin(&world, data()));
    assert!(world.hub.wants_data());
    drop(tracers);
    assert_eq!(wanted(), NOTHING);
    let logging = TraceHub::new(world.policy.subscribe(), true);
    drop(logging.begin(origin(7), data(), Instant::now()).unwrap());
    assert_eq!(logging.0.wanted.load(Ordering::Relaxed), HEADERS);
}

#[tokio::test(start_paused = true)]
async fn recorded_events_end_where_live_ones_begin() {
    let world = world();
    let (reader, mut journal) = (names("a"), Journal::default());
    let happen = |journal: &mut Journal| {
        let kind = EventKind::Reset { kind: ResetKind::Warm, answered: true, took: Duration::ZERO };
        let event = Event { kind, ..denied(8) };
        let number = journal.record(&event);
        world.hub.publish(&names("a"), number, &event);
    };
    (0..5).for_each(|_| happen(&mut journal));
    let tracer = begin(&world, TraceRequest { recorded: 3, ..TraceRequest::default() });
    (0..2).for_each(|_| happen(&mut journal));
    let recorded = |tracer: &Tracer, journal: &Journal| {
        let items = tracer.recorded(&reader, journal, 3, Instant::now());
        assert!(items.iter().all(|item| item.is_recorded));
        items.iter().map(|item| item.number).collect::<Vec<_>>()
    };
    assert_eq!(recorded(&tracer, &journal), [3, 4, 5]);
    tracer.end_of_recorded();
    assert_eq!(batch(&tracer).await, Some((0, vec!["a 6".into(), "a 7".into()])));
    let rules = policy(&rule("a", "\"see\", \"trace\"")).in_force_since(Instant::now());
    world.policy.send_replace(Arc::new(rules));
    happen(&mut journal);
    assert_eq!(recorded(&tracer, &journal), [8], "older events happened under other rules");
}
