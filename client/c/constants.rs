//! The constants of the contract's enums. Generated from proto/cardbroker/v1 by a check.

#![allow(dead_code, missing_docs, reason = "generated: C uses them, the contract has comments")]

pub const CARDBROKER_CODE_OK: i32 = 0;
pub const CARDBROKER_CODE_CANCELLED: i32 = 1;
pub const CARDBROKER_CODE_UNKNOWN: i32 = 2;
pub const CARDBROKER_CODE_INVALID_ARGUMENT: i32 = 3;
pub const CARDBROKER_CODE_DEADLINE_EXCEEDED: i32 = 4;
pub const CARDBROKER_CODE_NOT_FOUND: i32 = 5;
pub const CARDBROKER_CODE_ALREADY_EXISTS: i32 = 6;
pub const CARDBROKER_CODE_PERMISSION_DENIED: i32 = 7;
pub const CARDBROKER_CODE_RESOURCE_EXHAUSTED: i32 = 8;
pub const CARDBROKER_CODE_FAILED_PRECONDITION: i32 = 9;
pub const CARDBROKER_CODE_ABORTED: i32 = 10;
pub const CARDBROKER_CODE_OUT_OF_RANGE: i32 = 11;
pub const CARDBROKER_CODE_UNIMPLEMENTED: i32 = 12;
pub const CARDBROKER_CODE_INTERNAL: i32 = 13;
pub const CARDBROKER_CODE_UNAVAILABLE: i32 = 14;
pub const CARDBROKER_CODE_DATA_LOSS: i32 = 15;
pub const CARDBROKER_CODE_UNAUTHENTICATED: i32 = 16;

/// The default: go on after 90 00, 91 00, 91 AF, 9F xx, 61 xx, 62 xx, and 63 xx except 63 00 and 63 Cx (a failed
/// verification).
pub const CARDBROKER_STOP_RULE_UNSPECIFIED: i32 = 0;
/// Like the default, and also after 91 xx and 92 0x: the normal endings of SIM and UICC cards (ETSI TS 102 221
/// §10.2.1).
pub const CARDBROKER_STOP_RULE_SIM: i32 = 1;
/// Go on after any status word.
pub const CARDBROKER_STOP_RULE_ANY: i32 = 2;
/// Go on after 90 00 only.
pub const CARDBROKER_STOP_RULE_ONLY_9000: i32 = 3;

pub const CARDBROKER_PIN_PAD_OPERATION_UNSPECIFIED: i32 = 0;
pub const CARDBROKER_PIN_PAD_OPERATION_VERIFY: i32 = 1;
/// The old and the new PIN (FEATURE_MODIFY_PIN_DIRECT).
pub const CARDBROKER_PIN_PAD_OPERATION_MODIFY: i32 = 2;

/// The default: the same as ASCII.
pub const CARDBROKER_PIN_ENCODING_UNSPECIFIED: i32 = 0;
pub const CARDBROKER_PIN_ENCODING_ASCII: i32 = 1;
pub const CARDBROKER_PIN_ENCODING_BCD: i32 = 2;

pub const CARDBROKER_STATUS_WORD_SOURCE_UNSPECIFIED: i32 = 0;
/// The command as it was given.
pub const CARDBROKER_STATUS_WORD_SOURCE_COMMAND: i32 = 1;
/// The command, sent once more with the Le that the card asked for with 6C xx.
pub const CARDBROKER_STATUS_WORD_SOURCE_CORRECTED_COMMAND: i32 = 2;
/// A GET RESPONSE after the command: `data` holds the data received so far.
pub const CARDBROKER_STATUS_WORD_SOURCE_GET_RESPONSE: i32 = 3;

pub const CARDBROKER_DELIVERY_UNSPECIFIED: i32 = 0;
/// The command did not reach the card. Sending it again is safe.
pub const CARDBROKER_DELIVERY_NOT_SENT: i32 = 1;
/// The command may have run. Check the card's state (for example, read the counter again) before you send it again.
pub const CARDBROKER_DELIVERY_UNKNOWN: i32 = 2;
/// The command ran, and its answer is missing; the commands after it did not reach the card. Final: a repeat with the
/// same `request_id` gets the same failure.
pub const CARDBROKER_DELIVERY_EXECUTED: i32 = 3;

