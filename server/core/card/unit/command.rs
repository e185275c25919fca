//! A command of a unit, as its caller asked for it, and what may be sent for it.

use super::{GET_RESPONSE, fetch};
use crate::apdu::{
    ApduBytes, ApduError, Class, CommandApdu, Header, MAX_RAW_BYTES, ParsedCommand, StatusPattern, StatusWord, StopRule,
};

/// One command of a unit, as the caller asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCommand {
    content: ParsedCommand,
    raw: bool,
    /// The class of the command that fetches the rest after `61xx`; `None` for the class of the command itself.
    pub continue_class: Option<Class>,
    /// The instruction that fetches the rest after `61xx`; `None` for GET RESPONSE. Without effect on a raw command.
    pub continue_instruction: Option<u8>,
    /// Send it although it may use up the last try of a PIN.
    pub allow_last_try: bool,
    /// Which status words let the unit go on, where `continue_on` is empty.
    pub stop_rule: StopRule,
    /// Which status words let the unit go on; empty for what `stop_rule` says.
    pub continue_on: Vec<StatusPattern>,
}

/// A class that GET RESPONSE may not have for this command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("class {0:02X} goes to another logical channel than the command: give one of the same channel, FF for FF only")]
pub struct OtherChannel(u8);

impl From<CommandApdu> for UnitCommand {
    /// A command that is fitted to the card's protocol and whose answer is fetched.
    fn from(apdu: CommandApdu) -> Self {
        Self::new(ParsedCommand::Apdu(apdu), false)
    }
}

impl UnitCommand {
    fn new(content: ParsedCommand, raw: bool) -> Self {
        Self {
            content,
            raw,
            continue_class: None,
            continue_instruction: None,
            allow_last_try: false,
            stop_rule: StopRule::Default,
            continue_on: Vec::new(),
        }
    }

    /// A command that is sent exactly as given, 1–65,548 bytes, and whose answer is handed back as it comes.
    ///
    /// # Errors
    /// [`ApduError::RawLength`].
    pub fn raw(bytes: impl Into<ApduBytes>) -> Result<Self, ApduError> {
        let bytes = bytes.into();
        if !(1..=MAX_RAW_BYTES).contains(&bytes.len()) {
            return Err(ApduError::RawLength(bytes.len()));
        }
        Ok(Self::new(ParsedCommand::parse(bytes), true))
    }

    /// Has the rest of an answer after `61xx` fetched in this class. Without effect on a raw command.
    ///
    /// # Errors
    /// [`OtherChannel`] if commands of this class go elsewhere than this command.
    pub fn continue_in(self, class: u8) -> Result<Self, OtherChannel> {
        let is_elsewhere = self.apdu().is_some_and(|apdu| !apdu.class().shares_channel_with(Class(class)));
        if is_elsewhere && !self.raw {
            return Err(OtherChannel(class));
        }
        Ok(Self { continue_class: Some(Class(class)), ..self })
    }

    /// The class that the caller has chosen for what fetches the rest of an answer.
    pub fn continue_class(&self) -> Option<u8> {
        self.continue_class.map(|class| class.0)
    }

    /// Whether it is sent exactly as given.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The bytes as they were given.
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// The command, parsed when it was made. Only a raw one may be unreadable.
    pub fn parsed(&self) -> &ParsedCommand {
        &self.content
    }

    /// The APDU, if the bytes are one.
    pub fn apdu(&self) -> Option<&CommandApdu> {
        self.content.apdu()
    }

    /// What the policy reads of it.
    pub fn header(&self) -> Header {
        self.apdu().map_or(Header::Unreadable, |apdu| Header::Read(apdu.header()))
    }

    /// The instruction that fetches the rest of an answer.
    pub fn fetching_instruction(&self) -> u8 {
        self.continue_instruction.unwrap_or(GET_RESPONSE)
    }

    /// Whether what fetches the rest of an answer is the caller's choice, and not the broker's GET RESPONSE.
    pub fn chooses_fetching(&self) -> bool {
        self.continue_class.is_some() || self.fetching_instruction() != GET_RESPONSE
    }

    /// Whether the next command of the unit may be sent after this one was answered with `word`.
    pub fn lets_unit_go_on(&self, word: StatusWord) -> bool {
        match &*self.continue_on {
            [] => self.stop_rule.lets_unit_go_on(word),
            patterns => patterns.iter().any(|pattern| pattern.matches(word)),
        }
    }
}

/// What the policy reads of all that the commands may send, each with its command's index. A GET RESPONSE of the
/// broker's belongs to the command that it completes and is not among them, unlike a class or an instruction of the
/// caller's choice. Of two headers the card's protocol decides which is sent; where it does not matter they are the
/// same.
pub fn headers(commands: &[UnitCommand]) -> impl Iterator<Item = (usize, [Header; 2])> {
    commands.iter().enumerate().flat_map(|(index, command)| {
        let readable = command.apdu().filter(|_| command.chooses_fetching() && !command.raw);
        let fetching = readable.map(|apdu| {
            fetch::classes(apdu.class(), command.continue_class)
                .map(|Class(class)| Header::Read([class, command.fetching_instruction(), 0, 0]))
        });
        [Some([command.header(); 2]), fetching].into_iter().flatten().map(move |headers| (index, headers))
    })
}
