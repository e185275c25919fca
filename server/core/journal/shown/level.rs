//! How much of a command may be shown, by its header alone.

use crate::{
    apdu::{Class, SecretInstructions},
    policy::rule::CommandPattern,
};

/// The class of commands to the reader itself (PC/SC part 3 §3.2.2).
const READER_CLASS: u8 = 0xFF;

/// The only command to the reader itself that is known to present no secret: GET DATA, the card's number (PC/SC part 3
/// §3.2.2.1). Others load keys, authenticate, write keys into memory cards, or wrap commands to the reader's chip.
const READER_GET_DATA: u8 = 0xCA;

/// Instructions that cannot change security state and whose data is no secret by itself (ISO 7816-4:2013 §11).
const DATA_INSTRUCTIONS: &[u8] = &[
    0xA4, // SELECT
    0xB0, 0xB1, // READ BINARY
    0xB2, 0xB3, // READ RECORD
    0xC0, // GET RESPONSE
    0xCA, 0xCB, // GET DATA
    0xA0, 0xA1, 0xA2, // SEARCH BINARY, SEARCH RECORD
];

/// Further instructions that present no secret. Their data stays hidden.
const HEADER_INSTRUCTIONS: &[u8] = &[
    0x22, // MANAGE SECURITY ENVIRONMENT: names of keys
    0x70, // MANAGE CHANNEL
    0x84, // GET CHALLENGE
];

/// How much of a command may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// It may present a secret: nothing that depends on the length of its data.
    Secret,
    /// No data, but lengths and status words.
    Headers,
    /// Everything, to operators with `trace_data`.
    Data,
}

/// The settings of what traces show, the same for all readers of a broker.
#[derive(Debug, Clone)]
pub struct ShownRules {
    secrets: SecretInstructions,
    /// Further commands whose data may be shown.
    data: Vec<CommandPattern>,
}

impl ShownRules {
    /// Creates the settings. `data` has the configuration's patterns of commands whose data may be shown, although it
    /// is not known to be harmless; of `secrets` none is shown.
    pub fn new(secrets: SecretInstructions, data: Vec<CommandPattern>) -> Self {
        Self { secrets, data }
    }

    /// How much of a command with this header may be shown, as far as commands before it do not forbid it.
    pub(super) fn level(&self, header: [u8; 4]) -> Level {
        let [class, instruction, ..] = header;
        let presents_secret = self.secrets.contains(instruction);
        if presents_secret || Class(class).may_have_secure_messaging() || Class(class).is_chaining() {
            return Level::Secret;
        }
        if self.data.iter().any(|pattern| Self::permits(pattern, header)) {
            return Level::Data;
        }
        match class {
            READER_CLASS if instruction == READER_GET_DATA => Level::Headers,
            _ if !Class(class).is_interindustry() => Level::Secret,
            _ if DATA_INSTRUCTIONS.contains(&instruction) => Level::Data,
            _ if HEADER_INSTRUCTIONS.contains(&instruction) => Level::Headers,
            _ => Level::Secret,
        }
    }

    /// Whether the configuration permits the data of a command. Commands to the reader itself must be named by their
    /// class, so that a pattern for many classes does not include them.
    fn permits(pattern: &CommandPattern, header: [u8; 4]) -> bool {
        pattern.matches_header(header) && (header[0] != READER_CLASS || pattern.names_class(READER_CLASS))
    }
}

impl Default for ShownRules {
    /// The settings of a broker without configuration.
    fn default() -> Self {
        Self::new(SecretInstructions::new([]), Vec::new())
    }
}
