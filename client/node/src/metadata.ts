/** What goes with every call: the isolation group and the token. */

import { readFile } from "node:fs/promises";

import { Metadata } from "@grpc/grpc-js";

import { invalid } from "./error.js";

/** The environment variable that holds the key of an isolation group, for a parent to hand to its children. */
export const GROUP_VARIABLE = "CARDBROKER_GROUP";

/** The environment variable that names the file with the token for TCP endpoints. */
export const TOKEN_FILE_VARIABLE = "CARDBROKER_TOKEN_FILE";

/** Makes the metadata of each call. */
export class CallMetadata {
  // Private to the runtime too, for whoever knows the group is in it.
  readonly #group: string;
  readonly #tokenFile: string;

  /** An empty text stands for no group, or no token. */
  constructor(group: string, tokenFile: string) {
    if (!/^[\x20-\x7e]*$/.test(group)) {
      throw invalid("the isolation group is not printable ASCII");
    }
    this.#group = group;
    this.#tokenFile = tokenFile;
  }

  /** Reads the token anew each time, for its file may be replaced. */
  async make(): Promise<Metadata> {
    const metadata = new Metadata();
    if (this.#group) {
      metadata.set("cardbroker-group", this.#group);
    }
    if (this.#tokenFile) {
      metadata.set("authorization", `Bearer ${await readToken(this.#tokenFile)}`);
    }
    return metadata;
  }
}

async function readToken(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    const problem = error.code === "ENOENT" ? "there is no such file" : `cannot be read (${error.code})`;
    throw invalid(`token file ${path}: ${problem}`);
  });
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw invalid(`token file ${path}: holds no token: one line of printable ASCII`);
  }
  return token;
}
