// Lists the readers and runs a command with gRPC and the contract alone.
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { fileURLToPath } from "node:url";

const proto = fileURLToPath(new URL("../proto", import.meta.url));
const { cardbroker } = loadPackageDefinition(loadSync("cardbroker/v1/service.proto", { includeDirs: [proto] }));
// On a Unix socket every call may fail unless the authority is localhost.
const options = { "grpc.default_authority": "localhost" };
const { CardBrokerService } = cardbroker.v1;
const client = new CardBrokerService(process.env.CARDBROKER_ENDPOINT, credentials.createInsecure(), options);
const call = (method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

const { readers } = await call("listReaders", {});
const apdu = { bytes: Buffer.from("00A4040006F0434152440100", "hex") };
const { results } = await call("transmit", { reader: process.argv[2], commands: [{ apdu }] });
console.log(JSON.stringify({ readers: readers.length, status_word: results[0].apdu.statusWord }));
