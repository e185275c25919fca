//! The readers, and the commands of the simulated card, that the tests of the door use.

/// The first reader of the simulation.
pub(super) const READER: &str = "Simulated Reader 00";
/// Both readers of the simulation.
pub(super) const READERS: [&str; 2] = [READER, "Simulated Reader 01"];
/// Share modes of a handle, by their numbers in PC/SC.
pub(super) const SHARED: u32 = 2;
pub(super) const EXCLUSIVE: u32 = 1;
pub(super) const DIRECT: u32 = 3;
/// The number of the disposition that resets the card.
pub(super) const RESET: u32 = 1;
/// Selects the only application of the simulated card.
pub(super) const SELECT: &[u8] = b"\x00\xA4\x04\x00\x06\xF0CARD\x01";
/// Presents the PIN that the card accepts.
pub(super) const VERIFY: &[u8] = b"\x00\x20\x00\x80\x0812345678";
/// Asks whether a PIN is verified: `90 00`, or `63 Cx` with the tries that are left.
pub(super) const TRIES: &[u8] = &[0x00, 0x20, 0x00, 0x80];
/// Reads two bytes of the selected file.
pub(super) const READ: &[u8] = &[0x00, 0xB0, 0x00, 0x00, 0x02];
