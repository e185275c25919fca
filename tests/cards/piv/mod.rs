//! A PIV card (NIST SP 800-73) in a virtual reader: a real card application, with PIN, keys and security state.

mod apdu;
mod commands;
mod token;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::Context;

use super::{
    INSERTION_TIME,
    life::RETRY_TIME,
    link::{Link, Request},
};
use commands::personalize;
use token::Token;

pub use commands::{PIN, select, sign, verify};

/// T=1, with command chaining, extended length and a check byte.
const ATR: [u8; 9] = [0x3B, 0x85, 0x01, 0x80, 0x73, 0xC0, 0x21, 0xC0, 0x56];

/// A PIV card in a slot of the driver. A thread of its own simulates the card; dropping removes it. When pcscd is
/// restarted, the card is in the reader again.
///
/// The PIN is [`PIN`], with three tries. One key needs it: the authentication key (9A), on P-256, the same on all
/// cards, because their random numbers are the same. P-384 and RSA are not supported.
pub struct PivCard {
    place: Arc<Place>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The card, shared by its thread and the test.
#[derive(Default)]
struct Place {
    plug: Mutex<Plug>,
    /// The point of the authentication key. Set before the first insertion.
    public_key: OnceLock<Vec<u8>>,
    commands: AtomicU64,
    /// The time of each command.
    command_ms: AtomicU64,
    resets: AtomicU64,
}

#[derive(Default)]
struct Plug {
    /// The connection to the driver while there is one, to close it from outside.
    link: Option<Link>,
    pulled: bool,
}

impl PivCard {
    /// Inserts a new card, whose resets take `reset_time`, into the slot whose driver listens on `port`, and waits
    /// until the driver's port has accepted it. The driver itself notices by a poll, up to 400 ms later.
    ///
    /// # Errors
    /// Nothing listens on `port` for 20 s, or the system grants no thread.
    pub fn insert(port: u16, reset_time: Duration) -> anyhow::Result<Self> {
        let place = Arc::<Place>::default();
        let (inserted, insertion) = sync_channel(1);
        let thread = {
            let place = Arc::clone(&place);
            thread::Builder::new()
                .name(format!("piv-{port}"))
                .spawn(move || Token::with_new(|token| place.live(token, port, reset_time, &inserted)))?
        };
        let card = Self { place, thread: Some(thread) };
        insertion
            .recv_timeout(INSERTION_TIME)
            .with_context(|| format!("no driver of a virtual reader listens on port {port}"))??;
        Ok(card)
    }

    /// Removes the card for good. The connection is closed when this returns.
    pub fn pull(&self) {
        let mut plug = self.place.plug();
        plug.pulled = true;
        if let Some(link) = plug.link.take() {
            link.close();
        }
    }

    /// The authentication key's point on P-256, uncompressed: 65 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.place.public_key.get().map_or(&[], Vec::as_slice)
    }

    /// The authentication key as SubjectPublicKeyInfo, which a certificate would contain. OpenSC reads it from a file.
    pub fn public_key_info(&self) -> Vec<u8> {
        let algorithm = b"\x30\x59\x30\x13\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x08\x2A\x86\x48\xCE\x3D\x03\x01\x07\
                          \x03\x42\x00";
        [&algorithm[..], self.public_key()].concat()
    }

    /// From now on each command takes so long, as on a real card.
    pub fn slow_down(&self, command: Duration) {
        self.place.command_ms.store(u64::try_from(command.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The number of commands that reached the card.
    pub fn commands_seen(&self) -> u64 {
        self.place.commands.load(Relaxed)
    }

    /// The number of resets and power-ons of the card.
    pub fn resets_seen(&self) -> u64 {
        self.place.resets.load(Relaxed)
    }
}

impl Drop for PivCard {
    fn drop(&mut self) {
        self.pull();
        if let Some(thread) = self.thread.take() {
            // A panic of the card's thread has already been printed.
            let _ = thread.join();
        }
    }
}

impl Place {
    fn plug(&self) -> MutexGuard<'_, Plug> {
        self.plug.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the card is removed; `inserted` gets the result of the first connection.
    fn live(&self, mut token: Token<'_>, port: u16, reset_time: Duration, inserted: &SyncSender<anyhow::Result<()>>) {
        match token.powered(personalize) {
            Ok(key) => drop(self.public_key.set(key)),
            Err(error) => return drop(inserted.try_send(Err(error))),
        }
        while !self.plug().pulled {
            let connected = Link::connect(port).and_then(|link| Ok((link.try_clone()?, link)));
            let Ok((handle, mut link)) = connected else {
                thread::sleep(RETRY_TIME);
                continue;
            };
            self.plug().link = Some(handle);
            if !self.plug().pulled {
                // At a later connection the receiver is gone.
                let _ = inserted.try_send(Ok(()));
                // In every case the driver or the card is gone.
                let _ = self.serve(&mut token, &mut link, reset_time);
            }
            link.close();
        }
    }

    /// Serves the driver; always ends with an error: the driver or the card is gone.
    fn serve(&self, token: &mut Token<'_>, link: &mut Link, reset_time: Duration) -> anyhow::Result<()> {
        loop {
            let last = token.powered(|transmit| self.serve_powered(transmit, link))?;
            if matches!(last, Request::Reset) {
                self.resets.fetch_add(1, Relaxed);
                thread::sleep(reset_time);
            }
        }
    }

    /// Serves the driver until a request that ends the card's power.
    fn serve_powered(&self, transmit: &mut dyn FnMut(&[u8]) -> Vec<u8>, link: &mut Link) -> anyhow::Result<Request> {
        loop {
            match link.receive(None)? {
                Some(Request::Command(command)) => {
                    self.commands.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_millis(self.command_ms.load(Relaxed)));
                    link.send(&transmit(&command))?;
                }
                Some(Request::Atr) => link.send(&ATR)?,
                Some(last @ (Request::PowerOff | Request::Reset)) => return Ok(last),
                Some(Request::Other) | None => {}
            }
        }
    }
}
