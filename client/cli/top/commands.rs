//! The keys of the screen: what each does to the state.

use super::{
    dialog::{Dialog, Question},
    keys::Key,
    state::{Action, Page, State},
};

/// The rows of a page for the page keys.
const PAGE_ROWS: usize = 10;

/// The longest filter, in characters.
const MAX_FILTER: usize = 64;

/// The longest reason of a release, in characters, as in the contract.
const MAX_REASON: usize = 200;

impl State {
    /// Takes a key into account. Returns an order for the shell if there is one.
    pub(super) fn on_key(&mut self, key: Key) -> Option<Action> {
        match (key, self.dialog.take()) {
            (Key::Control('c'), _) => return Some(Action::Quit),
            (Key::Control('z'), dialog) => {
                self.dialog = dialog;
                return Some(Action::Suspend);
            }
            (Key::Control('l'), dialog) => {
                self.dialog = dialog;
                return Some(Action::Redraw);
            }
            (_, Some(Dialog::Help)) => {}
            (key, Some(Dialog::Filter { before })) => self.on_filter_key(key, before),
            (key, Some(Dialog::Release(question))) => return self.on_release_key(key, question),
            (key, None) => return self.on_command(key),
        }
        None
    }

    fn on_command(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Char('q') => return Some(Action::Quit),
            Key::Char('?' | 'h') => self.dialog = Some(Dialog::Help),
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char(' ') => self.pause(),
            Key::Char('r') => self.ask_to_release(),
            Key::Char('/') => {
                self.back();
                self.dialog = (self.page == Page::List).then(|| Dialog::Filter { before: self.filter.clone() });
            }
            Key::Escape if self.page == Page::List => self.filter.clear(),
            Key::Escape | Key::Enter | Key::Left | Key::Backspace if self.page != Page::List => self.back(),
            Key::Enter | Key::Right if self.page == Page::List => {
                if let Some(name) = self.current().map(|reader| reader.name.clone()) {
                    (self.page, self.scroll) = (Page::Reader(name), 0);
                }
            }
            Key::Up | Key::Char('k') => self.step(|place| place.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.step(|place| place + 1),
            Key::PageUp => self.step(|place| place.saturating_sub(PAGE_ROWS)),
            Key::PageDown => self.step(|place| place + PAGE_ROWS),
            Key::Home => self.step(|_| 0),
            Key::End => self.step(|_| usize::MAX),
            _ => {}
        }
        None
    }

    /// Returns to the list, if there is one.
    fn back(&mut self) {
        if self.only.is_none() {
            if let Page::Reader(name) = &self.page {
                self.selected = Some(name.clone());
            }
            self.page = Page::List;
        }
    }

    /// Moves the selection of the list, or the page of a reader.
    fn step(&mut self, to: impl Fn(usize) -> usize) {
        match self.page {
            // The view limits it.
            Page::Reader(_) => self.scroll = to(self.scroll),
            Page::List => {
                let listed = self.listed();
                let place = to(self.selected(&listed)).min(listed.len().saturating_sub(1));
                self.selected = listed.get(place).map(|reader| reader.name.clone());
            }
        }
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if self.is_paused {
            self.stopped.get_or_insert(self.now);
        } else {
            if let Some(latest) = self.latest.take() {
                self.shown = Some(latest);
            }
            self.stopped = self.lost.as_ref().map(|(_, since)| *since);
        }
    }

    fn on_filter_key(&mut self, key: Key, before: String) {
        match key {
            Key::Enter => return,
            Key::Escape => {
                self.filter = before;
                return;
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(character) if self.filter.chars().count() < MAX_FILTER => self.filter.push(character),
            _ => {}
        }
        self.dialog = Some(Dialog::Filter { before });
    }

    fn ask_to_release(&mut self) {
        let question = match self.current() {
            None => return,
            Some(reader) => Question::about(reader).ok_or_else(|| format!("nobody has the turn at {}", reader.id)),
        };
        match question {
            Ok(question) => self.dialog = Some(Dialog::Release(question)),
            Err(told) => self.tell(told, false),
        }
    }

    fn on_release_key(&mut self, key: Key, mut question: Question) -> Option<Action> {
        match key {
            Key::Escape => return None,
            Key::Char('y') if question.is_asked => {
                self.tell(format!("releasing {} …", question.what), true);
                return Some(Action::Release(question.order));
            }
            // Every other key is a no.
            _ if question.is_asked => return None,
            Key::Enter => question.is_asked = true,
            Key::Backspace => drop(question.order.reason.pop()),
            Key::Char(character) if question.order.reason.chars().count() < MAX_REASON => {
                question.order.reason.push(character);
            }
            _ => {}
        }
        self.dialog = Some(Dialog::Release(question));
        None
    }
}
