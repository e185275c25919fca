//! Stories with the Windows programs in Wine: a table of contents. Run them by `make windows`: they need
//! `in-wine-namespace`.

/// The original failure: a parent, its child, and a third program.
#[cfg(test)]
mod family;
/// Cards come and go on real PC/SC, and pcscd ends.
#[cfg(test)]
mod files;
/// The client in Node.
#[cfg(test)]
mod node;
#[cfg(test)]
mod pcsc;
/// The pipe, with simulated readers.
#[cfg(test)]
mod pipe;
#[cfg(test)]
mod service;
/// Exclusive hold, isolation, and the ends of sessions on real PC/SC.
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod wine;
