/** Client of Cardbroker: lists readers, runs commands on their cards as units, and follows readers and cards. */

export type { BrokerInfo, BrokerLimits, CallerInfo } from "./broker.js";
export { Client, type ConnectOptions, type QueryOptions, type WatchTurnOptions } from "./client.js";
export type {
  ApduCommand,
  Command,
  Continuation,
  ControlCommand,
  GetAttributeCommand,
  PinPadCommand,
  SetAttributeCommand,
  StopRule,
} from "./command.js";
export { type Endpoint, parseEndpoint } from "./endpoint.js";
export {
  CardbrokerError,
  type Delivery,
  type ErrorKind,
  type ErrorReason,
  FailedError,
  type Failure,
  type FieldViolation,
  InvalidError,
  NotRunningError,
  type RevocationCause,
  type TriedEndpoint,
} from "./error.js";
export { type Card, CardEvents, type CardEventsMap, CardReader, type CardReaderEvents } from "./events.js";
export type { Finding } from "./places.js";
export type { CardProtocol, Reader, ReaderName, ReaderState } from "./reader.js";
export { type CommandResult, type StatusWordSource, StoppedError, type Transmitted } from "./response.js";
export type { Session, SessionMessageOptions, SessionOptions } from "./session.js";
export { meaning } from "./status_word.js";
export type { TransmitOptions } from "./transmit.js";
export type { CardRequirement, CardReset, Disposition, TurnHolder, TurnOptions, WaitingTurn } from "./turn.js";
export type { Watch, WatchEvent } from "./watch.js";
