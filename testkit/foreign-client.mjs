/**
 * A producer on another client than the project's own, as a program of its own, since that client
 * comes as ES modules only:
 *
 *   node foreign-client.mjs BROKER,… [gzip|snappy|lz4]
 *
 * Reads a message a line from standard input, JSON: `topic`, and in base64 `key`, `value` and
 * `headers`, pairs of a name and a value. Ends once all are acknowledged.
 */
import { Buffer } from 'node:buffer';
import { createInterface } from 'node:readline';
import { Producer, ProduceAcks } from '@platformatic/kafka';

// Well below what a topic takes at once.
const mostBytesTogether = 256 * 1024;
const mostMessagesTogether = 1_000;

const producer = new Producer({
  clientId: 'somebody-else',
  bootstrapBrokers: process.argv[2].split(','),
});

const compression = process.argv[3] ?? 'none';
let messages = [];
let bytes = 0;

async function send() {
  if (messages.length > 0) await producer.send({ messages, acks: ProduceAcks.ALL, compression });
  messages = [];
  bytes = 0;
}

function decoded(text) {
  return Buffer.from(text, 'base64');
}

for await (const line of createInterface({ input: process.stdin })) {
  const { topic, key, value, headers } = JSON.parse(line);
  if (bytes + line.length > mostBytesTogether || messages.length === mostMessagesTogether) {
    await send();
  }
  messages.push({
    topic,
    key: decoded(key),
    value: decoded(value),
    headers: new Map(headers.map((pair) => pair.map(decoded))),
  });
  bytes += line.length;
}
await send();
await producer.close();
