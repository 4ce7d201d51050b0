// A server that answers like APNs; HTTP/2 is Node's own (nghttp2).
// Started with one argument, its options as JSON. Then it reads commands, one JSON object a line, and answers each with a line.
'use strict';
const http2 = require('http2');
const fs = require('fs');
const crypto = require('crypto');
const readline = require('readline');

const options = JSON.parse(process.argv[2]);
// key, cert: files. ca: file, asks for client certificates. publicKey: PEM file, asks for provider tokens.
// limit: MAX_CONCURRENT_STREAMS; raised: the limit after the first accepted push. delay: ms before an answer.
let plan = Object.assign({limit: 100, raised: 0, delay: 0, topic: null, tokenAge: 3600, window: 65535, answers: {}, goawayAt: 0, goawayLast: 0,
  goawayReason: '', padding: 0, hold: false}, options);
const publicKey = options.publicKey ? crypto.createPublicKey(fs.readFileSync(options.publicKey)) : null;

const sessions = new Set();
const sockets = new Set();
let held = [];
let counts = {};
let seen = new Map();         // apns-id -> times it was executed
let tokens = new Set();       // provider tokens
let lastHeaders = null, lastBody = null, mostInFlight = 0, inFlight = 0, bytes = 0;
const count = (name) => { counts[name] = (counts[name] || 0) + 1; };

function providerToken(headers) {
  if (!publicKey) return null;
  const said = headers['authorization'];
  if (!said) return [403, 'MissingProviderToken'];
  const parts = said.replace(/^bearer /, '').split('.');
  if (parts.length !== 3) return [403, 'InvalidProviderToken'];
  const good = crypto.verify('sha256', Buffer.from(parts[0] + '.' + parts[1]), {key: publicKey, dsaEncoding: 'ieee-p1363'},
    Buffer.from(parts[2], 'base64url'));
  const head = JSON.parse(Buffer.from(parts[0], 'base64url'));
  const claims = JSON.parse(Buffer.from(parts[1], 'base64url'));
  if (!good || head.alg !== 'ES256' || head.kid !== 'KEYKEYKEY1' || claims.iss !== 'TEAMTEAM01') return [403, 'InvalidProviderToken'];
  tokens.add(said);
  const age = Date.now() / 1000 - claims.iat;
  if (age > plan.tokenAge || age < -60) return [403, 'ExpiredProviderToken'];
  return null;
}

