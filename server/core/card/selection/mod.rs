//! The selected file on each logical channel, derived from the card's own answers (ISO 7816-4 §11.1). Pure.
//!
//! | Command | Answer | Selected afterwards |
//! | --- | --- | --- |
//! | reset | | the default application on the basic channel; unknown on all others |
//! | SELECT by DF name (P1 04) | success: `9000`, `61xx`, `62xx` | an application whose name begins as requested |
//! | the same | success, and an FCI with a longer or shorter name | the application with that name |
//! | the same | success, and a longer name in an application template | the application with that name |
//! | the same | success, and an FCI with another name | unknown, but the same one for the same name and answer |
//! | SELECT below the current DF (P1 01, 09) | success | a file of the same application |
//! | SELECT an EF below the current DF (P1 02) | success | unchanged: the current DF is the same |
//! | SELECT by identifier, parent or path (P1 00, 03, 08) | success | a file of an unknown application |
//! | any SELECT | `6A82` | unchanged |
//! | any SELECT | `67xx` to `6Fxx` | unknown, but the same one after the same refusals |
//! | any SELECT | another one, or none | unknown |
//! | SELECT in another form, in a chain, with secure messaging, or in a class without a channel | | unknown |
//! | CREATE FILE, DELETE FILE (ISO 7816-9) | | another file of the same application |
//! | MANAGE CHANNEL | | unknown on all channels but the basic one |
//! | ENVELOPE | | unknown: it may contain any command |
//! | CLA FF: a command that may reach the card | | unknown: some readers forward the data to the card |
//! | CLA FF: another one, except GET DATA | | unknown to rules, but unchanged for comparing PINs |
//! | bytes that are not an APDU | | unknown |
//! | the same, with an instruction that presents a PIN | the PIN is wrong or blocked | unchanged: it was compared |

mod confirmation;
mod place;
mod selected_file;

use confirmation::Confirmation;
pub(super) use confirmation::PIV;
pub use place::{ConfirmedName, Place};
pub use selected_file::SelectedFile;
use selected_file::{Known, RefusedSelect, Start, Step};

use crate::apdu::{ApduBytes, Class, CommandApdu, StatusWord, stays_in_reader};

/// Logical channels 0–19 (ISO 7816-4 §5.4.1).
const CHANNELS: usize = 20;
const MAX_NAME_BYTES: usize = 16;
/// The longest other name in an answer that is stored. An application that answers with a longer one is unknown.
const MAX_OTHER_NAME_BYTES: usize = 64;
/// The longest FCI that is read. Longer ones are ignored.
const MAX_FCI_BYTES: usize = 1024;

const SELECT: u8 = 0xA4;
const GET_RESPONSE: u8 = 0xC0;
const ENVELOPE: u8 = 0xC2;
/// ENVELOPE with its data in BER-TLV data objects.
const ENVELOPE_OF_OBJECTS: u8 = 0xC3;
const GET_DATA: u8 = 0xCA;
const MANAGE_CHANNEL: u8 = 0x70;
const CREATE_FILE: u8 = 0xE0;
const DELETE_FILE: u8 = 0xE4;

/// The values of P1 in MANAGE CHANNEL.
const OPEN: u8 = 0x00;
const CLOSE: u8 = 0x80;

/// The bits of a proprietary class in which GlobalPlatform (Card Specification 2.3.1 §11.1.4) puts the logical channel.
const CHANNEL_BITS: u8 = 0x43;

const MASTER_FILE: [u8; 2] = [0x3F, 0x00];

/// The selected file of each channel. It must receive every command and every response.
#[derive(Debug)]
pub struct Selection {
    channels: [Option<SelectedFile>; CHANNELS],
    /// Whether commands went to other channels than the basic one.
    uses_channels: bool,
    /// The number of commands that may have changed the selection of any channel, in this and all earlier resets.
    changes: u64,
    /// The name that the last answer has confirmed.
    confirmed: Option<ConfirmedName>,
    /// The SELECT that was sent and is not answered yet.
    sent: Option<Sent>,
    /// The answer to a SELECT by name, as far as it was fetched.
    fetching: Option<Fetching>,
    /// The selection before an unreadable command that may only have presented a PIN.
    before: Option<Box<Selection>>,
}

#[derive(Debug)]
struct Sent {
    channel: usize,
    before: Option<SelectedFile>,
    if_done: Option<SelectedFile>,
    /// P1, P2 and data, if they are plain.
    select: Option<([u8; 2], ApduBytes)>,
    is_by_name: bool,
}

