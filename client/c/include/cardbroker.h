// The C interface of Cardbroker: readers, units of commands, sessions and watches.
// Generated from client/c; do not edit.
//
// Results. A function that can fail returns a code, CARDBROKER_CODE_OK (0) for success. Its last
// argument is the address of a variable for the error, which is set to NULL after success; the
// argument may be NULL. A variable for a handle is set to NULL after a failure.
// A setter that fails returns its code and changes nothing. The call that uses the handle then fails
// with the setter's message, so that a program may ignore what setters return.
// Truth values are int32_t: an argument is false if it is 0, otherwise true; a result is 0 or 1.
//
// Memory. Each handle that a function stores or returns without const is freed by the program, with
// the function of its type whose name ends with _free. Pointers with const live as long as the handle
// from which they come. Texts are UTF-8 and end with NUL. The library copies its arguments. It wipes
// all memory that it frees.
// During a call no other thread changes its texts and arrays. The variables whose addresses it gets
// are aligned, and each is another one. An array that it fills has room for as many bytes as its
// argument says. A text that is given back to cardbroker_text_free is as the library made it.
//
// Threads. Every handle may be used by several threads at once, also by a function whose argument is
// const and that changes it. A handle must not be freed while another call uses it.
//
// Forks. A child process that goes on without exec must not use connections, sessions and watches of
// its parent: their functions fail there with CARDBROKER_ERROR_KIND_FORKED, and freeing them does
// nothing. The child makes its own connection. It keeps the parent's connection open until it ends.


#ifndef CARDBROKER_H
#define CARDBROKER_H

#include <stddef.h>
#include <stdint.h>

// The answer to an APDU.
#define CARDBROKER_ANSWER_KIND_APDU 1

// The answer to a control code.
#define CARDBROKER_ANSWER_KIND_CONTROL 2

// The answer to reading or setting an attribute.
#define CARDBROKER_ANSWER_KIND_ATTRIBUTE 3

// The card's answer to a PIN that was typed at the reader.
#define CARDBROKER_ANSWER_KIND_PIN_PAD 4

// The largest request, and the largest response, in bytes.
#define CARDBROKER_LIMIT_MESSAGE_BYTES 1

// The largest number of commands in a unit.
#define CARDBROKER_LIMIT_COMMANDS 2

// The largest number of unanswered messages in a session.
#define CARDBROKER_LIMIT_SESSION_MESSAGES 3

// The largest number of this program's requests that may wait at one reader.
#define CARDBROKER_LIMIT_WAITING_PER_CALLER 4

// The largest number of requests of all callers that may wait at one reader.
#define CARDBROKER_LIMIT_WAITING_PER_READER 5

// The largest number of outcomes that the broker stores for the user.
#define CARDBROKER_LIMIT_OUTCOMES_PER_USER 6

// The time for which the broker stores an outcome, in nanoseconds.
#define CARDBROKER_LIMIT_OUTCOME_LIFETIME_NS 7

// The longest lease of a session while callers of other groups wait, in nanoseconds.
#define CARDBROKER_LIMIT_CONTENDED_LEASE_NS 8

// The longest visit, in nanoseconds; -1: one and a half times the duration of the reader's resets,
// at most 0.5 s.
#define CARDBROKER_LIMIT_TURN_QUANTUM_NS 9

// The longest time of a unit on the card while callers of other groups wait, in nanoseconds.
#define CARDBROKER_LIMIT_CONTENDED_UNIT_NS 10

#define CARDBROKER_CODE_OK 0

#define CARDBROKER_CODE_CANCELLED 1

#define CARDBROKER_CODE_UNKNOWN 2

#define CARDBROKER_CODE_INVALID_ARGUMENT 3

#define CARDBROKER_CODE_DEADLINE_EXCEEDED 4

#define CARDBROKER_CODE_NOT_FOUND 5

#define CARDBROKER_CODE_ALREADY_EXISTS 6

#define CARDBROKER_CODE_PERMISSION_DENIED 7

#define CARDBROKER_CODE_RESOURCE_EXHAUSTED 8

#define CARDBROKER_CODE_FAILED_PRECONDITION 9

#define CARDBROKER_CODE_ABORTED 10

#define CARDBROKER_CODE_OUT_OF_RANGE 11

#define CARDBROKER_CODE_UNIMPLEMENTED 12

#define CARDBROKER_CODE_INTERNAL 13

#define CARDBROKER_CODE_UNAVAILABLE 14

#define CARDBROKER_CODE_DATA_LOSS 15

#define CARDBROKER_CODE_UNAUTHENTICATED 16

// The default: go on after 90 00, 91 00, 91 AF, 9F xx, 61 xx, 62 xx, and 63 xx except 63 00 and 63 Cx (a failed
// verification).
#define CARDBROKER_STOP_RULE_UNSPECIFIED 0

// Like the default, and also after 91 xx and 92 0x: the normal endings of SIM and UICC cards (ETSI TS 102 221
// §10.2.1).
#define CARDBROKER_STOP_RULE_SIM 1

// Go on after any status word.
#define CARDBROKER_STOP_RULE_ANY 2

// Go on after 90 00 only.
#define CARDBROKER_STOP_RULE_ONLY_9000 3

#define CARDBROKER_PIN_PAD_OPERATION_UNSPECIFIED 0

#define CARDBROKER_PIN_PAD_OPERATION_VERIFY 1

// The old and the new PIN (FEATURE_MODIFY_PIN_DIRECT).
#define CARDBROKER_PIN_PAD_OPERATION_MODIFY 2

// The default: the same as ASCII.
#define CARDBROKER_PIN_ENCODING_UNSPECIFIED 0

#define CARDBROKER_PIN_ENCODING_ASCII 1

#define CARDBROKER_PIN_ENCODING_BCD 2

#define CARDBROKER_STATUS_WORD_SOURCE_UNSPECIFIED 0

// The command as it was given.
#define CARDBROKER_STATUS_WORD_SOURCE_COMMAND 1

// The command, sent once more with the Le that the card asked for with 6C xx.
#define CARDBROKER_STATUS_WORD_SOURCE_CORRECTED_COMMAND 2

// A GET RESPONSE after the command: `data` holds the data received so far.
#define CARDBROKER_STATUS_WORD_SOURCE_GET_RESPONSE 3

#define CARDBROKER_DELIVERY_UNSPECIFIED 0

// The command did not reach the card. Sending it again is safe.
#define CARDBROKER_DELIVERY_NOT_SENT 1

