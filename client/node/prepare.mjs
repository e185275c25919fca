// Builds the package in its own folder, for `npm install FOLDER`: npm links the folder, runs this script, and installs
// no dependencies for it.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
process.chdir(folder);

/** Runs a script with Node, without its output. @param {string[]} parameters */
function run(...parameters) {
  execFileSync(process.execPath, parameters, { stdio: ["ignore", "ignore", "inherit"] });
}

if (!existsSync("node_modules/ts-proto") || !existsSync("node_modules/@grpc/grpc-js")) {
  // npm passes its own path to its scripts.
  if (!process.env.npm_execpath) {
    throw new Error("run this with npm: npm run prepare");
  }
  // Skips the scripts of packages, because this script is one of them.
  run(process.env.npm_execpath, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent");
}
// In the repository the contract is outside this folder.
const contract = ["../../proto", "proto"].find((folder) => existsSync(`${folder}/cardbroker/v1`)) ?? "proto";
run("node_modules/@bufbuild/buf/bin/buf", "generate", contract);
run("node_modules/typescript/bin/tsc");
