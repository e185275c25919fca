//! A command of a unit with the caller's settings, and the headers that it may send to the card.

use super::{GET_RESPONSE, fetch};
use crate::apdu::{
    ApduBytes, ApduError, Class, CommandApdu, Header, MAX_RAW_BYTES, ParsedCommand, StatusPattern, StatusWord, StopRule,
};

/// One command of a unit with the caller's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCommand {
    content: ParsedCommand,
    raw: bool,
    /// The class of the command that fetches the rest after `61xx`; `None` for the class of the command itself.
    pub continue_class: Option<Class>,
    /// The instruction that fetches the rest after `61xx`; `None` for GET RESPONSE. Without effect on a raw command.
    pub continue_instruction: Option<u8>,
    /// Whether it may use up the last try of a PIN.
    pub allow_last_try: bool,
    /// Whether it may present a PIN that the card has already refused. Needs the operation `guard_override`.
    pub allow_known_wrong: bool,
    /// The rule that decides after which status words the unit continues. Without effect if `continue_on` has patterns.
    pub stop_rule: StopRule,
    /// The status words after which the unit continues; if empty, `stop_rule` decides.
    pub continue_on: Vec<StatusPattern>,
}

/// A class for GET RESPONSE that belongs to another channel than the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("class {0:02X} goes to another logical channel than the command: use a class of its channel (FF for FF only)")]
pub struct OtherChannel(u8);

impl From<CommandApdu> for UnitCommand {
    /// A command that is converted for the card's protocol and whose answer is fetched.
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
            allow_known_wrong: false,
            stop_rule: StopRule::Default,
            continue_on: Vec::new(),
        }
    }

    /// A command of 1–65,548 bytes that is sent unchanged and whose answer is returned unchanged.
    ///
    /// # Errors
    /// [`ApduError::RawLength`] for another length.
    pub fn raw(bytes: impl Into<ApduBytes>) -> Result<Self, ApduError> {
        let bytes = bytes.into();
        if !(1..=MAX_RAW_BYTES).contains(&bytes.len()) {
            return Err(ApduError::RawLength(bytes.len()));
        }
        Ok(Self::new(ParsedCommand::parse(bytes), true))
    }

    /// Sets the class that fetches the rest of an answer after `61xx`. Without effect on a raw command.
    ///
    /// # Errors
    /// [`OtherChannel`] if `class` belongs to another logical channel than the command.
    pub fn continue_in(self, class: u8) -> Result<Self, OtherChannel> {
        let is_elsewhere = self.apdu().is_some_and(|apdu| !apdu.class().shares_channel_with(Class(class)));
        if is_elsewhere && !self.raw {
            return Err(OtherChannel(class));
        }
        Ok(Self { continue_class: Some(Class(class)), ..self })
    }

    /// The caller's class for fetching the rest of an answer; `None` if the broker chooses it.
    pub fn continue_class(&self) -> Option<u8> {
        self.continue_class.map(|class| class.0)
    }

    /// Whether it is sent to the card unchanged.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The bytes of the command in the request.
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// The parsed command. Only a raw one may be unreadable.
    pub fn parsed(&self) -> &ParsedCommand {
        &self.content
    }

    /// The APDU; `None` if the bytes are not one.
    pub fn apdu(&self) -> Option<&CommandApdu> {
        self.content.apdu()
    }

    /// The header of the command, for the policy.
    pub fn header(&self) -> Header {
        self.apdu().map_or(Header::Unreadable, |apdu| Header::Read(apdu.header()))
    }

    /// The instruction that fetches the rest of an answer, by default GET RESPONSE.
    pub fn fetching_instruction(&self) -> u8 {
        self.continue_instruction.unwrap_or(GET_RESPONSE)
    }

    /// Whether the caller has set the class or the instruction that fetches the rest of an answer.
    pub fn chooses_fetching(&self) -> bool {
        self.continue_class.is_some() || self.fetching_instruction() != GET_RESPONSE
    }

    /// Whether the unit continues after this command is answered with `word`.
    pub fn lets_unit_go_on(&self, word: StatusWord) -> bool {
        match &*self.continue_on {
            [] => self.stop_rule.lets_unit_go_on(word),
            patterns => patterns.iter().any(|pattern| pattern.matches(word)),
        }
    }
}

/// The headers of everything that the commands may send, for the policy, each with the command's index. GET RESPONSE is
/// included only if the caller has set its class or instruction. Each item has two headers, of which the card's
/// protocol selects one; they are equal if the protocol makes no difference.
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
