/** The search for a broker in a table of the conformance kit instead of a file system. */

import { type Part, findingOf, obstacle, places, search } from "../src/places.js";

/** The findings, and the endpoint of the place that works. */
export async function find(
  uid: number,
  environment: NodeJS.ProcessEnv,
  table: Record<string, string>,
): Promise<object> {
  const look = (path: string): Part => {
    const [kind, owner, mode] = table[path]?.split(" ") ?? ["ENOENT"];
    if (owner === undefined || mode === undefined) {
      throw Object.assign(new Error(kind), { code: kind });
    }
    return {
      path,
      kind: kind === "folder" || kind === "link" ? kind : "other",
      owner: Number(owner),
      mode: parseInt(mode, 8),
    };
  };
  const { found, inVain } = await search(places(environment, uid), (place) => {
    const error = table[place.path]?.split(" ")[3];
    return obstacle(place, uid, look) ?? (error ? findingOf(error, "") : undefined);
  });
  return {
    tried: inVain.map(({ place, finding }) => ({ endpoint: `unix:${place.path}`, finding: finding.kind })),
    ...(found && { endpoint: `unix:${found.path}` }),
  };
}
