// A client for the tests: node --experimental-websocket follow.js CLIENT URL TOKEN DEVICE [SEQ EPOCH]; prints what it takes, a JSON line each.
"use strict";
const [file, url, token, deviceId, seq, epoch] = process.argv.slice(2);
const {InteractdClient} = require(file);
const print = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const client = new InteractdClient({
  url, token, deviceId, pace: 20, silence: 500, place: epoch ? {seq: Number(seq), epoch} : null,
  take: async (message, place) => print({message, place}),
  resync: async (place) => print({resync: place}),
  ended: (code) => { print({ended: code}); process.exit(0); }});
client.start();
process.stdin.on("data", (data) => {
  for (const line of String(data).split("\n").filter(Boolean)) {
    const word = JSON.parse(line);
    if ("shown" in word) client.shown(word.shown); else if ("dismiss" in word) client.dismiss(word.dismiss);
  }
});
process.stdin.on("end", () => { client.stop(); process.exit(0); });
