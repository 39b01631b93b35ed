// Register once in Node: node register.js LIBRARY URL USER REALM PASSWORD; prints the status.

import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
globalThis.window = globalThis; // what both libraries take for a browser
await import("./phones.js");

const [library, url, user, realm, password] = process.argv.slice(2);
const phone = new globalThis.phones[library]({ url, user, realm, password });
try {
  console.log(await phone.register());
  console.log(await phone.unregister());
  process.exit(0);
} catch (error) {
  console.log(`failed: ${error.message}`);
  process.exit(1);
}