// The command may have run. Check the card's state (for example, read the counter again) before you send it again.
#define CARDBROKER_DELIVERY_UNKNOWN 2

// The command ran, and its answer is missing; the commands after it did not reach the card. Final: a repeat with the
// same `request_id` gets the same failure.
#define CARDBROKER_DELIVERY_EXECUTED 3

// No cause: the failure is not a revocation.
#define CARDBROKER_REVOCATION_CAUSE_UNSPECIFIED 0

// The session idled for longer than `idle_timeout` while other requests waited.
#define CARDBROKER_REVOCATION_CAUSE_IDLE 1

// The session held the card for longer than the bound that follows from `max_contended_lease` (see `BrokerLimits`),
// while callers of other groups waited.
#define CARDBROKER_REVOCATION_CAUSE_TOO_LONG 2

// New rules of the policy deny the session.
#define CARDBROKER_REVOCATION_CAUSE_RULES_CHANGED 3

// An operator has ended the turn (`Release` of the diagnostics).
#define CARDBROKER_REVOCATION_CAUSE_RELEASED 4

#define CARDBROKER_ERROR_REASON_UNSPECIFIED 0

// INVALID_ARGUMENT. The request violates a rule of the contract; `field_violations` names the field, if there is one.
// Fix the request.
#define CARDBROKER_ERROR_REASON_INVALID_REQUEST 1

// NOT_FOUND. There is no reader with this name, or the caller may not see it. List the readers.
#define CARDBROKER_ERROR_REASON_READER_NOT_FOUND 2

// FAILED_PRECONDITION. The reader was unplugged. Wait for it with WatchReaders.
#define CARDBROKER_ERROR_REASON_READER_GONE 3

// FAILED_PRECONDITION. The configuration says `own = never` for this reader.
#define CARDBROKER_ERROR_REASON_READER_NOT_OWNED 4

// FAILED_PRECONDITION. The reader is empty. Insert a card, or send the request with `card = AWAITED`.
#define CARDBROKER_ERROR_REASON_NO_CARD 5

// FAILED_PRECONDITION. The card does not answer a reset. Remove it and insert it again.
#define CARDBROKER_ERROR_REASON_CARD_MUTE 6

// UNAVAILABLE, retry. Another program holds the card. Retry, or end that program.
#define CARDBROKER_ERROR_REASON_HELD_ELSEWHERE 7

// UNAVAILABLE, retry. A call of the reader's driver does not return. UNKNOWN for the command in flight.
#define CARDBROKER_ERROR_REASON_READER_UNRESPONSIVE 8

// UNAVAILABLE, retry. The PC/SC service is down or restarting. UNKNOWN for the command in flight.
#define CARDBROKER_ERROR_REASON_PCSC_UNAVAILABLE 9

// DEADLINE_EXCEEDED. The turn did not come within `wait_timeout`, or not before the call's gRPC deadline. Send it
// again.
#define CARDBROKER_ERROR_REASON_QUEUE_TIMEOUT 10

// DEADLINE_EXCEEDED. The call's gRPC deadline was near before the unit began. UNKNOWN if it had begun: it goes on
// without the client; check the card's state, or repeat with the same `request_id`.
#define CARDBROKER_ERROR_REASON_DEADLINE_NEAR 11

// RESOURCE_EXHAUSTED, retry. The caller, its user (a quarter of the reader's places) or the reader has too many
// waiting requests, the user too many unfinished ones, or the connection too many open calls; or the request was not
// complete 10 s after it began.
#define CARDBROKER_ERROR_REASON_QUEUE_FULL 12

// ABORTED. The card is no longer in the insertion `if_insertion_id`. Start again from the new one.
#define CARDBROKER_ERROR_REASON_INSERTION_CHANGED 13

// ABORTED. Another caller has used the card, or it was reset, since `if_state_tag`: start again, or use one unit or a
// session. Or a caller's state is on the card, and `if_not_raised` is set: ask again later.
#define CARDBROKER_ERROR_REASON_STATE_CHANGED 14

// FAILED_PRECONDITION. The card was removed. UNKNOWN for the command in flight. Not retried automatically: the next
// card may be another person's.
#define CARDBROKER_ERROR_REASON_CARD_REMOVED 15

// ABORTED. The exchange with the card failed although the card is present; it was reset and counts as a new
// insertion. UNKNOWN for the command in flight. Start the sequence again.
#define CARDBROKER_ERROR_REASON_CARD_LOST 16

// ABORTED. Another program reset the card; the broker reset it again, and it counts as a new insertion. Start the
// sequence again.
#define CARDBROKER_ERROR_REASON_CARD_RESET 17

// UNAVAILABLE, retry. The reset before the commands failed: `reset_before`, or the reset between isolation groups.
#define CARDBROKER_ERROR_REASON_RESET_FAILED 18

// INVALID_ARGUMENT. More than 255 data bytes cannot be sent to a T=0 card in one command. Use command chaining.
#define CARDBROKER_ERROR_REASON_UNSUPPORTED_LENGTH 19

// FAILED_PRECONDITION. In `stopped`: the answers so far leave no room for the next one (1 MiB in total). EXECUTED if
// the command ran and its answer does not fit (also after 256 GET RESPONSEs). Request less in one unit. As a status,
// only of `cardbroker.diagnostics.v1`: the metrics of all readers do not fit.
#define CARDBROKER_ERROR_REASON_RESPONSE_TOO_LARGE 20

// FAILED_PRECONDITION, only in `stopped`. The status word of the command before does not let the unit go on. See
// `Command.stop_rule` and `Command.continue_on`.
#define CARDBROKER_ERROR_REASON_STATUS_WORD 21

// ABORTED. The turn ended before the command was sent, for example because the broker stops. Send it again.
#define CARDBROKER_ERROR_REASON_LEASE_ENDED 22

// ABORTED. The broker has revoked the session; `cause` says why. Open a new one.
#define CARDBROKER_ERROR_REASON_LEASE_REVOKED 23

// ABORTED. An earlier message of the session failed, and no later message has set `restart`. Decide whether to go on,
// and send it again with `restart`.
#define CARDBROKER_ERROR_REASON_PRECEDING_FAILED 24

// PERMISSION_DENIED. The broker's policy forbids it; `rule` names the rule.
#define CARDBROKER_ERROR_REASON_DENIED 25

// FAILED_PRECONDITION. This card has already refused this PIN; sending it again would use up a try. Ask the user.
#define CARDBROKER_ERROR_REASON_PIN_KNOWN_WRONG 26

