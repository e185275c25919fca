//! Collects the records of the audit trail, for tests.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;

use super::TARGET;

/// The records of one thread, as text.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<u8>>>);

impl io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Records {
    /// Collects the records of this thread from now on.
    pub(crate) fn collect(&self) -> DefaultGuard {
        let text = self.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || text.clone()).with_ansi(false).without_time();
        tracing::subscriber::set_default(builder.finish())
    }

    /// Returns the records since the last call, each from its field `event` on.
    pub(crate) fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        let records = text.lines().filter(|line| line.contains(TARGET));
        records.map(|line| line.split_once("event=").unwrap().1.to_owned()).collect()
    }
}
