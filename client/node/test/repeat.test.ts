/** The time within which a unit is repeated, on a connection that the test simulates. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

import { GetBrokerResponse } from "../gen/cardbroker/v1/broker.js";
import { TransmitResponse } from "../gen/cardbroker/v1/transmit.js";
import type { Connection } from "../src/connection.js";
import { FailedError } from "../src/index.js";
import { transmit } from "../src/transmit.js";
import { fails } from "./fails.js";

/** The time for which the simulated broker keeps outcomes, in ms; repeats end after half of it. */
const OUTCOME_LIFETIME = 1_000;

type Answer<Response> = (error: ServiceError | null, response?: Response) => void;

/** A broker that loses the connection during every unit. */
class LosingBroker {
  units = 0;

  /** `connect` runs before each unit's connection is open, `work` before its loss. */
  constructor(
    readonly connect: (unit: number) => Promise<void>,
    readonly work: (unit: number) => Promise<void>,
  ) {}

  /** Runs a repeatable unit to its failure. */
  async fail(): Promise<void> {
    let queries = 0;
    const stub = {
      getBroker: (_request: unknown, _metadata: unknown, _options: unknown, answer: Answer<GetBrokerResponse>) => {
        const outcomeLifetime = { seconds: OUTCOME_LIFETIME / 1000, nanos: 0 };
        answer(null, GetBrokerResponse.fromPartial({ limits: { outcomeLifetime } }));
      },
      transmit: (_request: unknown, _metadata: unknown, _options: unknown, answer: Answer<TransmitResponse>) => {
        const ended = { code: status.UNAVAILABLE, details: "lost", metadata: new Metadata() };
        void this.work(this.units++).then(() => answer(Object.assign(new Error("lost"), ended)));
      },
    };
    const line = async () => {
      // The first line is for the query of the broker's limits.
      if (queries++ > 0) {
        await this.connect(this.units);
      }
      return { stub, metadata: new Metadata(), disconnect: () => {} };
    };
    const connection = { line } as unknown as Connection;
    const options = { repeatable: true, anyCard: true };
    const lost = await fails(
      FailedError,
      transmit(connection, () => Promise.resolve("readers/desk"), [Buffer.from("00A40400", "hex")], options),
    );
    assert.equal(lost.delivery, "UNKNOWN");
  }
}

/** Steps the system's time by `step` ms from now on. */
function stepTime(test: TestContext, step: number): void {
  const real = Date.now.bind(Date);
  test.mock.method(Date, "now", () => real() + step);
}

const nothing = () => Promise.resolve();

test("a step back of the system's time extends no repeat", async (test) => {
  const broker = new LosingBroker(nothing, async () => {
    stepTime(test, -3600_000);
    await sleep(OUTCOME_LIFETIME / 2);
  });
  await broker.fail();
  assert.equal(broker.units, 1);
});

test("a step forward of the system's time ends no repeat", async (test) => {
  const broker = new LosingBroker(nothing, (unit) => {
    if (unit === 0) {
      stepTime(test, 3600_000);
    }
    return Promise.resolve();
  });
  await broker.fail();
  // The pauses before the second and third unit are 300 ms at most.
  assert(broker.units >= 3, `${broker.units} units`);
});

test("the time for repeats starts before the first attempt connects", async () => {
  const broker = new LosingBroker((unit) => (unit === 0 ? sleep(OUTCOME_LIFETIME / 2) : nothing()), nothing);
  await broker.fail();
  assert.equal(broker.units, 1);
});