// In the order in which Apple's own checks were seen.
function verdict(headers, body, session) {
  const id = headers['apns-id'];
  if (id !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return [400, 'BadMessageId'];
  if (headers[':method'] !== 'POST') return [405, 'MethodNotAllowed'];
  if (!headers['apns-topic']) return [400, 'MissingTopic'];
  if (Buffer.byteLength(headers['apns-collapse-id'] || '') > 64) return [400, 'BadCollapseId'];
  if (!['10', '5', '1'].includes(headers['apns-priority'] || '10')) return [400, 'BadPriority'];
  if (!/^(alert|background|voip)$/.test(headers['apns-push-type'] || '')) return [400, 'InvalidPushType'];
  const path = /^\/3\/device\/([0-9a-f]*)$/.exec(headers[':path']);
  if (!path) return [404, 'BadPath'];
  if (!path[1]) return [400, 'MissingDeviceToken'];
  const own = plan.answers[path[1]];
  if (own) return Array.isArray(own[0]) ? (own.length > 1 ? own.shift() : own[0]) : own;
  if (path[1].length < 64) return [400, 'BadDeviceToken'];
  if (plan.topic && headers['apns-topic'] !== plan.topic) return [400, 'DeviceTokenNotForTopic'];
  const refused = options.ca ? (session.socket.authorized ? null : [403, 'BadCertificate']) : providerToken(headers);
  if (refused) return refused;
  if (body.length === 0) return [400, 'PayloadEmpty'];
  if (body.length > (headers['apns-push-type'] === 'voip' ? 5120 : 4096)) return [413, 'PayloadTooLarge'];
  return [200];
}

function answer(stream, headers, body) {
  const session = stream.session;
  inFlight--;
  if (stream.destroyed || (session.over !== undefined && stream.id > session.over)) return;
  const found = verdict(headers, body, session);
  if (found[0] === 200) seen.set(headers['apns-id'], (seen.get(headers['apns-id']) || 0) + 1);
  if (found[0] === 200 && plan.raised) {
    session.settings({maxConcurrentStreams: plan.raised});
    plan.raised = 0;
  }
  const [status, reason, timestamp] = found;
  if (status === 'reset') { count('reset'); stream.close(reason); return; }
  if (status === 'hang') { count('hung'); return; }
  count(status + (reason ? ' ' + reason : ''));
  const head = {':status': status, 'apns-id': headers['apns-id']};
  if (status === 200) { stream.respond(head, {endStream: true}); return; }
  stream.respond(head);
  if (reason === 'raw') { stream.end(timestamp); return; }
  const text = JSON.stringify(timestamp ? {reason, timestamp} : {reason});
  stream.write(text.slice(0, 5));          // in two frames
  stream.end(text.slice(5));
}

const tls = {key: fs.readFileSync(options.key), cert: fs.readFileSync(options.cert),
  settings: {maxConcurrentStreams: plan.limit, initialWindowSize: plan.window},
  paddingStrategy: plan.padding ? http2.constants.PADDING_STRATEGY_MAX : http2.constants.PADDING_STRATEGY_NONE};
if (options.ca) Object.assign(tls, {ca: fs.readFileSync(options.ca), requestCert: true, rejectUnauthorized: false});
const server = http2.createSecureServer(tls);
server.on('connection', (socket) => { sockets.add(socket); socket.on('close', () => sockets.delete(socket)); });
server.on('session', (session) => {
  count('sessions');
  sessions.add(session);
  session.executed = 0;
  session.on('close', () => sessions.delete(session));
  session.on('error', () => {});
  session.on('goaway', (code) => count('goaway from client ' + code));
});
server.on('sessionError', () => {});
server.on('stream', (stream, headers) => {
  const session = stream.session;
  const chunks = [];
  inFlight++;
  mostInFlight = Math.max(mostInFlight, inFlight);
  stream.on('error', () => {});
  stream.on('data', (chunk) => { bytes += chunk.length; chunks.push(chunk); });
  stream.on('aborted', () => count('cancelled'));
  stream.on('end', () => {
    if (stream.destroyed) { inFlight--; return; }
    const body = Buffer.concat(chunks);
    session.executed++;
    lastHeaders = headers; lastBody = body.toString();
    if (plan.goawayAt && session.executed === plan.goawayAt) {
      plan.goawayAt = 0;
      session.goaway(0, plan.goawayLast, plan.goawayReason ? Buffer.from(JSON.stringify({reason: plan.goawayReason})) : undefined);
      session.over = plan.goawayLast;
    }
    const reply = () => answer(stream, headers, body);
    if (plan.hold) held.push(reply); else if (plan.delay) setTimeout(reply, plan.delay); else reply();
  });
});

const commands = {
  plan: (said) => { Object.assign(plan, said.plan); },
  settings: (said) => { for (const session of sessions) session.settings(said.settings); },
  goaway: (said) => {
    for (const session of sessions) {
      session.goaway(said.code || 0, said.last, said.reason ? Buffer.from(JSON.stringify({reason: said.reason})) : undefined);
    }
  },
  release: () => { const now = held; held = []; for (const reply of now) reply(); },
  cut: () => { for (const socket of sockets) socket.destroy(); },
  reset: () => { counts = {}; seen = new Map(); tokens = new Set(); mostInFlight = 0; bytes = 0; },
  stats: () => ({counts, executed: [...seen.values()].reduce((a, b) => a + b, 0), different: seen.size, tokens: tokens.size, mostInFlight,
    inFlight, held: held.length, headers: lastHeaders, body: lastBody, sessions: sessions.size, bytes}),
};
readline.createInterface({input: process.stdin}).on('line', (line) => {
  const said = JSON.parse(line);
  process.stdout.write(JSON.stringify(commands[said.cmd](said) || {}) + '\n');
}).on('close', () => process.exit(0));
server.listen(options.port || 0, '127.0.0.1', () => process.stdout.write(JSON.stringify({port: server.address().port}) + '\n'));
