/** The clock of this package: monotonic, so that a step of the system's time changes no deadline. */

/** The time since the start of the program, in ms. */
export function now(): number {
  return performance.now();
}

/** The deadline of a gRPC call that ends at `end` by {@link now}; gRPC takes the system's time only. */
export function grpcDeadline(end: number): number {
  return Date.now() + Math.max(0, end - now());
}