// FAILED_PRECONDITION. Only one try is left, and the broker guards it. Set `allow_last_try` to use it.
#define CARDBROKER_ERROR_REASON_PIN_LAST_TRY 27

// RESOURCE_EXHAUSTED, retry. No more outcomes can be kept for `request_id`: all places or bytes are taken, or its
// user has the most outcomes that one may have, or holds a quarter of all bytes. With UNKNOWN (DATA_LOSS), for a
// repeat: the unit has run, and there was no room to keep its answers.
#define CARDBROKER_ERROR_REASON_OUTCOMES_FULL 28

// INVALID_ARGUMENT. This `request_id` was used for a different request. Take a new id.
#define CARDBROKER_ERROR_REASON_REQUEST_ID_REUSED 29

// UNAVAILABLE, retry. The broker is stopping.
#define CARDBROKER_ERROR_REASON_SHUTTING_DOWN 30

// UNIMPLEMENTED. This version of the broker does not implement the feature. `GetBroker` lists its features.
#define CARDBROKER_ERROR_REASON_NOT_IMPLEMENTED 31

// INTERNAL. A defect of the broker. Please report it to the developers.
#define CARDBROKER_ERROR_REASON_INTERNAL 32

// UNAUTHENTICATED. The credential is missing or invalid. Read the token file again.
#define CARDBROKER_ERROR_REASON_UNAUTHENTICATED 33

// RESOURCE_EXHAUSTED, retry. Too many requests in a short time, such as health checks without a token. Ask less
// often.
#define CARDBROKER_ERROR_REASON_OVER_BUDGET 34

// ABORTED, only in `stopped`. The unit used the card for longer than the configuration allows while callers of other
// groups waited. Its answers so far are kept: send the rest in another unit, or in a session.
#define CARDBROKER_ERROR_REASON_UNIT_TOO_LONG 35

// DATA_LOSS, EXECUTED, only in `stopped`. The command ran and the card dropped its answer before it could be fetched.
// Check the card's state.
#define CARDBROKER_ERROR_REASON_RESPONSE_LOST 36

// FAILED_PRECONDITION. The card supports none of the protocols that the reader's `preferred_protocols` allow. Change
// the configuration.
#define CARDBROKER_ERROR_REASON_PROTOCOL_MISMATCH 37

// FAILED_PRECONDITION, only of `cardbroker.diagnostics.v1`. The configuration or the tokens file has a mistake, which
// the message names with file and line; what was in force stays in force. Correct the file.
#define CARDBROKER_ERROR_REASON_CONFIGURATION_REFUSED 38

#define CARDBROKER_READER_STATE_UNSPECIFIED 0

// No card in the reader.
#define CARDBROKER_READER_STATE_EMPTY 1

// A card was detected; the broker is acquiring it and resets it once. Requests wait.
#define CARDBROKER_READER_STATE_SETTLING 2

// A card is present and usable. With `own = on_demand` the broker acquires it when a request arrives.
#define CARDBROKER_READER_STATE_READY 3

// A card is present but does not answer a reset, not even three cold ones, or supports none of the protocols that the
// configuration allows. The failure of a request says which: CARD_MUTE or PROTOCOL_MISMATCH. In the second case `atr`
// is what the card has answered.
#define CARDBROKER_READER_STATE_MUTE 4

// Another program has held the card for more than two seconds; the broker keeps trying.
#define CARDBROKER_READER_STATE_HELD_ELSEWHERE 5

// A call of the reader's driver has not returned: within the exchange timeout (2 min unless configured) for a
// command, within 15 s for acquiring, resetting or releasing the card. The reader recovers when the call returns.
#define CARDBROKER_READER_STATE_UNRESPONSIVE 6

// PC/SC does not serve the reader at the moment, for example because its service is restarting.
#define CARDBROKER_READER_STATE_UNAVAILABLE 7

#define CARDBROKER_CARD_PROTOCOL_UNSPECIFIED 0

// T=0, byte-oriented (ISO 7816-3 §10).
#define CARDBROKER_CARD_PROTOCOL_T0 1

// T=1, block-oriented (ISO 7816-3 §11). Contactless cards report it too.
#define CARDBROKER_CARD_PROTOCOL_T1 2

// Raw: the reader passes bytes through.
#define CARDBROKER_CARD_PROTOCOL_RAW 3

// The default: the same as REQUIRED.
#define CARDBROKER_CARD_REQUIREMENT_UNSPECIFIED 0

// Fail at once if there is no usable card.
#define CARDBROKER_CARD_REQUIREMENT_REQUIRED 1

// Wait for a usable card, within `wait_timeout`, also if the reader is empty or in another state in which the request
// would fail at once.
#define CARDBROKER_CARD_REQUIREMENT_AWAITED 2

// Take the turn without a card, for actions that concern the reader only. Not implemented yet.
#define CARDBROKER_CARD_REQUIREMENT_NOT_NEEDED 3

// The default: the same as NONE where a reset is optional; not valid in `SessionReset`.
#define CARDBROKER_CARD_RESET_UNSPECIFIED 0

// None: the card is used as it is. The selected application may be that of an earlier caller.
#define CARDBROKER_CARD_RESET_NONE 1

// A warm reset (ISO 7816-3 §6.2.3).
#define CARDBROKER_CARD_RESET_WARM 2

// A cold reset: the card's power is cut (ISO 7816-3 §6.2.2).
#define CARDBROKER_CARD_RESET_COLD 3

// The default: LEAVE after a unit, RESET after a session.
#define CARDBROKER_DISPOSITION_UNSPECIFIED 0

// The card is left as it is, unless the next caller belongs to another isolation group. A session needs the
// permission `leave` for it.
#define CARDBROKER_DISPOSITION_LEAVE 1

// The card is reset: warm, unless the reader's configuration (`isolation_reset`) says cold.
#define CARDBROKER_DISPOSITION_RESET 2

// The card's power is cut, and it is reset (cold reset).
#define CARDBROKER_DISPOSITION_UNPOWER 3

// No broker answers, or this user may not open its socket or cannot trust it. Nothing was sent.
#define CARDBROKER_ERROR_KIND_NOT_RUNNING 1

// The request is invalid; this library refused it before it sent anything.
#define CARDBROKER_ERROR_KIND_INVALID 2

// The broker refused or failed, or its answer did not arrive.
#define CARDBROKER_ERROR_KIND_FAILED 3

// The unit ended before its last command was answered: see cardbroker_error_partial.
#define CARDBROKER_ERROR_KIND_STOPPED 4