#[derive(Debug)]
struct Fetching {
    channel: usize,
    fci: ApduBytes,
}

impl Default for Selection {
    /// The selection after a reset of the card.
    fn default() -> Self {
        let mut channels = [const { None }; CHANNELS];
        channels[0] = Some(SelectedFile::at(Start::Default));
        let (uses_channels, changes, confirmed) = (false, 0, None);
        Self { channels, uses_channels, changes, confirmed, sent: None, fetching: None, before: None }
    }
}

impl Selection {
    /// The file that is selected for commands of `class`; `None` if it is unknown.
    pub fn place(&self, class: Class) -> Option<&SelectedFile> {
        self.channels[self.channel(class)?].as_ref().filter(|file| file.is_selected())
    }

    /// Where a command of `class` is carried out; `None` for a class whose channel is unknown. `is_global`: for a
    /// reference that is the same in all files of an application.
    pub fn place_of_pins(&self, class: Class, is_global: bool) -> Option<Place> {
        let file = self.channels[self.channel(class)?].as_ref();
        let certain = match is_global {
            true => file.and_then(SelectedFile::root),
            false => file.filter(|file| file.is_certain()).cloned(),
        };
        Some(match certain {
            Some(file) => Place::File(file.undoubted()),
            None => Place::Unknown {
                since: self.changes,
                application: file.and_then(SelectedFile::application).map(ApduBytes::from),
            },
        })
    }

    /// The number of commands and resets so far that may have changed the selection.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes the name that the last answer has confirmed, if there is one.
    pub fn take_confirmed_name(&mut self) -> Option<ConfirmedName> {
        self.confirmed.take()
    }

    /// Records that the card was reset.
    pub fn reset(&mut self) {
        *self = Self { changes: self.changes + 1, ..Self::default() };
    }

    /// Records that a command is about to be sent. `is_plain`: it is not part of a chain and has no secure messaging.
    pub fn sends(&mut self, apdu: &CommandApdu, is_plain: bool) {
        let [_, instruction, p1, p2] = apdu.header();
        let class = apdu.class();
        self.uses_channels |=
            instruction == MANAGE_CHANNEL || class.logical_channel().is_some_and(|number| number != 0);
        let channel = self.channel(class);
        let fetching = self.fetching.take();
        (self.sent, self.before, self.confirmed) = (None, None, None);
        self.changes += u64::from(may_select(apdu));
        match (class, instruction) {
            (Class(0xFF), GET_DATA) => {}
            (Class(0xFF), _) if stays_in_reader(apdu.header()) => {
                self.channels.iter_mut().flatten().for_each(SelectedFile::doubt);
            }
            (Class(0xFF), _) => self.forget(),
            (_, SELECT) => match channel {
                Some(channel) => {
                    let before = self.channels[channel].take();
                    let if_done = selected(before.clone(), apdu, is_plain);
                    let select = is_plain.then(|| ([p1, p2], apdu.data().into()));
                    self.sent = Some(Sent { channel, before, if_done, select, is_by_name: p1 == 0x04 });
                }
                None => self.forget(),
            },
            (_, GET_RESPONSE) => self.fetching = fetching.filter(|fetching| Some(fetching.channel) == channel),
            (_, CREATE_FILE | DELETE_FILE) => {
                for place in &mut self.channels {
                    *place = place.take().map(SelectedFile::at_unknown_path);
                }
            }
            (_, MANAGE_CHANNEL) if matches!(p1, OPEN | CLOSE) => self.channels[1..].fill(None),
            (_, MANAGE_CHANNEL | ENVELOPE | ENVELOPE_OF_OBJECTS) => self.forget(),
            _ => {}
        }
    }

    /// Records that bytes that are not an APDU are about to be sent; `presents_pin` if their instruction does.
    pub fn sends_unreadable(&mut self, presents_pin: bool) {
        let channels = std::mem::replace(&mut self.channels, [const { None }; CHANNELS]);
        let (uses_channels, changes) = (self.uses_channels, self.changes);
        let before = Self { channels, uses_channels, changes, ..Self::default() };
        self.forget();
        self.changes += 1;
        self.uses_channels = true;
        self.before = presents_pin.then(|| Box::new(before));
    }

