//! Stories with the Windows programs in Wine: a table of contents. Run them by `make windows`: they need
//! `in-wine-namespace`.

/// `cardbroker doctor`, and its check of PC/SC.
#[cfg(test)]
mod doctor;
/// The endpoint file and TLS: clients in Python, C++ and Node.
#[cfg(test)]
mod endpoint_file;
/// The original failure: a parent, its child, and a third program.
#[cfg(test)]
mod family;
/// Files: their access lists, and the endpoint file.
#[cfg(test)]
mod files;
/// The client in Node, by Node for Windows.
#[cfg(test)]
mod node;
/// Cards come and go on real PC/SC, and pcscd ends.
#[cfg(test)]
mod pcsc;
/// The pipe, with simulated readers.
#[cfg(test)]
mod pipe;
/// The broker as a service of Windows.
#[cfg(test)]
mod service;
/// Exclusive hold, isolation, and the ends of sessions on real PC/SC.
#[cfg(test)]
mod sharing;
/// The broker and its readers, for stories on real PC/SC.
#[cfg(test)]
mod stage;
/// Windows programs in Wine: how a story starts them, talks to them and ends them.
#[cfg(test)]
mod wine;