// A handle was used in a child process that is a fork of the process that made it. Nothing was sent.
#define CARDBROKER_ERROR_KIND_FORKED 5

// This program has ended the session, or stopped the client, before the call or during it.
#define CARDBROKER_ERROR_KIND_CLOSED 6

// A defect of this library, or the system refused what it needs.
#define CARDBROKER_ERROR_KIND_INTERNAL 7

// After a failure the first message runs that began after its caller received the failure; messages
// sent before that fail too.
#define CARDBROKER_RESTART_AUTOMATIC 0

// The message runs after any failure before it.
#define CARDBROKER_RESTART_NOW 1

// The message fails too (not sent, PRECEDING_FAILED) if a message before it failed and none has run
// since.
#define CARDBROKER_RESTART_NEVER 2

// The number of the ABI of this header. It changes only when a program must be compiled again; new functions and
// constants do not change it.
#define CARDBROKER_ABI 1

// The broker has reported its readers, for the first time or again; the differences follow.
#define CARDBROKER_EVENT_KIND_CONNECTED 1

// The connection was lost, or no broker answered within the connect timeout; the event has the
// error. The watch reconnects by itself.
#define CARDBROKER_EVENT_KIND_DISCONNECTED 2

// A reader is new or has changed; the event has its latest state.
#define CARDBROKER_EVENT_KIND_UPDATED 3

// A reader is gone; the event has its last state.
#define CARDBROKER_EVENT_KIND_REMOVED 4

// The answers and times of a unit. Texts and data live as long as they. Data is wiped when they are
// freed.
typedef struct cardbroker_answers cardbroker_answers;

// The broker's description of itself and of this program. Its texts live as long as it.
typedef struct cardbroker_broker cardbroker_broker;

// A connection to the broker. After a loss the next call connects again. Sessions and watches share
// it and keep it, even if it is freed before them.
typedef struct cardbroker_client cardbroker_client;

// The commands of one unit, or of one message of a session, 1-64. Functions that begin with
// cardbroker_commands_set_ change the command that was added last. Commands may be used for several
// calls. Their bytes are wiped when they are freed.
typedef struct cardbroker_commands cardbroker_commands;

// The options of cardbroker_connect. A program sets only what differs from the defaults.
typedef struct cardbroker_connect_options cardbroker_connect_options;

// A failure. Its texts contain no APDU byte. They live as long as the error.
typedef struct cardbroker_error cardbroker_error;

// One event of a watch.
typedef struct cardbroker_event cardbroker_event;

// A reader and the card in it. Its texts and its answer to reset live as long as it, or as the list
// or the event to which it belongs.
typedef struct cardbroker_reader cardbroker_reader;

// A list of readers, ordered by name.
typedef struct cardbroker_readers cardbroker_readers;

// An exclusive lease on a card: no command of another caller reaches it. Several threads may use a
// session at once; their messages do not mix.
typedef struct cardbroker_session cardbroker_session;

// The options of cardbroker_transmit and cardbroker_open_session. A program sets only what differs
// from the defaults; options may be used for several calls.
typedef struct cardbroker_turn_options cardbroker_turn_options;

// Follows the waiting requests of this program, at all readers or at one.
typedef struct cardbroker_turn_watch cardbroker_turn_watch;

// The waiting requests at one moment, ordered by reader and arrival.
typedef struct cardbroker_turns cardbroker_turns;

// Follows all readers. It works during cardbroker_watch_next, which reports changes between two
// calls later and only the latest state of each reader. Of several threads in
// cardbroker_watch_next each gets other events.
typedef struct cardbroker_watch cardbroker_watch;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The number of answers; they are in the order of the commands.
size_t cardbroker_answers_count(const cardbroker_answers *answers);

// The kind of an answer (CARDBROKER_ANSWER_KIND_...); 0 for a kind newer than this library.
int32_t cardbroker_answers_kind(const cardbroker_answers *answers, size_t index);

// The response data without the status word, the answer to a control code, or the value of an
// attribute. Its length goes to *length.
const uint8_t *cardbroker_answers_data(const cardbroker_answers *answers,
                                       size_t index,
                                       size_t *length);

// SW1 and SW2: 0x9000 is normal processing. 0 if there is none. Status words are data: a call with
// the answer 0x6982 has succeeded.
uint16_t cardbroker_answers_status_word(const cardbroker_answers *answers, size_t index);

// The exchange that the status word comes from (CARDBROKER_STATUS_WORD_SOURCE_...).
int32_t cardbroker_answers_status_word_source(const cardbroker_answers *answers, size_t index);

// The count of GET RESPONSEs that the command took, 0-256.
uint32_t cardbroker_answers_get_response_count(const cardbroker_answers *answers, size_t index);

// The time that the card and its reader worked on one command, in nanoseconds.
uint64_t cardbroker_answers_command_duration_ns(const cardbroker_answers *answers, size_t index);

// The insertion that the unit ran on; within a session the one at its opening.
const char *cardbroker_answers_insertion_id(const cardbroker_answers *answers);

// The state tag after the unit, for cardbroker_turn_options_set_if_state_tag. Empty within a
// session, where no other caller can change it.
const char *cardbroker_answers_state_tag(const cardbroker_answers *answers);

// The time that the unit waited for its turn, in nanoseconds. 0 within a session.
uint64_t cardbroker_answers_queue_duration_ns(const cardbroker_answers *answers);

// The time that the card worked on the unit, in nanoseconds.
uint64_t cardbroker_answers_card_duration_ns(const cardbroker_answers *answers);

// Whether the card was reset between the previous unit and this one, or at the start of this one.
// False within a session.
int32_t cardbroker_answers_was_reset(const cardbroker_answers *answers);

// Whether this is the stored outcome of an earlier unit with the same request id.
int32_t cardbroker_answers_replayed(const cardbroker_answers *answers);

// Wipes and frees answers. NULL is allowed. Not for those of cardbroker_error_partial.
void cardbroker_answers_free(cardbroker_answers *answers);

// Asks the broker about itself and this program, and joins the isolation group. With a connection it
// takes at most 10 s. Stores the answer in *broker, or NULL.
int32_t cardbroker_client_broker(const cardbroker_client *client,
                                 cardbroker_broker **broker,
                                 cardbroker_error **error);

// The broker's version (Semantic Versioning).
const char *cardbroker_broker_version(const cardbroker_broker *broker);

// Identifies this run of the broker; a new value means a restart without the stored outcomes.
const char *cardbroker_broker_epoch(const cardbroker_broker *broker);

