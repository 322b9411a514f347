import { randomBytes } from 'node:crypto';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import {
  createEncryptionCodec,
  dataConverterOf,
  payloadConverterPath,
  encryptionKeyId,
  PayloadDecryptionError,
  UnknownEncryptionKeyError,
} from '../../platform/temporal/payload-encryption';
import { compressionCodec } from '../../platform/temporal/payload-compression';

const key = randomBytes(32);
const codec = createEncryptionCodec(key);

function payloadOf(value: unknown): Payload {
  return defaultPayloadConverter.toPayload(value);
}

async function encryptOne(payload: Payload): Promise<Payload> {
  const [encrypted] = await codec.encode([payload]);
  return encrypted!;
}

function bytesOf({ metadata, data }: Payload): Buffer {
  return Buffer.concat([...Object.values(metadata ?? {}), data ?? new Uint8Array()]);
}

test.each([
  { name: 'an object', value: { text: 'a marker', count: 1 } },
  { name: 'bytes', value: randomBytes(1_000) },
  { name: 'nothing', value: undefined },
  { name: 'no bytes', value: new Uint8Array() },
  { name: 'a long text', value: 'marker'.repeat(10_000) },
])('$name comes back as it was', async ({ value }) => {
  const payload = payloadOf(value);
  const [back] = await codec.decode([await encryptOne(payload)]);
  expect(bytesOf(back!)).toEqual(bytesOf(payload));
  const converted: unknown = defaultPayloadConverter.fromPayload(back!);
  const bytes = converted instanceof Uint8Array ? new Uint8Array(converted) : converted;
  expect(bytes).toEqual(value instanceof Uint8Array ? new Uint8Array(value) : value);
});

test('what is encrypted holds neither the data nor their type, and names the key', async () => {
  const encrypted = await encryptOne(payloadOf({ text: 'a marker' }));
  expect(bytesOf(encrypted).includes('marker')).toBe(false);
  expect(bytesOf(encrypted).includes('json/plain')).toBe(false);
  expect(Buffer.from(encrypted.metadata!['encryption-key-id']!).toString()).toBe(
    encryptionKeyId(key),
  );
  expect(bytesOf(encrypted).includes(key)).toBe(false);
});

test('the same data are never encrypted to the same bytes', async () => {
  const payload = payloadOf('a marker');
  const encrypted = await codec.encode(Array<Payload>(100).fill(payload));
  expect(new Set(encrypted.map((each) => bytesOf(each).toString('hex'))).size).toBe(100);
});

test('what was never encrypted is decoded as it is', async () => {
  const payloads = [payloadOf('plain'), {}, payloadOf(null)];
  expect(await codec.decode(payloads)).toEqual(payloads);
});

test('another key is refused by its name', async () => {
  const other = createEncryptionCodec(randomBytes(32));
  const refused = other.decode([await encryptOne(payloadOf('secret'))]);
  await expect(refused).rejects.toThrow(UnknownEncryptionKeyError);
  await expect(refused).rejects.toMatchObject({
    code: 'UNKNOWN_ENCRYPTION_KEY',
    message: expect.stringContaining(encryptionKeyId(key)) as string,
  });
});

test('a change of any byte is found, and so is a payload cut short', async () => {
  const encrypted = await encryptOne(payloadOf('secret'));
  const data = Buffer.from(encrypted.data!);
  const damaged = [...data.keys()].map((position) => {
    const changed = Buffer.from(data);
    changed[position]! ^= 1;
    return changed;
  });
  for (const each of [...damaged, data.subarray(0, 20), Buffer.alloc(0)]) {
    const decoded = codec.decode([{ ...encrypted, data: each }]);
    await expect(decoded).rejects.toThrow(PayloadDecryptionError);
  }
});

test('without a key nothing is encrypted', () => {
  expect(dataConverterOf({}).dataConverter).toEqual({
    payloadConverterPath,
    payloadCodecs: [compressionCodec],
  });
});
