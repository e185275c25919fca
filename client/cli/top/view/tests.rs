//! The screens of a busy machine at three sizes, compared with files; and what must never be on a screen.

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};

use super::*;
use crate::top::{examples::busy, keys::Key, state::Event};

const SIZES: [(u16, u16); 3] = [(120, 30), (80, 24), (40, 20)];

/// The state after ten seconds of a busy machine, and some keys.
fn state(keys: &[Key]) -> State {
    let begin = Instant::now();
    let endpoint = "unix:/run/cardbroker/cardbroker.sock".to_owned();
    let mut state = State::new(endpoint, None, Duration::from_secs(1), begin);
    for second in 0..=10 {
        state.on(Event::Status(busy(second)), begin + Duration::from_secs(second));
    }
    for key in keys {
        state.on(Event::Key(*key), begin + Duration::from_secs(10));
    }
    state
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

fn screen(state: &State, (columns, rows): (u16, u16), palette: &Palette) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| _ = draw(state, frame, palette)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let row = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    rows.map(|cells| row(cells).trim_end().to_owned() + "\n").collect()
}

/// Compares the screens at all sizes with the file, or writes the file if UPDATE_GOLDEN is set.
fn compare(name: &str, state: &State) {
    let palette = Palette::new(true);
    let mut screens = String::new();
    for size in SIZES {
        let (columns, rows) = size;
        screens += &format!("--- {columns}×{rows}\n{}", text(&screen(state, size, &palette)));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("top/view/screens").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &screens).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(screens == expected, "{name} is now:\n{screens}");
}

#[test]
fn the_list_at_three_sizes() {
    compare("list.txt", &state(&[]));
}

#[test]
fn the_page_of_a_reader_at_three_sizes() {
    compare("reader.txt", &state(&[Key::Enter]));
}

#[test]
fn the_question_before_a_release_at_three_sizes() {
    let keys = [typed("rmeeting"), vec![Key::Enter]].concat();
    compare("release.txt", &state(&keys));
}

#[test]
fn the_help_at_three_sizes() {
    compare("help.txt", &state(&typed("?")));
}

#[test]
fn a_lost_connection_at_three_sizes() {
    let mut state = state(&[]);
    let then = Instant::now() + Duration::from_secs(20);
    state.on(Event::Lost("no broker at unix:/run/cardbroker/cardbroker.sock".to_owned()), then);
    state.on(Event::Tick, then + Duration::from_secs(12));
    compare("lost.txt", &state);
}

#[test]
fn without_colors_the_screen_says_the_same() {
    for keys in [vec![], vec![Key::Enter], typed("r"), typed("?"), typed("/de")] {
        let state = state(&keys);
        let (plain, colored) = (Palette::new(false), Palette::new(true));
        let (plain, colored) = (screen(&state, (80, 24), &plain), screen(&state, (80, 24), &colored));
        assert_eq!(text(&plain), text(&colored));
        assert!(plain.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
        assert!(colored.content.iter().any(|cell| cell.fg != Color::Reset));
    }
}

#[test]
fn no_control_character_reaches_the_screen() {
    for keys in [vec![], vec![Key::Enter]] {
        let text = text(&screen(&state(&keys), (120, 30), &Palette::new(true)));
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text}");
    }
    let text = text(&screen(&state(&[Key::Enter]), (120, 40), &Palette::new(true)));
    assert!(text.contains(r#""\u{1b}[2Jx\"\n""#), "{text}");
}

#[test]
fn every_size_is_drawn_without_a_panic() {
    let keys: Vec<Vec<Key>> = vec![vec![], vec![Key::Enter], typed("r"), typed("?"), typed("/x")];
    for state in keys.iter().map(|keys| state(keys)) {
        for columns in (1..60).chain([80, 300]) {
            for rows in [1, 2, 5, 12, 60] {
                screen(&state, (columns, rows), &Palette::new(true));
            }
        }
    }
}

#[test]
fn the_selected_reader_is_always_visible() {
    let mut snapshot = busy(0);
    let one = snapshot.readers.pop().unwrap();
    for number in 0..100 {
        let mut reader = one.clone();
        (reader.name, reader.id) = (format!("readers/x{number:02}"), format!("x{number:02}"));
        snapshot.readers.push(reader);
    }
    let now = Instant::now();
    let mut state = State::new(String::new(), None, Duration::from_secs(1), now);
    state.on(Event::Status(snapshot), now);
    for (key, expected) in [(Key::End, "> x99"), (Key::Up, "> x98"), (Key::Home, ">!desk")] {
        state.on(Event::Key(key), now);
        let text = text(&screen(&state, (80, 24), &Palette::new(true)));
        assert!(text.contains(expected), "{text}");
    }
}
