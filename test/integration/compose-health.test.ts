/** The health check of Compose's Kafka, which speaks the broker's protocol without Kafka's own client. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { parse } from 'yaml';
import { createStack, type Stack } from '../../testkit/stack';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack([]);
});

afterAll(() => stack?.stop());

const file = path.join(__dirname, '..', '..', 'docker-compose.yml');
const { services } = parse(readFileSync(file, 'utf8'), { merge: true }) as {
  services: { kafka: { healthcheck: { test: string[] } } };
};

/** The check as Docker runs it, but of a broker elsewhere. @returns its exit code */
async function checkBroker(address: string): Promise<number | null> {
  const [, program, ...words] = services.kafka.healthcheck.test;
  const script = words.map((word) =>
    // Compose takes `$$` for a `$`.
    word.replace('127.0.0.1/9092', address.replace(':', '/')).replaceAll('$$', '$'),
  );
  const child = spawn(program!, script, { stdio: 'ignore', timeout: 5_000 });
  await once(child, 'exit');
  return child.exitCode;
}

test('a broker that answers is healthy', async () => {
  expect(await checkBroker(stack.config.KAFKA_BROKERS[0]!)).toBe(0);
});

test('one that accepts connections and ends them without an answer is not, nor is none', async () => {
  const silent = createServer((client) => {
    client.on('error', () => undefined);
    // It is closed only once what came is read.
    client.resume().end();
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;

  expect(await checkBroker(address)).not.toBe(0);
  silent.close();
  await once(silent, 'close');
  expect(await checkBroker(address)).not.toBe(0);
});