/// No cause: the failure is not a revocation.
pub const CARDBROKER_REVOCATION_CAUSE_UNSPECIFIED: i32 = 0;
/// The session idled for longer than `idle_timeout` while other requests waited.
pub const CARDBROKER_REVOCATION_CAUSE_IDLE: i32 = 1;
/// The session held the card for longer than the bound that follows from `max_contended_lease` (see `BrokerLimits`),
/// while callers of other groups waited.
pub const CARDBROKER_REVOCATION_CAUSE_TOO_LONG: i32 = 2;
/// New rules of the policy deny the session.
pub const CARDBROKER_REVOCATION_CAUSE_RULES_CHANGED: i32 = 3;
/// An operator has ended the turn (`Release` of the diagnostics).
pub const CARDBROKER_REVOCATION_CAUSE_RELEASED: i32 = 4;

pub const CARDBROKER_ERROR_REASON_UNSPECIFIED: i32 = 0;
/// INVALID_ARGUMENT. The request violates a rule of the contract; `field_violations` names the field, if there is one.
/// Fix the request.
pub const CARDBROKER_ERROR_REASON_INVALID_REQUEST: i32 = 1;
/// NOT_FOUND. There is no reader with this name, or the caller may not see it. List the readers.
pub const CARDBROKER_ERROR_REASON_READER_NOT_FOUND: i32 = 2;
/// FAILED_PRECONDITION. The reader was unplugged. Wait for it with WatchReaders.
pub const CARDBROKER_ERROR_REASON_READER_GONE: i32 = 3;
/// FAILED_PRECONDITION. The configuration says `own = never` for this reader.
pub const CARDBROKER_ERROR_REASON_READER_NOT_OWNED: i32 = 4;
/// FAILED_PRECONDITION. The reader is empty. Insert a card, or send the request with `card = AWAITED`.
pub const CARDBROKER_ERROR_REASON_NO_CARD: i32 = 5;
/// FAILED_PRECONDITION. The card does not answer a reset. Remove it and insert it again.
pub const CARDBROKER_ERROR_REASON_CARD_MUTE: i32 = 6;
/// UNAVAILABLE, retry. Another program holds the card. Retry, or end that program.
pub const CARDBROKER_ERROR_REASON_HELD_ELSEWHERE: i32 = 7;
/// UNAVAILABLE, retry. A call of the reader's driver does not return. UNKNOWN for the command in flight.
pub const CARDBROKER_ERROR_REASON_READER_UNRESPONSIVE: i32 = 8;
/// UNAVAILABLE, retry. The PC/SC service is down or restarting. UNKNOWN for the command in flight.
pub const CARDBROKER_ERROR_REASON_PCSC_UNAVAILABLE: i32 = 9;
/// DEADLINE_EXCEEDED. The turn did not come within `wait_timeout`, or not before the call's gRPC deadline. Send it
/// again.
pub const CARDBROKER_ERROR_REASON_QUEUE_TIMEOUT: i32 = 10;
/// DEADLINE_EXCEEDED. The call's gRPC deadline was near before the unit began. UNKNOWN if it had begun: it goes on
/// without the client; check the card's state, or repeat with the same `request_id`.
pub const CARDBROKER_ERROR_REASON_DEADLINE_NEAR: i32 = 11;
/// RESOURCE_EXHAUSTED, retry. The caller, its user (a quarter of the reader's places) or the reader has too many
/// waiting requests, the user too many unfinished ones, or the connection too many open calls; or the request was not
/// complete 10 s after it began.
pub const CARDBROKER_ERROR_REASON_QUEUE_FULL: i32 = 12;
/// ABORTED. The card is no longer in the insertion `if_insertion_id`. Start again from the new one.
pub const CARDBROKER_ERROR_REASON_INSERTION_CHANGED: i32 = 13;
/// ABORTED. Another caller has used the card, or it was reset, since `if_state_tag`: start again, or use one unit or a
/// session. Or a caller's state is on the card, and `if_not_raised` is set: ask again later.
pub const CARDBROKER_ERROR_REASON_STATE_CHANGED: i32 = 14;
/// FAILED_PRECONDITION. The card was removed. UNKNOWN for the command in flight. Not retried automatically: the next
/// card may be another person's.
pub const CARDBROKER_ERROR_REASON_CARD_REMOVED: i32 = 15;
/// ABORTED. The exchange with the card failed although the card is present; it was reset and counts as a new
/// insertion. UNKNOWN for the command in flight. Start the sequence again.
pub const CARDBROKER_ERROR_REASON_CARD_LOST: i32 = 16;
/// ABORTED. Another program reset the card; the broker reset it again, and it counts as a new insertion. Start the
/// sequence again.
pub const CARDBROKER_ERROR_REASON_CARD_RESET: i32 = 17;
/// UNAVAILABLE, retry. The reset before the commands failed: `reset_before`, or the reset between isolation groups.
pub const CARDBROKER_ERROR_REASON_RESET_FAILED: i32 = 18;
/// INVALID_ARGUMENT. More than 255 data bytes cannot be sent to a T=0 card in one command. Use command chaining.
pub const CARDBROKER_ERROR_REASON_UNSUPPORTED_LENGTH: i32 = 19;
/// FAILED_PRECONDITION. In `stopped`: the answers so far leave no room for the next one (1 MiB in total). EXECUTED if
/// the command ran and its answer does not fit (also after 256 GET RESPONSEs). Request less in one unit. As a status,
/// only of `cardbroker.diagnostics.v1`: the metrics of all readers do not fit.
pub const CARDBROKER_ERROR_REASON_RESPONSE_TOO_LARGE: i32 = 20;
/// FAILED_PRECONDITION, only in `stopped`. The status word of the command before does not let the unit go on. See
/// `Command.stop_rule` and `Command.continue_on`.
pub const CARDBROKER_ERROR_REASON_STATUS_WORD: i32 = 21;
/// ABORTED. The turn ended before the command was sent, for example because the broker stops. Send it again.
pub const CARDBROKER_ERROR_REASON_LEASE_ENDED: i32 = 22;
/// ABORTED. The broker has revoked the session; `cause` says why. Open a new one.
pub const CARDBROKER_ERROR_REASON_LEASE_REVOKED: i32 = 23;
/// ABORTED. An earlier message of the session failed, and no later message has set `restart`. Decide whether to go on,
/// and send it again with `restart`.
pub const CARDBROKER_ERROR_REASON_PRECEDING_FAILED: i32 = 24;
/// PERMISSION_DENIED. The broker's policy forbids it; `rule` names the rule.
pub const CARDBROKER_ERROR_REASON_DENIED: i32 = 25;
/// FAILED_PRECONDITION. This card has already refused this PIN; sending it again would use up a try. Ask the user.
pub const CARDBROKER_ERROR_REASON_PIN_KNOWN_WRONG: i32 = 26;
/// FAILED_PRECONDITION. Only one try is left, and the broker guards it. Set `allow_last_try` to use it.
pub const CARDBROKER_ERROR_REASON_PIN_LAST_TRY: i32 = 27;
/// RESOURCE_EXHAUSTED, retry. No more outcomes can be kept for `request_id`: all places or bytes are taken, or its
/// user has the most outcomes that one may have, or holds a quarter of all bytes. With UNKNOWN (DATA_LOSS), for a
/// repeat: the unit has run, and there was no room to keep its answers.
pub const CARDBROKER_ERROR_REASON_OUTCOMES_FULL: i32 = 28;
/// INVALID_ARGUMENT. This `request_id` was used for a different request. Take a new id.
pub const CARDBROKER_ERROR_REASON_REQUEST_ID_REUSED: i32 = 29;
/// UNAVAILABLE, retry. The broker is stopping.
pub const CARDBROKER_ERROR_REASON_SHUTTING_DOWN: i32 = 30;
/// UNIMPLEMENTED. This version of the broker does not implement the feature. `GetBroker` lists its features.
pub const CARDBROKER_ERROR_REASON_NOT_IMPLEMENTED: i32 = 31;
/// INTERNAL. A defect of the broker. Please report it to the developers.
pub const CARDBROKER_ERROR_REASON_INTERNAL: i32 = 32;
/// UNAUTHENTICATED. The credential is missing or invalid. Read the token file again.
pub const CARDBROKER_ERROR_REASON_UNAUTHENTICATED: i32 = 33;
/// RESOURCE_EXHAUSTED, retry. Too many requests in a short time, such as health checks without a token. Ask less
/// often.
pub const CARDBROKER_ERROR_REASON_OVER_BUDGET: i32 = 34;
/// ABORTED, only in `stopped`. The unit used the card for longer than the configuration allows while callers of other
/// groups waited. Its answers so far are kept: send the rest in another unit, or in a session.
pub const CARDBROKER_ERROR_REASON_UNIT_TOO_LONG: i32 = 35;
/// DATA_LOSS, EXECUTED, only in `stopped`. The command ran and the card dropped its answer before it could be fetched.
/// Check the card's state.
pub const CARDBROKER_ERROR_REASON_RESPONSE_LOST: i32 = 36;
/// FAILED_PRECONDITION. The card supports none of the protocols that the reader's `preferred_protocols` allow. Change
/// the configuration.
pub const CARDBROKER_ERROR_REASON_PROTOCOL_MISMATCH: i32 = 37;
/// FAILED_PRECONDITION, only of `cardbroker.diagnostics.v1`. The configuration or the tokens file has a mistake, which
/// the message names with file and line; what was in force stays in force. Correct the file.
pub const CARDBROKER_ERROR_REASON_CONFIGURATION_REFUSED: i32 = 38;

