/** Commands for a card or its reader, and the rule by which a unit continues after each. */

import {
  PinEncoding as WireEncoding,
  PinPadOperation as WireOperation,
  StopRule as WireStopRule,
  Command as WireCommand,
} from "../gen/cardbroker/v1/command.js";
import { invalid } from "./error.js";
import { fromWord, toDuration } from "./input.js";
import type { Word } from "./words.js";

const MIN_APDU_BYTES = 4;
const MAX_APDU_BYTES = 65_544;
const MAX_RAW_BYTES = 65_548;
const MAX_COMMANDS = 64;
const MAX_MESSAGE_BYTES = 1 << 20;

/**
 * A command: the bytes of its APDU, or an object with an action. The package copies the bytes at once, so the caller
 * may wipe them.
 */
export type Command =
  Uint8Array | ApduCommand | ControlCommand | GetAttributeCommand | SetAttributeCommand | PinPadCommand;

/**
 * The status words after which a unit continues. Without a rule: 9000, 9100, 91AF, 9Fxx, 61xx, 62xx and 63xx except
 * 6300 and 63Cx. `SIM`: also 91xx and 920x. `ANY`: all. `ONLY_9000`: 9000 only.
 */
export type StopRule = Word<typeof WireStopRule>;

/** The rule by which a unit continues after a command. */
export interface Continuation {
  /**
   * The unit continues after these status words: exact ones, or all with the bits of `value` under `mask`
   * (0x0001–0xFFFF, default 0xFFFF). At most 16. Default: `stopRule` decides.
   */
  continueOn?: readonly (number | { value: number; mask?: number })[];
  /** The rule for an empty `continueOn`. Default: the rule without a name, see {@link StopRule}. */
  stopRule?: StopRule;
}

/** Sends an APDU to the card. */
export interface ApduCommand extends Continuation {
  /** The command APDU, 4–65,544 bytes; with `raw` 1–65,548 bytes of any structure. */
  apdu: Uint8Array;
  /** Sends the bytes exactly as given and returns the answer unchanged: no GET RESPONSE, no correction of Le. */
  raw?: boolean;
  /**
   * The class of the GET RESPONSEs for the rest of an answer, 0–255. Default: the class that the transmission protocol
   * needs.
   */
  continueClass?: number;
  /** The instruction for the rest of an answer after 61xx, 1–255. Default: 0xC0, GET RESPONSE. */
  continueInstruction?: number;
  /** Sends a PIN although one try is left, on a reader where the broker guards the last try. */
  allowLastTry?: boolean;
  /** Sends a PIN although this card has refused it already. Needs the permission `guard_override`. */
  allowKnownWrong?: boolean;
}

/** Sends a control code to the reader or its driver (SCardControl). Not implemented yet by the broker. */
export interface ControlCommand extends Continuation {
  /** The platform's PC/SC control code, and at most 65,548 bytes of data. */
  control: { code: number; data?: Uint8Array };
}

/** Reads an attribute of the reader (SCardGetAttrib). Not implemented yet by the broker. */
export interface GetAttributeCommand extends Continuation {
  /** The attribute's tag (PC/SC part 3). */
  getAttribute: { tag: number };
}

/** Sets an attribute of the reader (SCardSetAttrib). Not implemented yet by the broker. */
export interface SetAttributeCommand extends Continuation {
  /** The attribute's tag (PC/SC part 3) and its value, at most 65,548 bytes. */
  setAttribute: { tag: number; value: Uint8Array };
}

/**
 * Reads a PIN at the reader's own keys and sends it to the card (PC/SC part 10). Not implemented yet by the broker.
 */
export interface PinPadCommand extends Continuation {
  /** The options of the PIN entry and the APDU to send. */
  pinPad: {
    /** The command APDU, with filler bytes in place of the PIN. */
    template: Uint8Array;
    /** `VERIFY` reads one PIN, `MODIFY` the old and the new PIN. */
    operation: Word<typeof WireOperation>;
    /** The encoding of the PIN in the template. Default: ASCII. */
    encoding?: Word<typeof WireEncoding>;
    /** The offset of the PIN in the template's data field, in bytes. Default: 0. */
    pinOffset?: number;
    /** The length of the PIN block in bytes. Default: the length of the PIN. */
    pinBlockLength?: number;
    /** The smallest number of digits. Default: the reader's own. */
    minDigits?: number;
    /** The largest number of digits. Default: the reader's own. */
    maxDigits?: number;
    /** The longest pause between two keys, in ms. Default: the reader's own. */
    keyTimeout?: number;
  };
}

