// Prints every reader and each change of its state until the program is interrupted.
import { Client } from "cardbroker";

const client = await Client.connect();
for await (const event of client.watch()) {
  if (event.type === "updated") console.log(event.reader.name, event.reader.state);
}