pub const CARDBROKER_READER_STATE_UNSPECIFIED: i32 = 0;
/// No card in the reader.
pub const CARDBROKER_READER_STATE_EMPTY: i32 = 1;
/// A card was detected; the broker is acquiring it and resets it once. Requests wait.
pub const CARDBROKER_READER_STATE_SETTLING: i32 = 2;
/// A card is present and usable. With `own = on_demand` the broker acquires it when a request arrives.
pub const CARDBROKER_READER_STATE_READY: i32 = 3;
/// A card is present but does not answer a reset, not even three cold ones, or supports none of the protocols that the
/// configuration allows. The failure of a request says which: CARD_MUTE or PROTOCOL_MISMATCH. In the second case `atr`
/// is what the card has answered.
pub const CARDBROKER_READER_STATE_MUTE: i32 = 4;
/// Another program has held the card for more than two seconds; the broker keeps trying.
pub const CARDBROKER_READER_STATE_HELD_ELSEWHERE: i32 = 5;
/// A call of the reader's driver has not returned: within the exchange timeout (2 min unless configured) for a
/// command, within 15 s for acquiring, resetting or releasing the card. The reader recovers when the call returns.
pub const CARDBROKER_READER_STATE_UNRESPONSIVE: i32 = 6;
/// PC/SC does not serve the reader at the moment, for example because its service is restarting.
pub const CARDBROKER_READER_STATE_UNAVAILABLE: i32 = 7;

