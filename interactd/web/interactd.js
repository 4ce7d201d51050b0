// A client of interactd's live socket (interactd.1): everything once and in order, however often the connection is lost.
// One file without dependencies, for browsers and for Node 20 and later. The protocol: docs/live-protocol.md.
//
//   const client = new InteractdClient({url: "wss://interact.example.com", token, deviceId, place,
//     take: async (message, place) => { … },     // a notification, update or retract; store `place` with what you take
//     resync: async (place) => { … },            // something can not be had any more: call GET /v2/sync
//     ended: (code, reason) => { … }});          // closed for good: 4400, 4401 (log in), 4403 (register), 4409 (replaced)
//   client.start(); client.shown(id); client.dismiss(id); client.stop();
//
// `place` is {seq, epoch}, up to where you have everything; leave it out at the very first start.
(function (root) {
  "use strict";

  const OPENING = 10000;                                // ms for the socket to be open and to have said something
  const SILENCE = 60000;                                // ms without a message after which a connection is dead
  const LONGEST = 60000;                                // ms between two attempts, at most
  const ACK_EVERY = 250;                                // ms between two acks, so that they are never too many
  const FOR_GOOD = [4400, 4401, 4403, 4409];            // coming again is no use

  class InteractdClient {
    constructor({url, token, deviceId, take, place = null, resync = async () => {}, ended = () => {}, pace = 1000, silence = SILENCE,
                 WebSocket = root.WebSocket}) {
      Object.assign(this, {url, token, deviceId, take, place, resync, ended, pace, silence, WebSocket});
      this.attempt = 0;
      this.running = false;
      this.talk = null;
      this.timer = null;
    }

    start() {
      if (this.running) return;
      this.running = true;
      this._open();
    }

    stop() {
      this.running = false;
      clearTimeout(this.timer);
      if (this.talk !== null) this.talk.cut(1000, "");
    }

    shown(interactionId) { this._say({shown: interactionId}); }

    dismiss(interactionId) { this._say({dismiss: interactionId}); }

    _say(word) {
      if (this.talk !== null) this.talk.say(word);
    }

    _open() {
      this.talk = new Conversation(this, (code, reason, after) => {
        this.talk = null;
        if (!this.running) return;
        if (FOR_GOOD.includes(code)) {
          this.running = false;
          this.ended(code, reason);
          return;
        }
        const longest = Math.min(LONGEST, this.pace * 2 ** Math.min(this.attempt, 10));
        this.attempt += 1;
        this.timer = setTimeout(() => this._open(), after === null ? Math.random() * longest : after);
      });
    }
  }

  class Conversation {                                  // one connection
    constructor(client, over) {
      this.client = client;
      this.over = over;
      this.after = null;                                // when the server wants to see the client again, if it said so
      this.asked = false;                               // whether a resume is unanswered
      this.acked = -1;
      this.ackTimer = null;
      this.queue = Promise.resolve();                   // messages are taken one after the other
      this.silence = setTimeout(() => this.cut(1006, "nothing was heard in time"), Math.min(OPENING, client.silence));
      const socket = this.socket = new client.WebSocket(client.url.replace(/\/$/, "") + "/v2/socket", ["interactd.1"]);
      socket.onopen = () => this.opened();
      socket.onmessage = (event) => this.heard(event.data);
      socket.onclose = (event) => this.end(event.code, event.reason);
      socket.onerror = () => {};                        // onclose follows
    }

    opened() {
      const {token, deviceId, place} = this.client;
      this.asked = place !== null;
      this.say({auth: token, deviceId, ...(place === null ? {} : {resume: place.seq, epoch: place.epoch})});
    }

    heard(data) {
      if (this.over === null) return;
      clearTimeout(this.silence);
      this.silence = setTimeout(() => this.cut(1006, "nothing was heard in time"), this.client.silence);
      this.queue = this.queue.then(async () => {
        if (this.over === null) return;
        await this.one(JSON.parse(data));
        if (this.ackTimer === null) this.acknowledge();
      }).catch((error) => {                             // what was not taken comes again
        this.cut(1006, String(error));
      });
    }

    async one(message) {
      const client = this.client;
      if ("reconnectAfter" in message) {
        this.after = message.reconnectAfter;
      } else if ("resync" in message) {
        const place = {seq: message.seq, epoch: message.epoch};
        this.asked = false;
        this.acked = -1;
        await client.resync(place);
        client.place = place;
        client.attempt = 0;
      } else if ("resumed" in message) {
        this.asked = false;
        client.attempt = 0;
      } else if (client.place === null) {
        client.place = {seq: message.seq, epoch: message.epoch};
      } else if (message.prev === client.place.seq) {
        if ("type" in message || "update" in message || "retract" in message) {
          const place = {seq: message.seq, epoch: client.place.epoch};
          await client.take(message, place);
          client.place = place;
          client.attempt = 0;
        }
      } else if (!this.asked) {                         // something is missing
        this.asked = true;
        this.say({resume: client.place.seq, epoch: client.place.epoch});
      }
    }

    acknowledge() {
      this.ackTimer = null;
      const place = this.client.place;
      if (place === null || place.seq <= this.acked || this.over === null) return;
      this.acked = place.seq;
      this.say({ack: place.seq});
      this.ackTimer = setTimeout(() => this.acknowledge(), ACK_EVERY);
    }

    say(word) {
      if (this.over !== null && this.socket.readyState === 1) this.socket.send(JSON.stringify(word));
    }

    cut(code, reason) {                                 // closes; the server's answer is not waited for
      this.socket.close();
      this.end(code, reason);
    }

    end(code, reason) {
      if (this.over === null) return;
      const over = this.over;
      this.over = null;
      clearTimeout(this.silence);
      clearTimeout(this.ackTimer);
      this.queue.then(() => over(code, reason, this.after));     // what is being taken is taken first, or it would come twice
    }
  }

  if (typeof module !== "undefined" && module.exports) module.exports = {InteractdClient};
  else root.InteractdClient = InteractdClient;
})(typeof globalThis !== "undefined" ? globalThis : this);
