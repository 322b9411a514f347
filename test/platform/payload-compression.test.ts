import { randomBytes } from 'node:crypto';
import { defaultPayloadConverter, toPayloads, type Payload } from '@temporalio/common';
import fc from 'fast-check';
import { planWorkflow } from '../../bridge/workflow-plan';
import {
  compressedFromBytes,
  compressionCodec,
  PayloadDecompressionError,
} from '../../platform/temporal/payload-compression';
import { received, type RecordChange } from '../../testkit/records';
import { exampleEvent } from '../../testkit/example-events';

async function there(...values: unknown[]): Promise<Payload[]> {
  return compressionCodec.encode(toPayloads(defaultPayloadConverter, ...values) ?? []);
}

async function backAgain(payloads: Payload[]): Promise<unknown[]> {
  const decoded = await compressionCodec.decode(payloads);
  return decoded.map((payload) => defaultPayloadConverter.fromPayload(payload));
}

function bytesOf(payloads: Payload[]): number {
  return payloads.reduce((sum, { data }) => sum + (data?.byteLength ?? 0), 0);
}

test('a large payload becomes smaller, and comes back as it was', async () => {
  const value = { text: 'abc '.repeat(compressedFromBytes) };
  const payloads = await there(value);
  expect(bytesOf(payloads)).toBeLessThan(compressedFromBytes / 10);
  expect(await backAgain(payloads)).toEqual([value]);
});

test('a small payload stays readable', async () => {
  const [payload] = await there({ text: 'abc '.repeat(1_000) });
  expect(Buffer.from(payload!.data!).toString()).toContain('abc abc');
});

test("a local activity's input stays as it is, until it comes near to the server's limit", async () => {
  const local = { type: 'activity', namespace: 'default', isLocal: true } as const;
  const encode = async (bytes: number): Promise<number> => {
    const payloads = toPayloads(defaultPayloadConverter, 'x'.repeat(bytes)) ?? [];
    return bytesOf(await compressionCodec.encode(payloads, local));
  };
  expect(await encode(1024 * 1024)).toBeGreaterThan(1024 * 1024);
  expect(await encode(2 * 1024 * 1024)).toBeLessThan(compressedFromBytes);
});

test('bytes without any pattern are left as they are', async () => {
  const value = randomBytes(1024 * 1024);
  const payloads = await there(value);
  expect(bytesOf(payloads)).toBe(value.byteLength);
  expect(Buffer.from((await backAgain(payloads))[0] as Uint8Array).equals(value)).toBe(true);
});

test('whatever is encoded comes back', async () => {
  await fc.assert(
    fc.asyncProperty(fc.json(), fc.nat(3), async (json, times) => {
      const value = [JSON.parse(json) as unknown, 'x'.repeat((times * compressedFromBytes) / 2)];
      expect(await backAgain(await there(value))).toEqual([value]);
    }),
    { numRuns: 20 },
  );
});

test('a damaged payload is detected', async () => {
  const [payload] = await there('x'.repeat(compressedFromBytes));
  const damaged = { ...payload, data: Buffer.from('no gzip data') };
  await expect(compressionCodec.decode([damaged])).rejects.toBeInstanceOf(
    PayloadDecompressionError,
  );
});

describe('the workflow for a message of 1 MiB can be started, whatever fills it', () => {
  const temporalLimitBytes = 2 * 1024 * 1024;
  const kafkaLimitBytes = 1024 * 1024;
  const value = Buffer.from(JSON.stringify(exampleEvent('ProductViewed')));
  const room = kafkaLimitBytes - value.byteLength - 100;
  // A header takes at least a byte for its name and one for each of two lengths.
  const shortHeaders = Array.from({ length: room / 6 }, (_, index) => index.toString(36));

  test.each<[string, NonNullable<RecordChange['headers']>]>([
    ['control characters', [['filled', Buffer.alloc(room, 0x01)]]],
    ['quotation marks', [['filled', Buffer.alloc(room, '"')]]],
    ['bytes that are no text', [['filled', randomBytes(room)]]],
    ['a name of control characters', [['\u0001'.repeat(room), '']]],
    ['many headers', shortHeaders.map((name) => [name, ''] as const)],
    ['many values', shortHeaders.map((text) => ['a', text] as const)],
  ])('%s', async (_, headers) => {
    for (const each of [value, 'poison']) {
      const { input } = planWorkflow(received({ key: 'product-1', value: each, headers }));
      expect(bytesOf(await there(...input))).toBeLessThan(temporalLimitBytes);
    }
  });
});