pub const CARDBROKER_CARD_PROTOCOL_UNSPECIFIED: i32 = 0;
/// T=0, byte-oriented (ISO 7816-3 §10).
pub const CARDBROKER_CARD_PROTOCOL_T0: i32 = 1;
/// T=1, block-oriented (ISO 7816-3 §11). Contactless cards report it too.
pub const CARDBROKER_CARD_PROTOCOL_T1: i32 = 2;
/// Raw: the reader passes bytes through.
pub const CARDBROKER_CARD_PROTOCOL_RAW: i32 = 3;

/// The default: the same as REQUIRED.
pub const CARDBROKER_CARD_REQUIREMENT_UNSPECIFIED: i32 = 0;
/// Fail at once if there is no usable card.
pub const CARDBROKER_CARD_REQUIREMENT_REQUIRED: i32 = 1;
/// Wait for a usable card, within `wait_timeout`, also if the reader is empty or in another state in which the request
/// would fail at once.
pub const CARDBROKER_CARD_REQUIREMENT_AWAITED: i32 = 2;
/// Take the turn without a card, for actions that concern the reader only. Not implemented yet.
pub const CARDBROKER_CARD_REQUIREMENT_NOT_NEEDED: i32 = 3;

/// The default: the same as NONE where a reset is optional; not valid in `SessionReset`.
pub const CARDBROKER_CARD_RESET_UNSPECIFIED: i32 = 0;
/// None: the card is used as it is. The selected application may be that of an earlier caller.
pub const CARDBROKER_CARD_RESET_NONE: i32 = 1;
/// A warm reset (ISO 7816-3 §6.2.3).
pub const CARDBROKER_CARD_RESET_WARM: i32 = 2;
/// A cold reset: the card's power is cut (ISO 7816-3 §6.2.2).
pub const CARDBROKER_CARD_RESET_COLD: i32 = 3;

/// The default: LEAVE after a unit, RESET after a session.
pub const CARDBROKER_DISPOSITION_UNSPECIFIED: i32 = 0;
/// The card is left as it is, unless the next caller belongs to another isolation group. A session needs the
/// permission `leave` for it.
pub const CARDBROKER_DISPOSITION_LEAVE: i32 = 1;
/// The card is reset: warm, unless the reader's configuration (`isolation_reset`) says cold.
pub const CARDBROKER_DISPOSITION_RESET: i32 = 2;
/// The card's power is cut, and it is reset (cold reset).
pub const CARDBROKER_DISPOSITION_UNPOWER: i32 = 3;
