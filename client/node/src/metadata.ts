/** The metadata of every call: the isolation group and the token. */

import { constants } from "node:fs";
import { open } from "node:fs/promises";

import { Metadata } from "@grpc/grpc-js";

import type { Endpoint } from "./endpoint.js";
import { InvalidError, invalid } from "./error.js";
import { isMountedSecret } from "./secret_mount.js";

/** The environment variable with the key of the isolation group, which a parent may pass to its children. */
export const GROUP_VARIABLE = "CARDBROKER_GROUP";

/** The environment variable with the path of the token file for TCP endpoints. */
export const TOKEN_FILE_VARIABLE = "CARDBROKER_TOKEN_FILE";

/** The longest token file, in bytes. */
const MAX_FILE_BYTES = 1 << 20;

/** Makes the metadata for each call from the group and the token file. */
export class CallMetadata {
  // Private at run time too, because the key admits to the group.
  readonly #group: string;
  readonly #tokenFile: string;
  readonly #endpoint: Endpoint;

  /** Empty texts: no group, no token. */
  constructor(endpoint: Endpoint, group: string, tokenFile: string) {
    if (endpoint.address?.isPlain === false && !tokenFile) {
      const made = 'make one with "cardbroker token new"';
      throw invalid("token_file", `${endpoint.text} needs a token file, which has the broker's certificate: ${made}`);
    }
    this.#endpoint = endpoint;
    if (!/^[\x21-\x7e]{0,128}$/.test(group)) {
      throw invalid("cardbroker-group", "the isolation group is not 1 to 128 visible ASCII characters");
    }
    this.#group = group;
    this.#tokenFile = tokenFile;
  }

  /** Reads the token anew each time, because its file may be replaced. */
  async make(): Promise<Metadata> {
    const metadata = new Metadata();
    if (this.#group) {
      metadata.set("cardbroker-group", this.#group);
    }
    if (this.#tokenFile) {
      metadata.set("authorization", `Bearer ${(await this.#read()).token}`);
    }
    return metadata;
  }

  /** The broker's certificate in PEM, the only one to accept; `undefined` without TLS. Reads the file anew. */
  async certificate(): Promise<string | undefined> {
    return this.#endpoint.address?.isPlain === false ? (await this.#read()).certificate : undefined;
  }

  /** Reads the token file. A token that came with a certificate is not sent over plain TCP. */
  async #read(): Promise<TokenFile> {
    const path = this.#tokenFile;
    const found = await readTokenFile(path);
    const isPlain = this.#endpoint.address?.isPlain;
    if (!found.certificate && isPlain === false) {
      const made = 'make a new one with "cardbroker token new", or use http:// for plain TCP';
      throw invalid("authorization", `the token file ${path} has no certificate: ${made}`);
    }
    if (found.certificate && isPlain) {
      const text = "has a certificate, and http:// is plain TCP: use https://";
      throw invalid("authorization", `the token file ${path} ${text}`);
    }
    return found;
  }
}

/** What a token file holds: the token in its first line, and the certificate in PEM, empty for plain TCP. */
interface TokenFile {
  token: string;
  certificate: string;
}

async function readTokenFile(path: string): Promise<TokenFile> {
  const unfit = (problem: string) => invalid("authorization", `the token file ${path} ${problem}`);
  const text = await readPrivate(path, unfit).catch((error: NodeJS.ErrnoException) => {
    if (error instanceof InvalidError) {
      throw error;
    }
    throw unfit(`cannot be read: ${error.code === "ENOENT" ? "there is no such file" : error.code}`);
  });
  const made = 'as made by "cardbroker token new"';
  const [, token = "", certificate = ""] =
    /^([^\n]*)(?:\n([^]*))?$/.exec(text.trim())?.map((part) => part?.trim()) ?? [];
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw unfit(`holds no token: one line of visible ASCII, ${made}`);
  }
  if (!/^(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----)?$/.test(certificate)) {
    throw unfit(`has more than a token and a certificate in PEM, ${made}`);
  }
  return { token, certificate };
}

/** Reads a regular file of this user or root without access for others, or a secret mounted by an orchestrator. */
async function readPrivate(path: string, unfit: (problem: string) => InvalidError): Promise<string> {
  // A pipe without a writer would block.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const found = await file.stat();
    if (!found.isFile()) {
      throw unfit("is not a regular file");
    }
    const user = process.geteuid?.();
    if (user !== undefined && found.uid !== 0 && found.uid !== user) {
      throw unfit("belongs to another user: change its owner with chown");
    }
    if (user !== undefined && (found.mode & 0o077) !== 0 && !(await isMountedSecret(path, found))) {
      const mode = (found.mode & 0o7777).toString(8).padStart(4, "0");
      throw unfit(`is open to others (its mode is ${mode}): chmod 600 it`);
    }
    if (found.size > MAX_FILE_BYTES) {
      throw unfit("is longer than 1 MiB");
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
