//! The end-to-end tests: a table of contents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is the test's own message")]

mod conversation;
mod wire;
mod world;

/// What the broker says of itself and of its caller, and of one reader.
mod about;
/// Malformed requests, over the wire itself.
mod bad_input;
/// Virtual cards and private pcscd do what they promise.
mod cards;
/// Sessions through the Rust client and `cardbroker session`.
mod client_sessions;
/// Each failure has the code of the contract's table.
mod codes;
/// The program `cardbroker`.
mod command_line;
/// How the rest of an answer is fetched: in which class, and when it is lost.
mod continuing;
/// The daemon as its host sees it: socket, configuration, services and limits.
mod daemon;
/// Programs without a broker break each other's pairs.
mod direct;
/// What becomes of the card after a unit or a session.
mod dispositions;
/// The commands in the documents, run as a reader would run them.
mod documents;
/// How the daemon stops.
mod drain;
/// The card passes from one process to the next, fast and fairly.
mod hand_over;
/// A driver that does not return.
mod hang;
/// Streams that idle behind nginx.
mod idle_proxies;
/// A rival like Windows' plug and play.
mod interference;
/// Security state stays within an isolation group.
mod isolation;
/// Parents and children in four languages share two cards.
mod languages;
/// What the log tells, and what it must never hold.
mod log;
/// What of a PIN stays in the memory of the daemon as it is released.
mod memory;
/// A repeated request_id is not executed again.
mod never_twice;
/// When the broker holds a reader, and when other programs may.
mod ownership;
/// Who may do what, as a table.
mod permissions;
/// A process number that comes round.
mod pid_reuse;
/// A PIN that the card has refused is not sent to it again.
mod pin_guard;
/// What a verified PIN means to a real card application, without a broker.
mod piv;
/// A PIN verified in a session, and processes that come after.
mod piv_isolation;
/// What the policy denies, and how new rules come into force.
mod policy;
/// What rules say of commands that cannot be read, and of what a caller chooses.
mod policy_commands;
/// Proxies between clients and the broker, which send calls again.
mod proxies;
/// The limits of the queue, and who counts as one caller.
mod queue;
/// Commands that are sent exactly as they are given, APDUs or not.
mod raw;
/// Cards pulled at the wrong moment.
mod removal;
/// pcscd killed and started again under load.
mod restart;
/// A client that means harm.
mod rogue;
/// What one client sees of one card, over both backends.
mod scenarios;
/// A PIN is nowhere but where it must be: not in what is printed, not in memory.
mod secrets;
/// How sessions end, and what becomes of the card.
mod session_ends;
/// Sessions whose card, driver, pcscd or broker goes away.
mod session_faults;
/// Heartbeats of a session, and why the broker has ended one.
mod session_signs;
/// Sessions and those who wait.
mod session_turns;
/// Sessions: what is said and what is answered.
mod sessions;
/// After which status words a unit goes on.
mod stop_rules;
/// The seed's failure and its cure, with eight processes.
mod story;
/// The TCP port: who gets in, and what for.
mod tcp;
/// Requests that never end.
mod unfinished;
/// Watch streams: slow ones, many of them, and a broker that dies.
mod watch;
/// How a caller follows its own waiting requests.
mod watch_turn;
