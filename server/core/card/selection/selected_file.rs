//! A selected file, described by the start of its path and the SELECT commands from there.

use crate::apdu::ApduBytes;

/// The longest path that is stored, in bytes. A file with a longer path is uncertain.
const MAX_PATH_BYTES: usize = 64;
/// The most refused SELECT commands that are stored. A file after more of them is uncertain.
const MAX_REFUSED: usize = 4;

/// The file that is selected on a channel, described by its path. Two equal values that are
/// [certain](SelectedFile::is_certain) mean the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedFile {
    /// The start of the path.
    pub start: Start,
    /// The steps from the start; `None` if they are unknown.
    pub path: Option<Vec<Step>>,
    /// Whether the path stays inside the application.
    is_inside: bool,
    /// The refused SELECT commands since the start. Each one has left the selection as it was, or has ended it.
    refused: Vec<RefusedSelect>,
    /// Whether a command to the reader came after the start. It changes no selection; rules do not rely on that.
    is_doubted: bool,
}

/// The start of a path to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// No SELECT has succeeded since the reset.
    Default,
    Application {
        name: ApduBytes,
        known: Known,
    },
    /// An application that the card selects for a name that is not its own.
    Renamed {
        requested: ApduBytes,
        answered: ApduBytes,
    },
    MasterFile,
}

/// The known part of an application's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The whole name, taken from the card's answer.
    Whole,
    /// Its beginning; the first application with it is selected.
    FirstWithPrefix,
    /// Its beginning, taken from the card's answer; the first application with the longer name `requested` is selected.
    Answered { requested: ApduBytes },
    /// Its beginning; any application with it may be selected.
    Prefix,
}

/// A SELECT relative to the file selected before it: P1 and data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub p1: u8,
    pub data: ApduBytes,
}

/// A SELECT that the card has refused: P1, P2 and data, and the status word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSelect {
    pub parameters: [u8; 2],
    pub data: ApduBytes,
    pub word: u16,
}

impl SelectedFile {
    /// The file at the start of a path.
    pub fn at(start: Start) -> Self {
        let is_inside = matches!(start, Start::Application { .. });
        Self { is_inside, start, path: Some(Vec::new()), refused: Vec::new(), is_doubted: false }
    }

    /// The known beginning, or all, of the name of the selected application.
    pub fn application(&self) -> Option<&[u8]> {
        match &self.start {
            Start::Application { name, .. } if self.is_inside && !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// The requested beginning of the application's name, if the card has not confirmed the name and has selected the
    /// first application with it.
    pub fn unconfirmed_name(&self) -> Option<&ApduBytes> {
        match &self.start {
            Start::Application { name, known: Known::FirstWithPrefix } => Some(name),
            _ => None,
        }
    }

    /// Returns the same file, whose application has the confirmed name `whole`.
    pub fn with_whole_name(self, whole: ApduBytes) -> Self {
        Self { start: Start::Application { name: whole, known: Known::Whole }, ..self }
    }

    /// The place of references that are the same in all files of an application; `None` if it is not certain. Before
    /// an application is selected by name, these are the files below the start.
    pub fn root(&self) -> Option<Self> {
        let is_within = self.path.is_some() || self.is_inside;
        let root = Self { refused: self.refused.clone(), ..Self::at(self.start.clone()) };
        let is_inside = root.is_inside && root.refused.is_empty();
        Some(Self { is_inside, ..root }).filter(|root| is_within && root.is_certain())
    }

    /// Whether an equal value means the same file.
    pub fn is_certain(&self) -> bool {
        self.path.is_some() && !matches!(self.start, Start::Application { known: Known::Prefix, .. })
    }

    /// Returns the file after one more step.
    pub fn then(mut self, step: Step) -> Self {
        // A DF, its parent and its siblings have different identifiers, so a repeated SELECT selects the same DF.
        let is_new = |path: &Vec<Step>| !matches!(step.p1, 0x00 | 0x01) || path.last() != Some(&step);
        self.is_inside &= matches!(step.p1, 0x01 | 0x09);
        if let Some(path) = self.path.as_mut().filter(|path| is_new(path)) {
            path.push(step);
            let bytes: usize = path.iter().map(|step| 1 + step.data.len()).sum();
            self.path = self.path.filter(|_| bytes <= MAX_PATH_BYTES);
        }
        self
    }

    /// Returns the file after a SELECT that the card has refused: the same one, or none. The same refusal again changes
    /// nothing.
    pub fn after_refusal(mut self, refused: RefusedSelect) -> Self {
        self.is_inside = false;
        if !self.refused.contains(&refused) {
            let is_small = self.refused.len() < MAX_REFUSED && refused.data.len() <= MAX_PATH_BYTES;
            self.path = self.path.filter(|_| is_small);
            self.refused.extend(is_small.then_some(refused));
        }
        self
    }

    /// Records a command to the reader.
    pub fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// Returns the same file without doubt.
    pub fn undoubted(self) -> Self {
        Self { is_doubted: false, ..self }
    }

    /// Whether the card has certainly selected what was requested. Otherwise it is the same file after the same
    /// commands, but nobody knows which one.
    pub fn is_selected(&self) -> bool {
        !self.is_doubted && self.refused.is_empty() && !matches!(self.start, Start::Renamed { .. })
    }

    /// Returns a file with the same start and an unknown path.
    pub fn at_unknown_path(self) -> Self {
        Self { path: None, ..self }
    }
}
