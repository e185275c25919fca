/** The modules of the package import each other in one direction, types included. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

const SOURCES = join(__dirname, "../../src");

test("imports form no circle", () => {
  const imports = new Map<string, string[]>();
  for (const file of readdirSync(SOURCES)) {
    const text = readFileSync(join(SOURCES, file), "utf8");
    const names = [...text.matchAll(/ from "\.\/(\w+)\.js"/g)].map(([, name]) => `${name}.ts`);
    imports.set(file, names);
  }
  assert((imports.get("index.ts") ?? []).length > 5);

  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    assert(!path.includes(file), [...path, file].join(" -> "));
    if (!done.has(file)) {
      imports.get(file)?.forEach((name) => visit(name, [...path, file]));
      done.add(file);
    }
  };
  [...imports.keys()].forEach((file) => visit(file, []));
});
