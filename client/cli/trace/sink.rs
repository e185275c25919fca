//! Where a trace goes: the screen, or a file of its own that nobody else may read.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use cardbroker_local::private_file::create_new;

use super::{
    Format,
    record::{Line, VERSION},
    text::text,
};
use crate::{
    Failure, Screen,
    clock::{Clock, rfc3339_micros},
    json::write_line,
    words::count,
};

/// Receives the lines of a trace.
pub(super) struct Sink<'a, 'screen> {
    file: Option<(BufWriter<File>, PathBuf)>,
    format: Format,
    screen: &'a mut Screen<'screen>,
    clock: Clock,
    event_count: i64,
}

/// Refuses a file that exists, before anything is traced.
///
/// # Errors
/// [`Failure::Usage`] unless it may be replaced.
pub(super) fn check(file: &Path, force: bool) -> Result<(), Failure> {
    match fs::symlink_metadata(file) {
        Ok(_) if !force => Err(exists(file)),
        _ => Ok(()),
    }
}

fn exists(file: &Path) -> Failure {
    Failure::Usage(format!("{} exists: choose another name, or replace it with --force", file.display()))
}

impl<'a, 'screen> Sink<'a, 'screen> {
    /// Makes the file, if one is named, readable by this user only.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it exists and may not be replaced, or cannot be made.
    pub(super) fn open(
        file: Option<PathBuf>,
        force: bool,
        format: Format,
        screen: &'a mut Screen<'screen>,
    ) -> Result<Self, Failure> {
        let file = match file {
            Some(path) => Some((BufWriter::new(create(&path, force)?), path)),
            None => None,
        };
        Ok(Self { file, format, screen, clock: Clock::at(None), event_count: 0 })
    }

    /// Writes the line that opens a record, and tells a person what to do.
    pub(super) fn begin(&mut self, epoch: &str) -> Result<(), Failure> {
        let time = rfc3339_micros(SystemTime::now());
        self.put(&Line::TraceBegan { version: VERSION, time, epoch: epoch.to_owned() })?;
        self.flush()?;
        if self.screen.terminal || self.file.is_some() {
            writeln!(self.screen.err, "tracing; Ctrl-C ends it")?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        for line in lines {
            self.event_count += i64::from(!matches!(line, Line::Missed { .. } | Line::CardPresent { .. }));
            self.put(line)?;
        }
        self.flush()
    }

    /// Tells how much is in the file.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.flush()?;
        if let Some((_, path)) = &self.file {
            let events = count(self.event_count, "event");
            writeln!(self.screen.err, "{events} in {0}; show them with: cardbroker trace show {0}", path.display())?;
        }
        Ok(())
    }

    fn put(&mut self, line: &Line) -> Result<(), Failure> {
        let out: &mut dyn Write = match &mut self.file {
            Some((file, _)) => file,
            None => self.screen.out,
        };
        match self.format {
            Format::Jsonl => write_line(out, line)?,
            Format::Text => {
                let text = text(line, &self.clock).unwrap_or_else(|| "(an event of an unknown kind)\n".to_owned());
                write!(out, "{text}")?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.file {
            Some((file, _)) => file.flush()?,
            None => self.screen.out.flush()?,
        }
        Ok(())
    }
}

fn create(path: &Path, force: bool) -> Result<File, Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    if force {
        // Removed rather than emptied: another program may have it open, and its mode may admit others.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => failed(error),
    })
}