/**
 * Converts the commands of one unit.
 *
 * @throws {@link InvalidError} for no or too many commands and for an invalid length, which the broker would refuse
 * too.
 */
export function toWire(commands: Iterable<Command>): WireCommand[] {
  const wire = Array.from(commands, (command, index) => one(command, `commands[${index}]`));
  if (wire.length === 0 || wire.length > MAX_COMMANDS) {
    throw invalid("commands", `${wire.length} commands: a unit has 1 to ${MAX_COMMANDS}`);
  }
  return wire;
}

/**
 * Refuses a message that cannot be encoded, or is too long for the broker with `envelope` bytes around it.
 *
 * @throws {@link InvalidError} in both cases.
 */
export function checkMessage(encode: () => { finish(): Uint8Array }, envelope = 0): void {
  let length;
  try {
    length = encode().finish().length;
  } catch (error) {
    // The encoder's messages contain only numbers that do not fit their types.
    throw invalid("request", error instanceof Error ? error.message : "the request cannot be written");
  }
  if (length + envelope > MAX_MESSAGE_BYTES) {
    throw invalid("commands", "the commands together are longer than 1 MiB: send fewer in one unit");
  }
}

function one(command: Command, field: string): WireCommand {
  if (typeof command !== "object" || command === null) {
    throw invalid(field, `${field}: an APDU is a Uint8Array`);
  }
  const detailed = command instanceof Uint8Array ? { apdu: command } : command;
  const wire = WireCommand.fromPartial({ action: action(detailed, field) });
  wire.continueOn = (detailed.continueOn ?? []).map((word) =>
    typeof word === "number" ? { value: word, mask: undefined } : { value: word.value, mask: word.mask },
  );
  wire.stopRule = fromWord(WireStopRule, detailed.stopRule, `${field}.stop_rule`);
  return wire;
}

function action(command: Exclude<Command, Uint8Array>, field: string): WireCommand["action"] {
  if ("apdu" in command) {
    const bytes = copy(command.apdu, `${field}.apdu.bytes`);
    const { raw = false, continueClass, continueInstruction = 0 } = command;
    const [least, most] = raw ? [1, MAX_RAW_BYTES] : [MIN_APDU_BYTES, MAX_APDU_BYTES];
    if (bytes.length < least || bytes.length > most) {
      const what = raw ? "a raw command" : "an APDU";
      throw invalid(`${field}.apdu.bytes`, `${field}: ${bytes.length} bytes: ${what} has ${least} to ${most}`);
    }
    const { allowLastTry = false, allowKnownWrong = false } = command;
    const value = { bytes, raw, continueClass, continueInstruction, allowLastTry, allowKnownWrong };
    return { $case: "apdu", value };
  }
  if ("control" in command) {
    const { code, data } = command.control;
    return { $case: "control", value: { code, data: copy(data ?? Buffer.alloc(0), `${field}.control.data`) } };
  }
  if ("getAttribute" in command) {
    return { $case: "getAttribute", value: { tag: command.getAttribute.tag } };
  }
  if ("setAttribute" in command) {
    const { tag, value } = command.setAttribute;
    return { $case: "setAttribute", value: { tag, value: copy(value, `${field}.set_attribute.value`) } };
  }
  if ("pinPad" in command) {
    return { $case: "pinPad", value: pinPad(command, `${field}.pin_pad`) };
  }
  throw invalid(
    `${field}.action`,
    `${field}: has no action: give bytes, apdu, control, getAttribute, setAttribute or pinPad`,
  );
}

function pinPad({ pinPad }: PinPadCommand, field: string) {
  const { pinOffset = 0, pinBlockLength = 0, minDigits = 0, maxDigits = 0, keyTimeout } = pinPad;
  return {
    template: copy(pinPad.template, `${field}.template`),
    operation: fromWord(WireOperation, pinPad.operation, `${field}.operation`),
    encoding: fromWord(WireEncoding, pinPad.encoding, `${field}.encoding`),
    pinOffset,
    pinBlockLength,
    minDigits,
    maxDigits,
    keyTimeout: keyTimeout === undefined ? undefined : toDuration(keyTimeout, `${field}.key_timeout`),
  };
}

function copy(bytes: Uint8Array, field: string): Buffer {
  if (!(bytes instanceof Uint8Array)) {
    throw invalid(field, `${field}: not a Uint8Array`);
  }
  return Buffer.from(bytes);
}
