//! Commands and answers in words: instructions, applications, status words, BER-TLV trees and dumps.

pub(crate) mod application;
pub(crate) mod dump;
pub(crate) mod exchange;
pub(crate) mod instruction;
mod oid;
mod tag;
pub(crate) mod tlv;
