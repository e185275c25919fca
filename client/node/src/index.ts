/** Client of Cardbroker: find readers, run APDUs on their cards as units, follow what happens to them. */

export { CardProtocol, type Reader, ReaderState } from "../gen/cardbroker/v1/reader.js";
export { StatusWordSource } from "../gen/cardbroker/v1/transmit.js";
export { Client, type ConnectOptions } from "./client.js";
export type { Command, DetailedCommand } from "./command.js";
export {
  CallError,
  CardbrokerError,
  type Delivery,
  EndpointError,
  type ErrorReason,
  NotRunningError,
  StoppedError,
  TokenFileError,
} from "./error.js";
export type { CommandResult, Transmitted } from "./response.js";
export type { Session, SessionOptions, SessionTransmitOptions } from "./session.js";
export type { TransmitOptions } from "./transmit.js";
export type { Watch, WatchEvent } from "./watch.js";
