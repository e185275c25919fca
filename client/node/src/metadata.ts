/** What a connection is made by, and the metadata of its calls: the isolation group and the token. */

import { Metadata } from "@grpc/grpc-js";

import type { Endpoint, Target } from "./endpoint.js";
import { readEndpointFile } from "./endpoint_file.js";
import { invalid } from "./error.js";
import type { Finding } from "./places.js";
import { noTokenFile, otherCertificate, readTokenFile } from "./token_file.js";

/** The environment variable with the key of the isolation group, which a parent may pass to its children. */
export const GROUP_VARIABLE = "CARDBROKER_GROUP";

/** The environment variable with the path of the token file for TCP endpoints. */
export const TOKEN_FILE_VARIABLE = "CARDBROKER_TOKEN_FILE";

/** All that one connection is made by. Its calls send no token of another reading of the file. */
export interface Route {
  /** A socket or a port. */
  endpoint: Endpoint;
  /** The broker's certificate in PEM, the only one to accept; absent without TLS. */
  certificate?: string;
  /** The token of an endpoint file; absent if the calls read the token file, if any. */
  token?: string;
}

/** Makes the metadata for each call from the group and the token file. */
export class CallMetadata {
  // Private at run time too, because the key admits to the group.
  readonly #group: string;
  readonly #tokenFile: string;

  /** Empty texts: no group, no token file. */
  constructor(group: string, tokenFile: string) {
    if (!/^[\x21-\x7e]{0,128}$/.test(group)) {
      throw invalid("cardbroker-group", "the isolation group is not 1 to 128 visible ASCII characters");
    }
    this.#group = group;
    this.#tokenFile = tokenFile;
  }

  /** The route to a target now: reads the endpoint file, or the certificate in the token file. */
  async route({ place, ...endpoint }: Target): Promise<Route | Finding> {
    const { path, address, text } = endpoint;
    if (path === undefined && !address && place) {
      const found = await readEndpointFile(place, process.geteuid?.());
      return "kind" in found ? found : { endpoint: found.endpoint, certificate: found.certificate, token: found.token };
    }
    if (!address || (address.isPlain && !this.#tokenFile)) {
      return { endpoint };
    }
    if (!this.#tokenFile) {
      throw noTokenFile(text);
    }
    const { certificate } = await readTokenFile(this.#tokenFile, address.isPlain);
    return { endpoint, certificate: certificate || undefined };
  }

  /** The metadata of one call. Reads the token file anew each time, because it may be replaced. */
  async make(route: Route): Promise<Metadata> {
    const metadata = new Metadata();
    if (this.#group) {
      metadata.set("cardbroker-group", this.#group);
    }
    const token = await this.#token(route);
    if (token) {
      metadata.set("authorization", `Bearer ${token}`);
    }
    return metadata;
  }

  /** The token for a connection: that of the same reading, or of the same broker. */
  async #token({ endpoint: { address }, certificate, token }: Route): Promise<string | undefined> {
    if (token || !address || !this.#tokenFile) {
      return token;
    }
    const found = await readTokenFile(this.#tokenFile, address.isPlain);
    if ((found.certificate || undefined) !== certificate) {
      throw otherCertificate(this.#tokenFile);
    }
    return found.token;
  }
}
