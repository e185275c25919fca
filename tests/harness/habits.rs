//! The habits of other systems' PC/SC: a library preloaded into the daemon adds them to pcsc-lite, and counts calls.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};

/// A habit that pcsc-lite does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// A handle whose card has left is refused for ever, also when another card has come (allowed on Windows).
    DeadHandle,
    /// The service stops when the last reader is unplugged, which ends all contexts, and starts with the first reader
    /// (Windows 8 and later).
    ServiceStops,
    /// A wait for a change returns at once, with the present state (Wine).
    ReturnsAtOnce,
    /// The pseudo-reader that announces new readers is unknown, and a wait that names it returns at once (macOS).
    NoAnnouncer,
    /// A reconnection changes no protocol (Windows).
    OneProtocol,
    /// A DIRECT connection is refused while any other program is connected to the reader (Windows).
    DirectExcludes,
    /// A transaction that idles for more than 5 s ends with a reset (Windows).
    ShortTransaction,
    /// A context of a service that has stopped is refused with a code that is none of PC/SC's (Windows). Shows only
    /// beside [`Habit::ServiceStops`].
    DeadContext,
    /// A card that is pulled during a command gets the code of a removed card, which pcsc-lite has for commands
    /// that were not sent (perhaps Windows, macOS). Needs a broker that does not take it for one of pcsc-lite's.
    RemovedInFlight,
}

impl Habit {
    /// All habits, in the order of the library's counts, with their names there.
    const ALL: [(Self, &str); 9] = [
        (Self::DeadHandle, "dead-handle"),
        (Self::ServiceStops, "service-stops"),
        (Self::ReturnsAtOnce, "returns-at-once"),
        (Self::NoAnnouncer, "no-announcer"),
        (Self::OneProtocol, "one-protocol"),
        (Self::DirectExcludes, "direct-excludes"),
        (Self::ShortTransaction, "short-transaction"),
        (Self::DeadContext, "dead-context"),
        (Self::RemovedInFlight, "removed-in-flight"),
    ];
}

/// A counted call of PC/SC, in the order of the library's counts.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// `SCardEstablishContext`, also a refused one.
    Establish,
    /// `SCardListReaders`, for the names or their length.
    List,
    /// `SCardGetStatusChange`, of all threads together.
    Change,
    /// `SCardConnect`, also a refused one.
    Connect,
    /// `SCardReconnect`, also a refused one.
    Reconnect,
    /// `SCardStatus`, for the data or their length.
    Status,
    /// `SCardTransmit`, also a refused one.
    Transmit,
    /// `SCardBeginTransaction`, also a refused one.
    Begin,
}

/// The number of variants of [`Call`].
const CALLS: usize = Call::Begin as usize + 1;

/// The habits of one daemon's PC/SC, and the counts of its calls. Must outlive the daemon.
pub struct Habits {
    /// The library, its counts, and the sign that no reader is plugged in.
    folder: tempfile::TempDir,
    names: String,
}

impl Habits {
    /// Builds the library, for a daemon whose PC/SC has these habits. Without a habit, it only counts.
    ///
    /// # Errors
    /// The library cannot be built.
    pub fn new(habits: &[Habit]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("habits-").tempdir()?;
        let names = Habit::ALL.iter().filter(|(habit, _)| habits.contains(habit)).map(|(_, name)| *name);
        let names = names.collect::<Vec<_>>().join(",");
        let flags = Command::new("pkg-config").args(["--cflags", "libpcsclite"]).output().context("no pkg-config")?;
        ensure!(flags.status.success(), "no headers of PC/SC: install the package libpcsclite-dev");
        let habits = Self { folder, names };
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
            .arg(habits.library())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/harness/pcsc_habits.c"))
            .args(String::from_utf8(flags.stdout)?.split_whitespace())
            .arg("-ldl")
            .status()
            .context("cannot run cc")?;
        ensure!(built.success(), "the library of habits does not compile");
        Ok(habits)
    }

    /// The library with all habits.
    ///
    /// # Errors
    /// The errors of [`Habits::new`].
    pub fn all() -> anyhow::Result<Self> {
        Self::new(&Habit::ALL.map(|(habit, _)| habit))
    }

    /// The variables that make a program load the library.
    pub fn variables(&self) -> [(&'static str, PathBuf); 3] {
        let folder = self.folder.path().to_owned();
        [("LD_PRELOAD", self.library()), ("PCSC_HABITS", self.names.clone().into()), ("PCSC_HABITS_FOLDER", folder)]
    }

    /// The number of these calls so far.
    pub fn calls(&self, call: Call) -> u64 {
        self.count(call as usize)
    }

    /// How often the habit has shown so far.
    pub fn shown(&self, habit: Habit) -> u64 {
        let place = Habit::ALL.iter().position(|(listed, _)| *listed == habit);
        place.map_or(0, |place| self.count(CALLS + place))
    }

    /// Unplugs the last reader: with [`Habit::ServiceStops`], the service stops.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn unplug(&self) -> anyhow::Result<()> {
        Ok(fs::write(self.unplugged(), "")?)
    }

    /// Plugs the readers in again, which starts the service.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn plug_in(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.unplugged())?)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("habits.so")
    }

    fn unplugged(&self) -> PathBuf {
        self.folder.path().join("unplugged")
    }

    /// A number of the library's file of counts; 0 before the daemon's start.
    fn count(&self, place: usize) -> u64 {
        let counts = fs::read(self.folder.path().join("counts")).unwrap_or_default();
        let (counts, _) = counts.as_chunks::<8>();
        counts.get(place).map_or(0, |count| u64::from_ne_bytes(*count))
    }
}