// The start of this run, in nanoseconds since 1970; 0 if it is unknown.
int64_t cardbroker_broker_start_time_ns(const cardbroker_broker *broker);

// A word for an optional feature of the contract that the broker has; NULL if there is none with
// this index.
const char *cardbroker_broker_capability(const cardbroker_broker *broker, size_t index);

// A limit for this program (CARDBROKER_LIMIT_...); -1 for none.
int64_t cardbroker_broker_limit(const cardbroker_broker *broker, int32_t number);

// The user or the token of this program: user 1000, token build-7. For people.
const char *cardbroker_broker_caller_principal(const cardbroker_broker *broker);

// The process id of this program from the operating system; -1 if the broker does not know it.
int32_t cardbroker_broker_caller_process_id(const cardbroker_broker *broker);

// The number of this program's connection, from 1 in each run of the broker.
int64_t cardbroker_broker_caller_connection(const cardbroker_broker *broker);

// Whether the connection is the caller: other connections, even of this process, are other callers.
int32_t cardbroker_broker_caller_is_connection(const cardbroker_broker *broker);

// The number of this program's isolation group, from 1 in each run of the broker. 0: each call is a
// group of its own.
int64_t cardbroker_broker_caller_group(const cardbroker_broker *broker);

// Frees the description. NULL is allowed.
void cardbroker_broker_free(cardbroker_broker *broker);

// Connects to the broker. Options NULL: those of the environment. Stores the connection in *client,
// or NULL if there is none.
//
// With a default place the client stays with the first one that works; it is used only if no user
// besides this one and root decides what is there.
int32_t cardbroker_connect(const cardbroker_connect_options *options,
                           cardbroker_client **client,
                           cardbroker_error **error);

// The address of the broker, in the notation of cardbroker_connect_options_set_endpoint. It lives
// as long as the connection. NULL for NULL.
const char *cardbroker_client_endpoint(const cardbroker_client *client);

// Ends the connection's calls: cardbroker_transmit, cardbroker_open_session, cardbroker_client_readers,
// cardbroker_client_reader and cardbroker_client_broker, those in progress and every later one, fail
// with CARDBROKER_CODE_CANCELLED. The delivery of a unit in progress is UNKNOWN. Sessions and watches
// go on. Any thread may call it, and it does not wait. The handle must still be freed.
void cardbroker_client_stop(const cardbroker_client *client);

// Frees a connection. NULL is allowed. In a forked child the parent's handle is left alone.
void cardbroker_client_free(cardbroker_client *client);

// Makes an empty list of commands.
cardbroker_commands *cardbroker_commands_new(void);

// Adds an APDU of 4-65544 bytes, which are copied. The broker fetches the rest of an answer after
// 61xx, and corrects Le after 6Cxx.
int32_t cardbroker_commands_add_apdu(const cardbroker_commands *commands,
                                     const uint8_t *apdu,
                                     size_t length);

// Adds a control code for the reader or its driver, with at most 65548 bytes of data. Not
// implemented by the broker yet.
int32_t cardbroker_commands_add_control(const cardbroker_commands *commands,
                                        int64_t code,
                                        const uint8_t *data,
                                        size_t length);

// Adds a look at the reader's attribute with this tag (PC/SC part 3). Not implemented by the broker
// yet.
int32_t cardbroker_commands_add_get_attribute(const cardbroker_commands *commands, int64_t tag);

// Adds a change of the reader's attribute with this tag to a value of at most 65548 bytes. Not
// implemented by the broker yet.
int32_t cardbroker_commands_add_set_attribute(const cardbroker_commands *commands,
                                              int64_t tag,
                                              const uint8_t *value,
                                              size_t length);

// Sends the APDU exactly as given, 1-65548 bytes of any structure, and returns the answer
// unchanged: no GET RESPONSE, no correction of Le. Default: 0.
int32_t cardbroker_commands_set_raw(const cardbroker_commands *commands, int32_t raw);

// Sets the class of the GET RESPONSEs for the rest of an answer after 61xx, on the command's
// logical channel. Default: the class that the transmission protocol needs.
int32_t cardbroker_commands_set_continue_class(const cardbroker_commands *commands, uint8_t class_);

// Sets the instruction for the rest of an answer after 61xx. Default: 0, which means 0xC0 (GET
// RESPONSE).
int32_t cardbroker_commands_set_continue_instruction(const cardbroker_commands *commands,
                                                     uint8_t instruction);

// Sends a PIN although one try is left, on a reader where the broker guards the last try. Default:
// 0.
int32_t cardbroker_commands_set_allow_last_try(const cardbroker_commands *commands, int32_t allow);

// Sends a PIN although this card has refused it already. Needs the permission guard_override.
// Default: 0.
int32_t cardbroker_commands_set_allow_known_wrong(const cardbroker_commands *commands,
                                                  int32_t allow);

// Sets the status words after which the unit continues, if no pattern is given
// (CARDBROKER_STOP_RULE_...). Default: the ISO rule.
int32_t cardbroker_commands_set_stop_rule(const cardbroker_commands *commands, int32_t rule);

// Adds a pattern: the unit continues after status words with the bits of value under mask, which is
// 0x0001-0xFFFF. At most 16; with a pattern the stop rule has no effect.
int32_t cardbroker_commands_add_continue_on(const cardbroker_commands *commands,
                                            uint16_t value,
                                            uint16_t mask);

// Adds a pattern: the unit continues after exactly this status word.
int32_t cardbroker_commands_add_continue_on_exactly(const cardbroker_commands *commands,
                                                    uint16_t value);

// Wipes and frees commands. NULL is allowed.
void cardbroker_commands_free(cardbroker_commands *commands);

// Makes options with the values of the environment: the group of CARDBROKER_GROUP and the token
// file of CARDBROKER_TOKEN_FILE, if these are set.
cardbroker_connect_options *cardbroker_connect_options_new(void);

// Sets the address of the broker: unix:/path or on Windows npipe:////./pipe/NAME,
// https://HOST:PORT, http://HOST:PORT on this machine, or tcp:auto. NULL: the one in
// CARDBROKER_ENDPOINT, or else the first default place that works.
int32_t cardbroker_connect_options_set_endpoint(const cardbroker_connect_options *options,
                                                const char *endpoint);

// Sets the key of the isolation group, 1-128 visible ASCII characters. NULL: a group of this
// connection alone.
int32_t cardbroker_connect_options_set_group(const cardbroker_connect_options *options,
                                             const char *group);

