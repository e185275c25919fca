// Verifies the simulated card's PIN and reads the file behind it, if the card accepts the PIN.
import { Client } from "cardbroker";

const client = await Client.connect();
const [reader] = await client.readers();
const verify = Buffer.from("00200080083132333435363738", "hex");
const read = Buffer.from("00B0810020", "hex");

const content = await client.withSession(reader, async (session) => {
  const { results } = await session.transmit([verify]);
  if (results[0].statusWord !== 0x9000) throw new Error("wrong PIN");
  return (await session.transmit([read])).results[0].data;
});
console.log(content.toString());
client.close();
