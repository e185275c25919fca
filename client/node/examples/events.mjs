// Reads from every card that is inserted, with events, until the program is interrupted.
import { Client } from "cardbroker";

const client = await Client.connect();
client.events().on("reader", (reader) => {
  reader.on("card", async (card) => {
    console.log(`${reader.name} has a card, ${card.atr.toString("hex")}`);
    const { results } = await reader.transmit([Buffer.from("00A4040006F04341524401", "hex")]);
    console.log(results[0].statusWord.toString(16));
  });
  reader.on("card.off", () => console.log(`${reader.name} has no card`));
});
