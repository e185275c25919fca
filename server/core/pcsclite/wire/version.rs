//! The version that a client and the door agree on.

use crate::pcsclite::code::Code;

/// A version of the protocol that the door speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The version of libpcsclite 1.8.24 to 2.2.3.
    V4_4,
    /// The version of libpcsclite 2.3.0 to 2.4.1.
    V4_5,
    /// The version of libpcsclite 2.5.0 and later.
    V4_6,
}

/// The answer to a client's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The version in use from now on.
    pub version: Version,
    /// [`Code::SERVICE_STOPPED`] if the client must ask again with that version.
    pub code: Code,
}

impl Agreed {
    /// The answer to a client of version `major`:`minor`.
    pub fn with(major: u32, minor: u32) -> Self {
        let known = match (major, minor) {
            (4, 4) => Some(Version::V4_4),
            (4, 5) => Some(Version::V4_5),
            (4, 6) => Some(Version::V4_6),
            _ => None,
        };
        match known {
            Some(version) => Self { version, code: Code::SUCCESS },
            None => Self { version: Version::V4_6, code: Code::SERVICE_STOPPED },
        }
    }

    /// The two numbers for the client.
    pub fn numbers(self) -> [u32; 2] {
        let minor = match self.version {
            Version::V4_4 => 4,
            Version::V4_5 => 5,
            Version::V4_6 => 6,
        };
        [4, minor]
    }
}