    /// Records a response of the card.
    pub fn answered(&mut self, response: &[u8]) {
        let Some((data, StatusWord(word))) = StatusWord::split(response) else { return };
        if let Some(before) = self.before.take().filter(|_| StatusWord(word).refuses_pin()) {
            *self = *before;
        }
        if let Some(Sent { channel, before, if_done, select, is_by_name }) = self.sent.take() {
            let is_done = matches!(word, 0x9000 | 0x6100..=0x62FF);
            self.channels[channel] = match word {
                _ if is_done => if_done,
                0x6A82 => before,
                0x6700..=0x6FFF => before
                    .zip(select)
                    .map(|(before, (parameters, data))| before.after_refusal(RefusedSelect { parameters, data, word })),
                _ => None,
            };
            self.fetching = (is_done && is_by_name).then(|| Fetching { channel, fci: ApduBytes::default() });
        }
        if let Some(mut fetching) = self.fetching.take() {
            let data = data.get(..MAX_FCI_BYTES).unwrap_or(data);
            fetching.fci = ApduBytes::concat([&fetching.fci, data]);
            match word >> 8 {
                0x90 | 0x62 => self.learn(&fetching),
                0x61 | 0x6C if fetching.fci.len() <= MAX_FCI_BYTES => self.fetching = Some(fetching),
                _ => {}
            }
        }
    }

    /// Takes the name of the selected application from its FCI.
    fn learn(&mut self, answer: &Fetching) {
        let channel = &mut self.channels[answer.channel];
        let Some(SelectedFile { start: Start::Application { name, known }, path: Some(path), .. }) = channel else {
            return;
        };
        if !path.is_empty() {
            return;
        }
        let is_first = *known == Known::FirstWithPrefix;
        let requested = name.clone();
        let confirmed = |whole: &ApduBytes| ConfirmedName { requested: requested.clone(), whole: whole.clone() };
        match confirmation::read(&answer.fci, name) {
            Confirmation::None => {}
            Confirmation::Whole(whole) => {
                self.confirmed = is_first.then(|| confirmed(&whole));
                (*name, *known) = (whole, Known::Whole);
            }
            Confirmation::Shorter(whole) => self.confirmed = is_first.then(|| confirmed(&whole)),
            Confirmation::Beginning(beginning) => {
                (*name, *known) = (beginning, if is_first { Known::Answered { requested } } else { Known::Prefix });
            }
            // The card has selected another application than the requested one.
            Confirmation::Other(answered) if is_first && answered.len() <= MAX_OTHER_NAME_BYTES => {
                *channel = Some(SelectedFile::at(Start::Renamed { requested, answered }));
            }
            Confirmation::Other(_) => *channel = None,
        }
    }

    /// Forgets the selection of all channels.
    pub fn forget(&mut self) {
        self.channels.fill(None);
        (self.sent, self.fetching, self.before) = (None, None, None);
    }

    fn channel(&self, class: Class) -> Option<usize> {
        match class.logical_channel() {
            Some(channel) => Some(usize::from(channel)),
            // A proprietary class may have a channel in its own form, or none.
            None => (class.0 & CHANNEL_BITS == 0 && !self.uses_channels).then_some(0),
        }
    }
}

/// Returns the selected file after a successful SELECT.
fn selected(before: Option<SelectedFile>, apdu: &CommandApdu, is_plain: bool) -> Option<SelectedFile> {
    let [_, _, p1, p2] = apdu.header();
    let data = apdu.data();
    let is_first = p2 & 0x03 == 0;
    // In a proprietary class the instruction may have another meaning.
    apdu.class().logical_channel()?;
    match p1 {
        0x02 if !apdu.class().is_chaining() => before,
        0x01 | 0x09 if !is_plain || !is_first => before.map(SelectedFile::at_unknown_path),
        _ if !is_plain => None,
        0x04 if data.len() <= MAX_NAME_BYTES => {
            let known = if is_first { Known::FirstWithPrefix } else { Known::Prefix };
            Some(SelectedFile::at(Start::Application { name: data.into(), known }))
        }
        _ if !is_first => None,
        0x00 if data.is_empty() || data == MASTER_FILE => Some(SelectedFile::at(Start::MasterFile)),
        0x08 => Some(SelectedFile::at(Start::MasterFile).then(Step { p1, data: data.into() })),
        0x00 | 0x01 | 0x03 | 0x09 => before.map(|before| before.then(Step { p1, data: data.into() })),
        _ => None,
    }
}

/// Whether a command may change the selection of a channel. The card's answer may tell more.
fn may_select(apdu: &CommandApdu) -> bool {
    let [_, instruction, ..] = apdu.header();
    match (apdu.class(), instruction) {
        (Class(0xFF), _) => !stays_in_reader(apdu.header()),
        (_, SELECT | CREATE_FILE | DELETE_FILE | MANAGE_CHANNEL | ENVELOPE | ENVELOPE_OF_OBJECTS) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
