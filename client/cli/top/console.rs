//! The terminal: the full screen while the program shows it, and the state of before whenever it does not.

use std::{
    io::{self, Stdout, stdout},
    panic,
    sync::Once,
    thread,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event, execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use tokio::sync::mpsc;

use super::keys::{Key, key};

/// The full screen. Dropping it restores the terminal, and so does a panic.
pub(super) struct Console {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Console {
    /// Takes the terminal: raw mode, and the full screen.
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore();
                report(panic);
            }));
        });
        take()?;
        // From here on an error restores the terminal.
        let restored = Restored;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        std::mem::forget(restored);
        Ok(Self { terminal })
    }

    /// Takes the screen again, after the terminal was given back or another program has used it.
    pub(super) fn enter_again(&mut self) -> io::Result<()> {
        take()?;
        self.clear()
    }

    /// Gives the terminal back for a while.
    pub(super) fn leave(&mut self) {
        restore();
    }

    /// Draws one screen; returns what `draw` returns.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>) -> usize) -> io::Result<usize> {
        let mut drawn = 0;
        self.terminal.draw(|frame| drawn = draw(frame))?;
        Ok(drawn)
    }

    /// Clears the screen, so that the next `draw` draws everything.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal for its cursor, and the input's thread would take the answer.
        let area = self.terminal.size()?.into();
        self.terminal.resize(area)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal when it is dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

fn restore() {
    // If the terminal is gone, there is nothing to restore.
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// One report of the terminal: a key, or its new size.
pub(super) enum Input {
    Key(Key),
    Resized,
}

/// The input, read by a thread of its own because reading blocks. The channel closes when the terminal is gone; the
/// thread ends with the process.
pub(super) fn input() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(16);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            let input = match key(&event) {
                Some(key) => Input::Key(key),
                None if matches!(event, event::Event::Resize(..)) => Input::Resized,
                None => continue,
            };
            if sender.blocking_send(input).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}
