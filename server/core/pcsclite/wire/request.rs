//! The requests of clients.

use cardbroker_apdu_bytes::ApduBytes;

/// A request of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `SCardEstablishContext`: a new context for the connection.
    Establish {
        /// The scope, of which 0–3 are valid.
        scope: u32,
    },
    /// `SCardReleaseContext`: the end of the context.
    Release {
        /// The number of the context.
        context: u32,
    },
    /// `SCardConnect`: a new handle of the context.
    Connect {
        /// The number of the context.
        context: u32,
        /// The name of the reader in PC/SC.
        reader: String,
        /// The number of the share mode.
        share: u32,
        /// The acceptable protocols, one bit each.
        protocols: u32,
    },
    /// `SCardReconnect`: another share mode, and a reset.
    Reconnect {
        /// The number of the handle.
        handle: u32,
        /// The number of the new share mode.
        share: u32,
        /// The acceptable protocols, one bit each.
        protocols: u32,
        /// The number of the card's disposition before.
        initialization: u32,
    },
    /// `SCardDisconnect`: the end of a handle.
    Disconnect {
        /// The number of the handle.
        handle: u32,
        /// The number of the card's disposition.
        disposition: u32,
    },
    /// `SCardBeginTransaction`: a turn for several commands.
    Begin {
        /// The number of the handle.
        handle: u32,
    },
    /// `SCardEndTransaction`: the end of that turn.
    End {
        /// The number of the handle.
        handle: u32,
        /// The number of the card's disposition.
        disposition: u32,
    },
    /// `SCardTransmit`: one command for the card.
    Transmit {
        /// The number of the handle.
        handle: u32,
        /// The protocol in the caller's PCI.
        protocol: u32,
        /// The room for the answer, in bytes.
        room: usize,
        /// The command as the program gave it.
        command: ApduBytes,
    },
    /// `SCardControl`: a command for the reader.
    Control {
        /// The number of the handle.
        handle: u32,
    },
    /// `SCardStatus`: the state of a handle.
    Status {
        /// The number of the handle.
        handle: u32,
    },
    /// `SCardCancel`, sent on a connection of its own.
    Cancel {
        /// The number of the context whose wait ends.
        context: u32,
    },
    /// `SCardGetAttrib`: an attribute of the reader.
    GetAttribute {
        /// The number of the handle.
        handle: u32,
        /// The number of the attribute, of either class.
        attribute: u32,
    },
    /// `SCardSetAttrib`: a new value of an attribute.
    SetAttribute {
        /// The number of the handle.
        handle: u32,
    },
    /// The versions of the client, first on each connection of a context.
    Version {
        /// The major number of the version.
        major: u32,
        /// The minor number of the version.
        minor: u32,
    },
    /// Asks for the array of 16 readers.
    ReaderStates,
    /// Registers for the next change.
    Wait,
    /// Ends the registration for a change.
    StopWaiting,
    /// Asks for the number of readers that came or went (4:5).
    ReaderEvents,
    /// Asks for the number of elements of the array (4:6).
    ArraySize,
    /// Asks for the array (4:6).
    Array,
}

impl Request {
    /// The function of PC/SC that sends the request.
    pub fn function(&self) -> &'static str {
        match self {
            Self::Release { .. } => "SCardReleaseContext",
            Self::Connect { .. } => "SCardConnect",
            Self::Reconnect { .. } => "SCardReconnect",
            Self::Disconnect { .. } => "SCardDisconnect",
            Self::Begin { .. } => "SCardBeginTransaction",
            Self::End { .. } => "SCardEndTransaction",
            Self::Transmit { .. } => "SCardTransmit",
            Self::Control { .. } => "SCardControl",
            Self::Status { .. } => "SCardStatus",
            Self::Cancel { .. } => "SCardCancel",
            Self::GetAttribute { .. } => "SCardGetAttrib",
            Self::SetAttribute { .. } => "SCardSetAttrib",
            Self::Establish { .. } | Self::Version { .. } => "SCardEstablishContext",
            Self::ReaderStates
            | Self::Wait
            | Self::StopWaiting
            | Self::ReaderEvents
            | Self::ArraySize
            | Self::Array => "SCardGetStatusChange",
        }
    }

    /// Whether the answer may be held. All threads of a program may stop while another answer does not come.
    pub fn may_be_held(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Reconnect { .. }
                | Self::Begin { .. }
                | Self::Transmit { .. }
                | Self::Control { .. }
        )
    }
}
