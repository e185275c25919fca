//! The state's reaction to keys, states of the broker, and losses.

use super::*;
use crate::top::examples::{busy, moment};
use crate::top::keys::Key;

/// A state on the list, some time after the first state of the broker.
struct Scene {
    state: State,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let state = State::new("unix:/run/cardbroker.sock".to_owned(), None, Duration::from_secs(1), now);
        let mut scene = Self { state, now };
        scene.on(Event::Status(busy(0)));
        scene
    }

    fn on(&mut self, event: Event) -> Option<Action> {
        self.state.on(event, self.now)
    }

    fn key(&mut self, key: Key) -> Option<Action> {
        self.on(Event::Key(key))
    }

    fn types(&mut self, text: &str) -> Option<Action> {
        text.chars().map(|character| self.key(Key::Char(character))).last().flatten()
    }

    /// Lets time pass, and nothing else.
    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self.on(Event::Tick);
        self
    }

    /// Seconds since the first state, as shown.
    fn shown(&self) -> u64 {
        self.state.moment().duration_since(moment()).unwrap().as_secs()
    }

    fn listed(&self) -> Vec<&str> {
        self.state.listed().iter().map(|reader| &*reader.id).collect()
    }

    fn selected(&self) -> &str {
        &self.state.current().unwrap().id
    }
}

#[test]
fn quit_is_q_or_ctrl_c_even_in_a_dialog() {
    let mut scene = Scene::new();
    assert_eq!(scene.types("q"), Some(Action::Quit));
    assert_eq!(scene.types("/q"), None);
    assert_eq!(scene.key(Key::Control('c')), Some(Action::Quit));
}

#[test]
fn ctrl_z_keeps_the_dialog_open() {
    let mut scene = Scene::new();
    scene.types("/de");
    assert_eq!(scene.key(Key::Control('z')), Some(Action::Suspend));
    assert_eq!(scene.key(Key::Control('l')), Some(Action::Redraw));
    scene.types("sk");
    assert_eq!(scene.listed(), ["desk"]);
}

#[test]
fn a_filter_fits_readers_states_holders_and_waiters() {
    for (filter, expected) in [
        ("YUBI", &["desk"][..]),
        ("elsewhere", &["kiosk"]),
        ("firefox", &["desk"]),
        ("ssh-agent", &["desk", "hsm"]),
        ("nobody", &[]),
    ] {
        let mut scene = Scene::new();
        scene.types(&format!("/{filter}"));
        assert_eq!(scene.listed(), expected, "{filter}");
    }
}

#[test]
fn escape_brings_the_former_filter_back() {
    let mut scene = Scene::new();
    scene.types("/desk");
    scene.key(Key::Enter);
    scene.types("/x");
    scene.key(Key::Backspace);
    scene.key(Key::Backspace);
    assert_eq!(scene.state.filter, "des");
    scene.key(Key::Escape);
    assert_eq!(scene.state.filter, "desk");
    scene.key(Key::Escape);
    assert_eq!(scene.state.filter, "");
}

#[test]
fn each_order_begins_with_the_largest() {
    let mut scene = Scene::new();
    scene.after(1).on(Event::Status(busy(1)));
    let mut first = Vec::new();
    for _ in 0..7 {
        let place = scene.state.sort.words();
        first.push(format!("{place}: {}", scene.listed()[0]));
        scene.types("s");
    }
    let expected = [
        "name: desk",
        "time held: desk",
        "waiting: desk",
        "longest wait: desk",
        "turns/s: door-north-entrance",
        "p99 wait: desk",
        "last incident: hsm",
    ];
    assert_eq!((first, scene.state.sort), (expected.map(str::to_owned).to_vec(), Sort::Name));
}

#[test]
fn the_selection_stays_at_its_reader() {
    let mut scene = Scene::new();
    scene.key(Key::Down);
    assert_eq!(scene.selected(), "door-north-entrance");
    scene.types("ssss");
    assert_eq!(scene.selected(), "door-north-entrance");
    let mut next = busy(1);
    next.readers.remove(0);
    scene.on(Event::Status(next));
    assert_eq!(scene.selected(), "door-north-entrance");
    scene.key(Key::End);
    scene.key(Key::PageDown);
    assert_eq!(scene.state.selected(&scene.state.listed()), 4);
    scene.key(Key::Home);
    assert_eq!(scene.state.selected(&scene.state.listed()), 0);
}