// Sets the file with the token and the certificate for TCP endpoints, accessible to its owner only;
// it is read anew for each call and each connection. NULL: none.
int32_t cardbroker_connect_options_set_token_file(const cardbroker_connect_options *options,
                                                  const char *path);

// Sets the longest wait of a call for a broker that is away, in milliseconds. Default: 5000; 0
// allows one attempt.
int32_t cardbroker_connect_options_set_connect_timeout_ms(const cardbroker_connect_options *options,
                                                          uint64_t milliseconds);

// Frees options. NULL is allowed.
void cardbroker_connect_options_free(cardbroker_connect_options *options);

// The code (CARDBROKER_CODE_…), which the failed function has returned too. 0 for NULL.
int32_t cardbroker_error_code(const cardbroker_error *error);

// The problem and the next step, for people, in one line of UTF-8. NULL for NULL.
const char *cardbroker_error_message(const cardbroker_error *error);

// Whether a command without an answer may have run (CARDBROKER_DELIVERY_…). NOT_SENT: a repeat is safe. UNKNOWN: check
// the card's state before a repeat. EXECUTED: the command ran and its answer is lost. Of a stopped unit it concerns
// the command at cardbroker_error_index.
int32_t cardbroker_error_delivery(const cardbroker_error *error);

// Returns the kind of the failure (CARDBROKER_ERROR_KIND_…). 0 for NULL.
int32_t cardbroker_error_kind(const cardbroker_error *error);

// The broker's reason (CARDBROKER_ERROR_REASON_…); 0 without one. A reason newer than this library keeps its number if
// the broker sent one.
int32_t cardbroker_error_reason(const cardbroker_error *error);

// The reason's short name, such as NO_CARD; empty without one.
const char *cardbroker_error_reason_name(const cardbroker_error *error);

// Whether every repeat of the same request fails again.
int32_t cardbroker_error_is_permanent(const cardbroker_error *error);

// The pause before a retry in nanoseconds; -1 if a pause does not help.
int64_t cardbroker_error_retry_after_ns(const cardbroker_error *error);

// The name of the policy rule that denies the request; empty if no rule does.
const char *cardbroker_error_rule(const cardbroker_error *error);

// Why the broker has revoked the session (CARDBROKER_REVOCATION_CAUSE_…); 0 if it has not.
int32_t cardbroker_error_cause(const cardbroker_error *error);

// The reader concerned, readers/{id}; empty if there is none.
const char *cardbroker_error_reader(const cardbroker_error *error);

// The number of tries that the card has left for a PIN that the broker withholds, 1-255, with PIN_KNOWN_WRONG and
// PIN_LAST_TRY; -1 if it is unknown, and for other errors.
int32_t cardbroker_error_tries_left(const cardbroker_error *error);

// The number of the request's fields that break a rule of the contract.
size_t cardbroker_error_violation_count(const cardbroker_error *error);

// The path of such a field, such as commands[3].apdu.bytes; NULL if there is none with this index.
const char *cardbroker_error_violation_field(const cardbroker_error *error, size_t index);

// The broken rule, for people; NULL if there is none with this index.
const char *cardbroker_error_violation_description(const cardbroker_error *error, size_t index);

// Of a stopped unit: the index of the first command without a complete answer. 0 for other errors.
size_t cardbroker_error_index(const cardbroker_error *error);

// Of a stopped unit: the answers before the stop, which live as long as the error. NULL for other errors.
const cardbroker_answers *cardbroker_error_partial(const cardbroker_error *error);

// Frees an error. NULL is allowed.
void cardbroker_error_free(cardbroker_error *error);

// Adds a command that asks for a PIN at the reader's own keys and sends it to the card: the command
// APDU with filler bytes in place of the PIN, and CARDBROKER_PIN_PAD_OPERATION_VERIFY or _MODIFY.
// Not implemented by the broker yet.
int32_t cardbroker_commands_add_pin_pad(const cardbroker_commands *commands,
                                        const uint8_t *apdu_template,
                                        size_t length,
                                        int32_t operation);

// Sets the encoding of the PIN (CARDBROKER_PIN_ENCODING_...). Default: ASCII.
int32_t cardbroker_commands_set_pin_encoding(const cardbroker_commands *commands, int32_t encoding);

// Sets the offset of the PIN in the template's data field, in bytes. Default: 0.
int32_t cardbroker_commands_set_pin_offset(const cardbroker_commands *commands, uint16_t bytes);

// Sets the length of the PIN block in bytes. Default: 0, the length of the PIN.
int32_t cardbroker_commands_set_pin_block_length(const cardbroker_commands *commands,
                                                 uint16_t bytes);

// Sets the smallest and the largest number of digits. Default: 0 and 0, the reader's own.
int32_t cardbroker_commands_set_pin_digits(const cardbroker_commands *commands,
                                           uint16_t min,
                                           uint16_t max);

// Sets the longest pause between two keys, in milliseconds. Default: the reader's own.
int32_t cardbroker_commands_set_pin_key_timeout_ms(const cardbroker_commands *commands,
                                                   uint64_t milliseconds);

// Lists all readers that this program may see. With a connection it takes at most 10 s. Stores the
// list in *readers, or NULL.
int32_t cardbroker_client_readers(const cardbroker_client *client,
                                  cardbroker_readers **readers,
                                  cardbroker_error **error);

// Gets the current state of one reader, given by its name readers/{id}, its id or its display name.
// With a connection it takes at most 20 s. Stores it in *found, or NULL; it is freed by
// cardbroker_reader_free.
int32_t cardbroker_client_reader(const cardbroker_client *client,
                                 const char *reader,
                                 cardbroker_reader **found,
                                 cardbroker_error **error);

// The number of readers in a list.
size_t cardbroker_readers_count(const cardbroker_readers *readers);

// A reader of a list, which lives as long as the list; NULL if there is none with this index.
const cardbroker_reader *cardbroker_readers_get(const cardbroker_readers *readers, size_t index);

// Frees a list of readers, with the readers in it. NULL is allowed.
void cardbroker_readers_free(cardbroker_readers *readers);

// Frees a reader of cardbroker_client_reader, not one of a list or an event. NULL is allowed.
void cardbroker_reader_free(cardbroker_reader *reader);

// The resource name, readers/{id}, stable while the broker runs. NULL for NULL, as all texts.
const char *cardbroker_reader_name(const cardbroker_reader *reader);

// The reader's PC/SC name, for people.
const char *cardbroker_reader_display_name(const cardbroker_reader *reader);

