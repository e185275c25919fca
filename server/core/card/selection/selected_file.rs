//! A place that can be selected: where the way to it begins, and the steps from there.

/// A longer way to a file is not remembered.
const MAX_PATH_BYTES: usize = 64;

/// What was selected on a channel, and how. Two equal places are the same one, if they are
/// [certain](SelectedFile::is_certain).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedFile {
    /// Where the way begins.
    pub start: Start,
    /// The way from there; `None` if it is not known.
    pub path: Option<Vec<Step>>,
    /// The way does not leave the application.
    is_inside: bool,
}

/// Where a way begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Nothing was selected since the reset.
    Default,
    Application {
        name: Vec<u8>,
        known: Known,
    },
    MasterFile,
}

/// What is known of an application's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// All of it: the card has said so.
    Whole,
    /// Its beginning; it is the first such application.
    FirstWithPrefix,
    /// Its beginning.
    Prefix,
}

/// A SELECT that starts from what was selected before: P1 and data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub p1: u8,
    pub data: Vec<u8>,
}

impl SelectedFile {
    /// Creates the place at the beginning of a way.
    pub fn at(start: Start) -> Self {
        Self { is_inside: matches!(start, Start::Application { .. }), start, path: Some(Vec::new()) }
    }

    /// What is certain of the name of the application that is selected.
    pub fn application(&self) -> Option<&[u8]> {
        match &self.start {
            Start::Application { name, .. } if self.is_inside && !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// Whether an equal place is the same one.
    pub fn is_certain(&self) -> bool {
        self.path.is_some() && !matches!(self.start, Start::Application { known: Known::Prefix, .. })
    }

    /// The place to which a step leads.
    pub fn then(mut self, step: Step) -> Self {
        // A DF, its parent and its siblings have different identifiers: to select one of them again leads nowhere else.
        let leads_on = |path: &Vec<Step>| !matches!(step.p1, 0x00 | 0x01) || path.last() != Some(&step);
        self.is_inside &= matches!(step.p1, 0x01 | 0x09);
        if let Some(path) = self.path.as_mut().filter(|path| leads_on(path)) {
            path.push(step);
            let bytes: usize = path.iter().map(|step| 1 + step.data.len()).sum();
            self.path = self.path.filter(|_| bytes <= MAX_PATH_BYTES);
        }
        self
    }

    /// Returns a place below the same start of which nothing else is known.
    pub fn in_unknown_way(self) -> Self {
        Self { path: None, ..self }
    }
}
