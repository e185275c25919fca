//! The end-to-end tests: a table of contents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is the test's own message")]

mod conversation;
mod piv_world;
mod wire;
mod world;

/// The broker's description of itself, of its caller, and of one reader.
mod about;
/// A port of the broker's own choice, which clients find by the endpoint file.
mod auto_port;
/// Malformed requests, over the wire itself.
mod bad_input;
/// The benchmark: a case that fails does not end the run, and nothing outlives it.
mod benchmark;
/// The TCP port, as clients on another machine see it.
mod beyond_loopback;
/// The original failure, and programs in C that do not have it.
mod c_interface;
/// `card --probe` finds applications and takes nothing from anyone.
mod card_probe;
/// Virtual cards and private pcscd work as documented.
mod cards;
/// Cards, commands and answers in words, at a person's terminal.
mod cards_in_words;
/// Sessions through the Rust client and `cardbroker session`.
mod client_sessions;
/// Each failure has the code of the contract's table.
mod codes;
/// The program `cardbroker` against a real broker.
mod command_line;
/// Completion of readers in a person's shell.
mod completion;
/// The socket in containers: other namespaces of processes, users and networks.
mod containers;
/// GET RESPONSE: its class, and the loss of the answer.
mod continuing;
/// The daemon's view from its host: socket, configuration, services and limits.
mod daemon;
/// Programs without a broker break each other's pairs.
mod direct;
/// Resets and dispositions of units and sessions.
mod dispositions;
/// `cardbroker doctor` and `report`: what they find on machines of many kinds, and what they keep to themselves.
mod doctor;
/// The commands in the documents.
mod documents;
/// The daemon's shutdown, in time and in order.
mod drain;
/// `cardbroker exec`: a program and its children as one isolation group.
mod exec;
/// Finding the broker at the default places, and trust in what is there.
mod finding;
/// The first minute: a terminal, and a log that programs can read.
mod first_run;
/// Another program holds the card, as each view of an operator tells it.
mod foreign_holder;
/// Habits of Windows' and macOS' PC/SC, one at a time.
mod habits;
/// Hand-over of the card between processes, fast and fair.
mod hand_over;
/// A driver call that does not return.
mod hang;
/// The health service, with and without a token.
mod health;
/// Daemons that do not see who calls.
mod hidden_peers;
/// An idle daemon wakes up rarely.
mod idle;
/// Streams that idle behind nginx.
mod idle_proxies;
/// A rival like Windows' plug and play.
mod interference;
/// Security state stays within an isolation group.
mod isolation;
/// The log in journald: priorities and fields.
mod journald;
/// Parents and children in five languages share two cards.
mod languages;
/// The log: its records, and the secrets that it never contains.
mod log;
/// Remains of a PIN in the memory of the released daemon.
mod memory;
/// Readers' names, aliases and patterns.
mod names;
/// A repeated request_id is not executed again.
mod never_twice;
/// Operators: their rules, the log's filter, and the metrics.
mod operators;
/// A user's own broker beside the installed package.
mod own_configuration;
/// Who holds a reader when: the broker, or other programs.
mod ownership;
/// The Debian package on a clean system: installed, used, upgraded, purged.
mod packages;
/// The audit trail of PC/SC programs.
mod pcsc_audit;
/// GnuPG with an OpenPGP card on the door.
mod pcsc_gpg;
/// PC/SC programs that are killed at each stage of a call.
mod pcsc_kills;
/// A broker behind the door of another one.
mod pcsc_nested;
/// PINs that the broker keeps from the card, presented by PC/SC programs.
mod pcsc_pins;
/// Programs that use PC/SC, unchanged, on the broker's door.
mod pcsc_programs;
/// Prompts for PINs while programs of several kinds use the cards, measured beside pcscd.
mod pcsc_prompts;
/// Brokers in a ring, behind each other's doors.
mod pcsc_rings;
/// The larger PC/SC programs of the system, many at once, and a newer libpcsclite.
mod pcsc_suites;
/// Permissions of every principal, as a table.
mod permissions;
/// A process id that is used again.
mod pid_reuse;
/// A PIN that the card has refused is not sent to it again.
mod pin_guard;
/// The PIN guard on cards like OpenPGP and PIV: every form of a wrong PIN.
mod pin_guard_forms;
/// The PIN guard on an old PIN in front of a new one.
mod pin_guard_old_pin;
/// A refused PIN is sent again with permission.
mod pin_guard_override;
/// PINs of different lengths, as operators see them.
mod pin_lengths;
/// A verified PIN of a real card application, without a broker.
mod piv;
/// A PIN verified in a session, and later processes.
mod piv_isolation;
/// Connections and kept outcomes, which users share.
mod places;
/// The policy's denials, and their audit trail.
mod policy;
/// Rules on commands that cannot be parsed, and on values that the caller sets.
mod policy_commands;
/// New rules: their effect on work in progress.
mod policy_reload;
/// Proxies between clients and the broker, which repeat calls.
mod proxies;
/// The limits of the queue, and its unit of account, the caller.
mod queue;
/// Raw commands, APDUs or not.
mod raw;
/// Turns that operators end for others.
mod releases;
/// `cardbroker reload`: new rules and tokens without a signal.
mod reload;
/// Programs on another machine, behind `ssh -L`.
mod remote;
/// Cards removed at the wrong moment.
mod removal;
/// A recorded trace, and its replay by another broker.
mod replay;
/// pcscd killed and restarted under load.
mod restart;
/// A malicious client beside a well-behaved one; floods of well-formed requests.
mod rogue;
/// One client and one card, over both backends.
mod scenarios;
/// A PIN leaks neither into output nor into memory.
mod secrets;
/// Under a service manager: inherited sockets, notifications, watchdog.
mod service;
/// The ends of sessions, and the card afterwards.
mod session_ends;
/// Sessions whose card, driver, pcscd or broker goes away.
mod session_faults;
/// Heartbeats of a session, and the cause of its revocation.
mod session_signs;
/// Sessions while other requests wait.
mod session_turns;
/// Sessions: messages and their answers.
mod sessions;
/// The socket's path: removed, replaced, or gone with its folder.
mod socket;
/// The sockets of the shipped units, with systemd's opener of sockets.
mod socket_units;
/// An operator's view: holders, waiters, incidents, counters.
mod status;
/// Status words after which a unit goes on.
mod stop_rules;
/// Eight processes: broken pairs without the broker, none with it.
mod story;
/// Programs that are suspended and go on, and clocks that differ.
mod suspend;
/// The broker in the place of the machine's pcscd, and the way back.
mod taking_over;
/// Programs that stories start and end by lines, and the one that saturates a card.
mod talkers;
/// The TCP port: access and isolation.
mod tcp;
/// TLS on the TCP port: programs in place of the broker, and the certificate.
mod tls;
/// Tokens for the TCP port.
mod tokens;
/// New tokens, and a tokens file that cannot be used.
mod tokens_reload;
/// The full screen for operators, in a terminal.
mod top;
/// The trace: what operators see of turns and commands, and what nobody sees.
mod trace;
/// Visits, users and bounds: whose turn it is, and for how long.
mod turns;
/// Requests whose bytes never all arrive.
mod unfinished;
/// How long the card stays unused while requests wait.
mod unused_card;
/// Watch streams: slow ones, many of them, and a broker that dies.
mod watch;
/// A caller watches its own waiting requests.
mod watch_turn;
/// `cardbroker doctor --winscard`: what differs between the PC/SC of systems, tried at the reader.
mod winscard;