// The state of the reader and its card (CARDBROKER_READER_STATE_...).
int32_t cardbroker_reader_state(const cardbroker_reader *reader);

// The card's answer to reset; its length, 2-33, goes to *length. Length 0 without a card or without
// its answer.
const uint8_t *cardbroker_reader_atr(const cardbroker_reader *reader, size_t *length);

// The protocol with the card (CARDBROKER_CARD_PROTOCOL_...); 0 unless the state is READY.
int32_t cardbroker_reader_active_protocol(const cardbroker_reader *reader);

// Identifies this insertion of this card; empty without a card. To be compared for equality only.
const char *cardbroker_reader_insertion_id(const cardbroker_reader *reader);

// The count of insertions in this reader since the broker started, for people.
int64_t cardbroker_reader_insertion_count(const cardbroker_reader *reader);

// Waits for the turn and takes a lease on the card in the reader. Options NULL: the defaults. Stores
// the session in *session, or NULL.
int32_t cardbroker_open_session(const cardbroker_client *client,
                                const char *reader,
                                const cardbroker_turn_options *options,
                                cardbroker_session **session,
                                cardbroker_error **error);

// Runs the commands in order up to the first stop; restart is one of CARDBROKER_RESTART_.... No
// command of another call runs between them. Stores the answers in *answers, or NULL.
//
// After a failed call the session remains usable while cardbroker_session_is_open returns 1.
int32_t cardbroker_session_transmit(const cardbroker_session *session,
                                    const cardbroker_commands *commands,
                                    int32_t restart,
                                    cardbroker_answers **answers,
                                    cardbroker_error **error);

// Resets the card, CARDBROKER_CARD_RESET_WARM or _COLD; restart is one of CARDBROKER_RESTART_....
// Stores the new answer to reset in the array atr of capacity bytes, as far as it fits, and its
// length, 2-33, in *length, or 0 after a failure. Both may be NULL.
int32_t cardbroker_session_reset(const cardbroker_session *session,
                                 int32_t reset,
                                 int32_t restart,
                                 uint8_t *atr,
                                 size_t capacity,
                                 size_t *length,
                                 cardbroker_error **error);

// Ends the session in order: calls in progress are answered, then the card is treated by
// cardbroker_turn_options_set_disposition. Returns when the broker has confirmed it. The handle must
// still be freed.
int32_t cardbroker_session_close(const cardbroker_session *session,
                                 cardbroker_error **error);

// Ends the session at once and resets the card; calls in progress fail. Any thread may call it, but
// no signal handler: it returns when the session's calls have returned. The handle must still be
// freed.
void cardbroker_session_abort(const cardbroker_session *session);

// Whether calls can still succeed, as far as this program knows. 0 in a forked child.
int32_t cardbroker_session_is_open(const cardbroker_session *session);

// The number of callers that wait for the card, as last reported by the broker.
uint32_t cardbroker_session_waiters(const cardbroker_session *session);

// The insertion at the session's opening.
const char *cardbroker_session_insertion_id(const cardbroker_session *session);

// The state tag at the start of the session.
const char *cardbroker_session_state_tag(const cardbroker_session *session);

// The card's answer to reset at the start of the session; its length goes to *length.
const uint8_t *cardbroker_session_atr(const cardbroker_session *session, size_t *length);

// The time that the session waited for its turn, in nanoseconds.
uint64_t cardbroker_session_queue_duration_ns(const cardbroker_session *session);

// Whether the card was reset between the previous turn and this one, or at the start of this one.
int32_t cardbroker_session_was_reset(const cardbroker_session *session);

// Frees a session. Without cardbroker_session_close it ends at once, and the card is reset. NULL is
// allowed. In a forked child the parent's handle is left alone.
void cardbroker_session_free(cardbroker_session *session);

// Runs the commands on the card in the reader as one unit: no other caller's command runs between
// them. Options NULL: the defaults. Stores the answers in *answers, or NULL.
//
// The reader is given by its name readers/{id}, its id or its display name. If the unit ends early,
// the error is of the kind CARDBROKER_ERROR_KIND_STOPPED and has the answers before the stop.
int32_t cardbroker_transmit(const cardbroker_client *client,
                            const char *reader,
                            const cardbroker_commands *commands,
                            const cardbroker_turn_options *options,
                            cardbroker_answers **answers,
                            cardbroker_error **error);

// The meaning of a status word by ISO/IEC 7816-4, for people; NULL if it has none. To be freed by
// cardbroker_text_free.
char *cardbroker_status_word_meaning(uint16_t status_word);

// Frees a text of cardbroker_status_word_meaning. NULL is allowed.
void cardbroker_text_free(char *text);

// Makes options with the defaults.
cardbroker_turn_options *cardbroker_turn_options_new(void);

// Sets the longest wait for the turn, in milliseconds, at most 24 h. 0: the turn begins at once or
// fails. Default: 30 s.
int32_t cardbroker_turn_options_set_wait_timeout_ms(const cardbroker_turn_options *options,
                                                    uint64_t milliseconds);

// Sets whether the turn fails at once without a usable card (CARDBROKER_CARD_REQUIREMENT_REQUIRED,
// the default) or waits for one up to the wait timeout (..._AWAITED).
int32_t cardbroker_turn_options_set_card(const cardbroker_turn_options *options,
                                         int32_t requirement);

// Fails, not sent, unless the card is still in this insertion (cardbroker_reader_insertion_id).
// Empty, the default: any.
int32_t cardbroker_turn_options_set_if_insertion_id(const cardbroker_turn_options *options,
                                                    const char *insertion_id);

// Fails, not sent, if the card was used or reset since this state tag
// (cardbroker_answers_state_tag). Empty, the default: any.
int32_t cardbroker_turn_options_set_if_state_tag(const cardbroker_turn_options *options,
                                                 const char *state_tag);

// Fails, not sent, if the card may hold security state of any caller, this one included, such as a
// verified PIN. Default: 0.
int32_t cardbroker_turn_options_set_if_not_raised(const cardbroker_turn_options *options,
                                                  int32_t if_not_raised);

// Sets the reset of the card before the first command (CARDBROKER_CARD_RESET_...). Default: none.
int32_t cardbroker_turn_options_set_reset_before(const cardbroker_turn_options *options,
                                                 int32_t reset);

// Sets the treatment of the card after a unit's last command that runs, or after
// cardbroker_session_close (CARDBROKER_DISPOSITION_...). Default: LEAVE for a unit, RESET for a
// session.
int32_t cardbroker_turn_options_set_disposition(const cardbroker_turn_options *options,
                                                int32_t disposition);

