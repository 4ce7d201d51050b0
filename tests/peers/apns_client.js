// @parse/node-apn against a server: options as JSON in the first argument, then a JSON line of device tokens in, a JSON line of answers out.
const apn = require('@parse/node-apn');
const readline = require('readline');

const { port, ca, key, topic } = JSON.parse(process.argv[2]);
const provider = new apn.Provider({
  token: { key, keyId: 'KEYKEYKEY1', teamId: 'TEAMTEAM01' }, address: 'localhost', port, ca, production: false, connectionRetryLimit: 0,
});
const note = new apn.Notification({ alert: 'hello', topic, pushType: 'alert' });

const answer = (sent, failed) => sent
  ? ['sent']
  : [failed.status, failed.response && failed.response.reason, failed.response && failed.response.timestamp, failed.error && failed.error.message];

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const answers = [];
  for (const token of JSON.parse(line)) {
    const { sent, failed } = await provider.send(note, token);
    answers.push(answer(sent[0], failed[0]));
  }
  console.log(JSON.stringify(answers));
}).on('close', () => provider.shutdown());
console.log('{}');
