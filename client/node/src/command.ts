/** Commands: one APDU each, and how a unit goes on after it. */

import { Command as WireCommand } from "../gen/cardbroker/v1/transmit.js";
import { invalid } from "./error.js";

const MIN_APDU_BYTES = 4;
const MAX_APDU_BYTES = 65_544;
const MAX_COMMANDS = 64;
const MAX_MESSAGE_BYTES = 1 << 20;

/** A command: the bytes of its APDU, or these with how the unit goes on after it. */
export type Command = Uint8Array | DetailedCommand;

/** A command APDU and how the unit goes on after it. */
export interface DetailedCommand {
  /** The command APDU, 4–65,544 bytes. */
  apdu: Uint8Array;
  /**
   * The unit goes on after these status words: an exact one, or all that agree with `value` in the bits of `mask`. At most
   * 16. Default: 9000, 61xx, 62xx and 63xx except 63Cx.
   */
  continueOn?: readonly (number | { value: number; mask: number })[];
  /** The instruction that fetches the rest of an answer after 61xx, 1–255. Default: 0xC0, GET RESPONSE. */
  continueInstruction?: number;
}

/**
 * The commands of one unit as they go to the broker. Throws as the broker would refuse them: none, too many, or one of a
 * length that no APDU has.
 */
export function toWire(commands: Iterable<Command>): WireCommand[] {
  const wire = Array.from(commands, (command, index) => {
    const { apdu, continueOn, continueInstruction }: DetailedCommand =
      command instanceof Uint8Array ? { apdu: command } : command;
    if (!(apdu instanceof Uint8Array)) {
      throw invalid(`command ${index + 1}: an APDU is a Uint8Array`);
    }
    if (apdu.length < MIN_APDU_BYTES || apdu.length > MAX_APDU_BYTES) {
      const range = `an APDU has ${MIN_APDU_BYTES} to ${MAX_APDU_BYTES}`;
      throw invalid(`command ${index + 1}: ${apdu.length} bytes: ${range}`);
    }
    return WireCommand.create({
      // A copy: the caller may wipe its own at once.
      apdu: Buffer.from(apdu),
      continueOn: continueOn?.map((word) => (typeof word === "number" ? { value: word } : word)),
      continueInstruction,
    });
  });
  if (wire.length === 0 || wire.length > MAX_COMMANDS) {
    throw invalid(`${wire.length} commands: a unit has 1 to ${MAX_COMMANDS}`);
  }
  return wire;
}

/** Refuses a message that is too long for the broker. */
export function checkLength(bytes: number): void {
  if (bytes > MAX_MESSAGE_BYTES) {
    throw invalid("the commands together are longer than 1 MiB: send fewer in one unit");
  }
}