// Of a unit: sets the deadline of the whole call, in milliseconds from its beginning, at most 48 h.
// Default: the wait and 150 s for the card. A unit that has begun runs on after it, and its
// delivery is UNKNOWN.
int32_t cardbroker_turn_options_set_deadline_ms(const cardbroker_turn_options *options,
                                                uint64_t milliseconds);

// Of a unit: makes a repeat safe: a second unit with the same id (16-64 random bytes) gets the
// outcome of the first. Length 0, the default: no id.
int32_t cardbroker_turn_options_set_request_id(const cardbroker_turn_options *options,
                                               const uint8_t *id,
                                               size_t length);

// Of a unit: repeats it by itself if the connection is lost before its outcome is known, at most 3
// times, under one request id and on one insertion: the broker executes it once. Default: 0.
int32_t cardbroker_turn_options_set_repeatable(const cardbroker_turn_options *options,
                                               int32_t repeatable);

// Of a unit: lets a repeat run on any card; a restarted broker may then execute the unit again.
// Default: 0.
int32_t cardbroker_turn_options_set_any_card(const cardbroker_turn_options *options,
                                             int32_t any_card);

// Of a session: sets the idle time in milliseconds, 0.1 s-60 s, after which the broker revokes it
// while others wait. Default: 10 s.
int32_t cardbroker_turn_options_set_idle_timeout_ms(const cardbroker_turn_options *options,
                                                    uint64_t milliseconds);

// Frees options. NULL is allowed.
void cardbroker_turn_options_free(cardbroker_turn_options *options);

// Makes a watch of this program's waiting requests at a reader. NULL: at all readers. Stores it in
// *watch, or NULL.
int32_t cardbroker_client_watch_turn(const cardbroker_client *client,
                                     const char *reader,
                                     cardbroker_turn_watch **watch,
                                     cardbroker_error **error);

// Waits for the waiting requests, which come at once and after each change, at most this time in
// milliseconds; negative: without limit. Stores them in *turns, or NULL: the time is over, or the
// watch was stopped. After an error the next call opens the watch again.
int32_t cardbroker_turn_watch_next(const cardbroker_turn_watch *watch,
                                   int64_t timeout_ms,
                                   cardbroker_turns **turns,
                                   cardbroker_error **error);

// Ends the watch: a waiting cardbroker_turn_watch_next and every later one has nothing. Any thread
// may call it. The handle must still be freed.
void cardbroker_turn_watch_stop(const cardbroker_turn_watch *watch);

// Whether the watch was stopped.
int32_t cardbroker_turn_watch_is_stopped(const cardbroker_turn_watch *watch);

// Frees a watch. NULL is allowed. In a forked child the parent's handle is left alone.
void cardbroker_turn_watch_free(cardbroker_turn_watch *watch);

// The number of waiting requests.
size_t cardbroker_turns_count(const cardbroker_turns *turns);

// The name of the reader at which a request waits, readers/{id}.
const char *cardbroker_turns_reader(const cardbroker_turns *turns, size_t index);

// Whether a request opens a session; otherwise it runs a unit.
int32_t cardbroker_turns_is_session(const cardbroker_turns *turns, size_t index);

// The number of turns ahead of a request, an estimate.
uint32_t cardbroker_turns_ahead_count(const cardbroker_turns *turns, size_t index);

// The arrival time of a request, in nanoseconds since 1970; 0 if it is unknown.
int64_t cardbroker_turns_arrive_time_ns(const cardbroker_turns *turns, size_t index);

// The end of a request's wait, in nanoseconds since 1970; 0 if it is unknown.
int64_t cardbroker_turns_deadline_time_ns(const cardbroker_turns *turns, size_t index);

// Whether somebody has the turn at the reader.
int32_t cardbroker_turns_has_holder(const cardbroker_turns *turns, size_t index);

// Whether the turn in progress belongs to this program.
int32_t cardbroker_turns_holder_is_own(const cardbroker_turns *turns, size_t index);

// Whether the turn in progress is a session; otherwise it is a unit.
int32_t cardbroker_turns_holder_is_session(const cardbroker_turns *turns, size_t index);

// The start of the turn in progress, in nanoseconds since 1970; 0 if it is unknown.
int64_t cardbroker_turns_holder_begin_time_ns(const cardbroker_turns *turns, size_t index);

// Frees a list of waiting requests. NULL is allowed.
void cardbroker_turns_free(cardbroker_turns *turns);

// The version of the library (Semantic Versioning): "0.1.0".
const char *cardbroker_version(void);

// The number of the library's ABI: a program that loads the library at run time compares it with CARDBROKER_ABI.
uint32_t cardbroker_abi(void);

// Makes a watch of all readers. Stores it in *watch, or NULL.
int32_t cardbroker_client_watch(const cardbroker_client *client,
                                cardbroker_watch **watch,
                                cardbroker_error **error);

// Waits for the next event, at most this time in milliseconds; negative: without limit. Stores it in
// *event, or NULL without an event: the time is over, or the watch was stopped.
//
// 90 s of silence count as a lost connection. The pauses between attempts to connect grow from 0.1 s
// to 5 s.
int32_t cardbroker_watch_next(const cardbroker_watch *watch,
                              int64_t timeout_ms,
                              cardbroker_event **event,
                              cardbroker_error **error);

// Ends the watch: a waiting cardbroker_watch_next and every later one has no event. Any thread may
// call it. The handle must still be freed.
void cardbroker_watch_stop(const cardbroker_watch *watch);

// Whether the watch was stopped.
int32_t cardbroker_watch_is_stopped(const cardbroker_watch *watch);

// Frees a watch. NULL is allowed. In a forked child the parent's handle is left alone.
void cardbroker_watch_free(cardbroker_watch *watch);

// The kind of an event (CARDBROKER_EVENT_KIND_...). 0 for NULL.
int32_t cardbroker_event_kind(const cardbroker_event *event);

// The reader of an event, which lives as long as the event. NULL for CONNECTED and DISCONNECTED.
const cardbroker_reader *cardbroker_event_reader(const cardbroker_event *event);

// The error of an event, which lives as long as the event. NULL unless DISCONNECTED.
const cardbroker_error *cardbroker_event_error(const cardbroker_event *event);

// Frees an event. NULL is allowed.
void cardbroker_event_free(cardbroker_event *event);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CARDBROKER_H */
