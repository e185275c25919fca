// Waits for a card, selects its application and reads from it.
import { Client } from "cardbroker";

const client = await Client.connect();
const [reader] = await client.readers();
const select = Buffer.from("00A4040006F04341524401", "hex");
const readBinary = Buffer.from("00B0000010", "hex");
const { results } = await client.transmit(reader, [select, readBinary], { card: "AWAITED" });
console.log(results[1].data.toString("hex"), results[1].statusWord.toString(16));
client.close();
