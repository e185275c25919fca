/** Mounts for secrets, by the vectors of the conformance kit. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { isSecretMount } from "../src/secret_mount.js";

interface Vectors {
  mounts: string[];
  cases: { folder: string; file: string; accepted: boolean }[];
}

test("only mounts for secrets are taken for them", () => {
  const { mounts, cases } = JSON.parse(
    readFileSync(`${process.env["CARDBROKER_VECTORS"]}/secret_mounts.json`, "utf8"),
  ) as Vectors;
  for (const { folder, file, accepted } of cases) {
    assert.equal(isSecretMount(mounts.join("\n"), folder, file), accepted, `${folder} ${file}`);
  }
});
