//! A card like an OpenPGP card in a virtual reader: PW1 with two references, PW3, a resetting code and a finger.

mod application;
mod signer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use anyhow::Context;

use super::{
    INSERTION_TIME,
    life::RETRY_TIME,
    link::{Link, Request},
};
use application::Application;

pub use application::{NAME, PW1, PW3, RESETTING_CODE, Traits, Tries};

/// T=1, with command chaining, extended length and a check byte.
const ATR: [u8; 9] = [0x3B, 0x85, 0x01, 0x80, 0x73, 0xC0, 0x21, 0xC0, 0x56];

/// The card in a slot of the driver. A thread of its own simulates the card; dropping removes it.
pub struct OpenPgpCard {
    place: Arc<Place>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The card, shared by its thread and the test.
struct Place {
    application: Mutex<Application>,
    plug: Mutex<Plug>,
}

#[derive(Default)]
struct Plug {
    /// The connection to the driver while there is one, to close it from outside.
    link: Option<Link>,
    pulled: bool,
}

impl OpenPgpCard {
    /// Inserts a new card into the slot whose driver listens on `port`, and waits until the driver's port has accepted
    /// it. The driver itself notices by a poll, up to 400 ms later.
    ///
    /// # Errors
    /// Nothing listens on `port` for 20 s, or the system grants no thread.
    pub fn insert(port: u16, traits: Traits) -> anyhow::Result<Self> {
        Self::insert_with(port, Application::new(traits))
    }

    /// Inserts a new card with a new signature key, whose user PIN is `pin`. Otherwise like [`OpenPgpCard::insert`].
    ///
    /// # Errors
    /// The errors of [`OpenPgpCard::insert`], or no key can be made.
    pub fn insert_signer(port: u16, pin: &str) -> anyhow::Result<Self> {
        Self::insert_with(port, Application::signing(pin)?)
    }

    fn insert_with(port: u16, application: Application) -> anyhow::Result<Self> {
        let place = Arc::new(Place { application: Mutex::new(application), plug: Mutex::default() });
        let (inserted, insertion) = sync_channel(1);
        let thread = {
            let place = Arc::clone(&place);
            thread::Builder::new().name(format!("openpgp-{port}")).spawn(move || place.live(port, &inserted))?
        };
        let card = Self { place, thread: Some(thread) };
        let problem = || format!("no driver of a virtual reader listens on port {port}");
        insertion.recv_timeout(INSERTION_TIME).with_context(problem)?;
        Ok(card)
    }

    /// The remaining tries, as the card counts them.
    pub fn tries(&self) -> Tries {
        locked(&self.place.application).tries()
    }
}

impl Drop for OpenPgpCard {
    fn drop(&mut self) {
        {
            let mut plug = locked(&self.place.plug);
            plug.pulled = true;
            if let Some(link) = plug.link.take() {
                link.close();
            }
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the card's thread has already been printed.
            let _ = thread.join();
        }
    }
}

impl Place {
    /// Runs until the card is removed; `inserted` hears of the first connection.
    fn live(&self, port: u16, inserted: &SyncSender<()>) {
        while !locked(&self.plug).pulled {
            let connected = Link::connect(port).and_then(|link| Ok((link.try_clone()?, link)));
            let Ok((handle, mut link)) = connected else {
                thread::sleep(RETRY_TIME);
                continue;
            };
            locked(&self.plug).link = Some(handle);
            if !locked(&self.plug).pulled {
                // At a later connection the receiver is gone.
                let _ = inserted.try_send(());
                // In every case the driver or the card is gone.
                let _ = self.serve(&mut link);
            }
            link.close();
        }
    }

    /// Serves the driver; always ends with an error: the driver or the card is gone.
    fn serve(&self, link: &mut Link) -> std::io::Result<()> {
        loop {
            match link.receive(None)? {
                Some(Request::Command(command)) => {
                    let answer = locked(&self.application).answer(&command);
                    link.send(&answer)?;
                }
                Some(Request::Atr) => link.send(&ATR)?,
                Some(Request::PowerOff | Request::Reset) => locked(&self.application).reset(),
                Some(Request::Other) | None => {}
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
