// Builds the package where it lies, for `npm install FOLDER`: npm links such a folder, runs this, and installs nothing
// for it.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
process.chdir(folder);

/** Runs a program of Node's, quietly. @param {string[]} parameters */
function run(...parameters) {
  execFileSync(process.execPath, parameters, { stdio: ["ignore", "ignore", "inherit"] });
}

if (!existsSync("node_modules/ts-proto") || !existsSync("node_modules/@grpc/grpc-js")) {
  // npm tells its scripts where it is itself.
  if (!process.env.npm_execpath) {
    throw new Error("run this with npm: npm run prepare");
  }
  // Not the packages' own scripts, of which this is one.
  run(process.env.npm_execpath, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent");
}
// In the repository the contract is not in this folder.
const contract = ["../../proto", "proto"].find((folder) => existsSync(`${folder}/cardbroker/v1`)) ?? "proto";
run("node_modules/@bufbuild/buf/bin/buf", "generate", contract);
run("node_modules/typescript/bin/tsc");
