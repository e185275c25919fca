/**
 * Converts between the conformance kit's JSON (of protobuf, with the names of the `.proto` files) and the public API's
 * options and results.
 */

import type {
  BrokerInfo,
  CardReset,
  Command,
  CommandResult,
  Continuation,
  Failure,
  Reader,
  Session,
  Transmitted,
  TurnOptions,
} from "cardbroker";

/** JSON of the kit, which the kit's runner checks. */
export type Json = any;

/** The API's word for an enumeration's value; the caller chooses its type. */
export function word<W extends string>(prefix: string, name: string | undefined): W | undefined {
  const short = name?.replace(`${prefix}_`, "");
  return short === "UNSPECIFIED" ? undefined : (short as W | undefined);
}

/** The enumeration's value for a word; a number is a value that the client does not know. */
function named(prefix: string, word: string | number | undefined): string | number | undefined {
  return typeof word === "string" ? `${prefix}_${word}` : word;
}

/** Converts `"1.500s"` to ms. */
export function milliseconds(duration: string | undefined): number | undefined {
  return duration === undefined ? undefined : Number(duration.replace("s", "")) * 1000;
}

function duration(milliseconds: number | undefined): string | undefined {
  return milliseconds === undefined ? undefined : `${(milliseconds / 1000).toFixed(9)}s`;
}

function bytes(base64: string | undefined): Buffer {
  return Buffer.from(base64 ?? "", "base64");
}

export function termsFromJson(turn: Json = {}): TurnOptions {
  return {
    waitTimeout: milliseconds(turn.wait_timeout),
    card: word("CARD_REQUIREMENT", turn.card),
    ifInsertionId: turn.if_insertion_id,
    ifStateTag: turn.if_state_tag,
    ifNotRaised: turn.if_not_raised,
    resetBefore: word("CARD_RESET", turn.reset_before),
  };
}

export function resetFromJson(reset: string): Exclude<CardReset, "NONE"> | undefined {
  return word("CARD_RESET", reset);
}

export function commandsFromJson(commands: Json[] = []): Command[] {
  return commands.map((command) => ({ ...continuation(command), ...action(command) }));
}

function continuation({ continue_on: words, stop_rule: rule }: Json): Continuation {
  return {
    continueOn: words?.map(({ value = 0, mask }: Json) => ({ value, mask })),
    stopRule: word("STOP_RULE", rule),
  };
}

function action({ apdu, control, get_attribute, set_attribute, pin_pad }: Json): Command {
  if (control) {
    return { control: { code: Number(control.code ?? 0), data: bytes(control.data) } };
  }
  if (get_attribute) {
    return { getAttribute: { tag: Number(get_attribute.tag ?? 0) } };
  }
  if (set_attribute) {
    return { setAttribute: { tag: Number(set_attribute.tag ?? 0), value: bytes(set_attribute.value) } };
  }
  if (pin_pad) {
    return {
      pinPad: {
        template: bytes(pin_pad.template),
        operation: word("PIN_PAD_OPERATION", pin_pad.operation) ?? "VERIFY",
        encoding: word("PIN_ENCODING", pin_pad.encoding),
        pinOffset: pin_pad.pin_offset,
        pinBlockLength: pin_pad.pin_block_length,
        minDigits: pin_pad.min_digits,
        maxDigits: pin_pad.max_digits,
        keyTimeout: milliseconds(pin_pad.key_timeout),
      },
    };
  }
  return {
    apdu: bytes(apdu.bytes),
    raw: apdu.raw,
    continueClass: apdu.continue_class,
    continueInstruction: apdu.continue_instruction,
    allowLastTry: apdu.allow_last_try,
    allowKnownWrong: apdu.allow_known_wrong,
  };
}

export function brokerToJson({ version, epoch, startTime, capabilities, limits, caller }: BrokerInfo): Json {
  return {
    version,
    epoch,
    start_time: startTime,
    capabilities,
    limits: {
      max_message_bytes: limits.maxMessageBytes,
      max_commands: limits.maxCommands,
      max_session_messages: limits.maxSessionMessages,
      max_waiting_per_caller: limits.maxWaitingPerCaller,
      max_waiting_per_reader: limits.maxWaitingPerReader,
      max_outcomes_per_user: limits.maxOutcomesPerUser,
      outcome_lifetime: duration(limits.outcomeLifetime),
      max_contended_lease: duration(limits.maxContendedLease),
      turn_quantum: limits.turnQuantum === undefined ? undefined : duration(limits.turnQuantum),
      max_contended_unit: duration(limits.maxContendedUnit),
    },
    caller: {
      principal: caller.principal,
      process_id: caller.processId,
      connection: caller.connection,
      is_connection: caller.isConnection,
      group: caller.group,
    },
  };
}

export function readerToJson(reader: Reader): Json {
  return {
    name: reader.name,
    display_name: reader.displayName,
    state: named("READER_STATE", reader.state),
    atr: reader.atr.toString("base64"),
    active_protocol: named("CARD_PROTOCOL", reader.activeProtocol),
    insertion_id: reader.insertionId,
    insertion_count: reader.insertionCount,
  };
}

export function sessionToJson({ insertionId, stateTag, atr, queueDuration, wasReset }: Session): Json {
  return {
    insertion_id: insertionId,
    state_tag: stateTag,
    atr: atr.toString("base64"),
    queue_duration: duration(queueDuration),
    was_reset: wasReset,
  };
}

export function transmittedToJson(transmitted: Transmitted): Json {
  return {
    results: transmitted.results.map(resultToJson),
    insertion_id: transmitted.insertionId,
    state_tag: transmitted.stateTag,
    queue_duration: duration(transmitted.queueDuration),
    card_duration: duration(transmitted.cardDuration),
    was_reset: transmitted.wasReset,
    replayed: transmitted.replayed,
  };
}

/** The part of a unit's outcome that the broker reports within a session. */
export function within({ results, card_duration }: Json): Json {
  return { results, card_duration };
}

function resultToJson(result: CommandResult): Json {
  const data = result.data.toString("base64");
  const statusWord = { status_word: result.statusWord };
  const outcome = {
    apdu: {
      data,
      ...statusWord,
      status_word_source: named("STATUS_WORD_SOURCE", result.statusWordSource),
      get_response_count: result.getResponseCount,
    },
    control: { data },
    attribute: { value: data },
    pinPad: statusWord,
  };
  const { kind } = result;
  return {
    ...(kind && { [kind === "pinPad" ? "pin_pad" : kind]: outcome[kind] }),
    card_duration: duration(result.cardDuration),
  };
}

export function failureToJson(failure: Failure): Json {
  const { reason, delivery, cause, fieldViolations, retryAfter, triesLeft, ...rest } = failure;
  return {
    ...rest,
    reason: named("ERROR_REASON", reason),
    delivery: named("DELIVERY", delivery),
    retry_after: duration(retryAfter),
    cause: named("REVOCATION_CAUSE", cause),
    field_violations: fieldViolations,
    tries_left: triesLeft,
  };
}