#[test]
fn a_pause_shows_the_same_moment_until_it_ends() {
    let mut scene = Scene::new();
    scene.after(2).types(" ");
    scene.after(3).on(Event::Status(busy(5)));
    assert_eq!((scene.shown(), scene.state.is_paused), (2, true));
    scene.after(1).types(" ");
    assert_eq!(scene.shown(), 6);
}

#[test]
fn a_loss_stops_the_time_until_the_broker_is_back() {
    let mut scene = Scene::new();
    scene.after(2).on(Event::Lost("no broker".to_owned()));
    scene.after(7).on(Event::Lost("still no broker".to_owned()));
    assert_eq!((scene.shown(), scene.state.lost_for()), (2, Some(Duration::from_secs(7))));
    let mut restarted = busy(10);
    restarted.epoch = "e2".to_owned();
    scene.on(Event::Status(restarted));
    scene.after(1);
    assert_eq!((scene.shown(), scene.state.lost_for()), (11, None));
}

#[test]
fn a_pause_that_ends_without_a_broker_shows_no_progress() {
    let mut scene = Scene::new();
    scene.types(" ");
    scene.after(1).on(Event::Lost("no broker".to_owned()));
    scene.after(5).types(" ");
    assert_eq!(scene.after(5).shown(), 1);
}

#[test]
fn a_release_orders_the_lease_that_was_shown() {
    let mut scene = Scene::new();
    scene.types("rmeeting");
    // The turn changes hands while the question is open.
    let mut next = busy(1);
    next.readers[0].holder.as_mut().unwrap().lease = "lease-9".to_owned();
    scene.on(Event::Status(next));
    let Some(Dialog::Release(question)) = &scene.state.dialog else { panic!("no question") };
    assert_eq!(question.what, "the session of alice 4711 \"firefox\" at desk");
    assert!(question.is_over(scene.state.reader("readers/desk")));
    scene.key(Key::Enter);
    let order = Order { reader: "readers/desk".to_owned(), lease: "lease-1".to_owned(), reason: "meeting".to_owned() };
    assert_eq!(scene.types("y"), Some(Action::Release(order)));
}

#[test]
fn a_release_needs_a_second_yes() {
    for keys in [&[Key::Enter, Key::Enter, Key::Char('y')][..], &[Key::Enter, Key::Char('n'), Key::Char('y')]] {
        let mut scene = Scene::new();
        scene.types("r");
        assert!(keys.iter().all(|key| scene.key(*key).is_none()), "{keys:?}");
    }
    let mut scene = Scene::new();
    assert_eq!(scene.types("ry"), None);
    scene.key(Key::Escape);
    assert!(scene.state.dialog.is_none() && scene.types("y").is_none());
}

#[test]
fn a_reader_without_a_holder_has_nothing_to_release() {
    let mut scene = Scene::new();
    scene.types("/gemalto");
    scene.key(Key::Enter);
    assert_eq!(scene.types("r"), None);
    assert_eq!(scene.state.message.as_ref().unwrap().text, "nobody has the turn at gemalto");
    scene.after(11);
    assert!(scene.state.message.is_none());
}

#[test]
fn the_page_of_a_reader_scrolls_and_goes_back_to_it() {
    let mut scene = Scene::new();
    scene.key(Key::Down);
    scene.key(Key::Enter);
    assert_eq!(scene.state.page, Page::Reader("readers/door-north-entrance".to_owned()));
    scene.key(Key::End);
    scene.state.limit_scroll(3);
    scene.key(Key::Up);
    assert_eq!(scene.state.scroll, 2);
    scene.key(Key::Escape);
    assert_eq!((&scene.state.page, scene.selected()), (&Page::List, "door-north-entrance"));
}

#[test]
fn a_named_reader_has_no_list_behind_it() {
    let only = Some("readers/desk".to_owned());
    let now = Instant::now();
    let mut state = State::new(String::new(), only, Duration::from_secs(1), now);
    for key in [Key::Escape, Key::Backspace, Key::Char('/')] {
        state.on(Event::Key(key), now);
        assert_eq!((&state.page, state.dialog.is_none()), (&Page::Reader("readers/desk".to_owned()), true));
    }
}
