/**
 * Encryption of what Temporal stores: inputs, results and failures leave this process encrypted with
 * AES-256-GCM. Workflow IDs, types and search attributes stay readable, so no secret belongs there.
 *
 * The form is that of Temporal's own examples, which their tools and codec servers know: the payload
 * as protobuf, behind a random 96-bit nonce, with the key's ID in the metadata.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import type { DataConverter, Payload, PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import type { Config } from '../process/config';
import { compressionCodec } from './payload-compression';

/** A payload was encrypted with a key that this process does not have. Another key is no retry's matter. */
export class UnknownEncryptionKeyError extends Error {
  override readonly name = 'UnknownEncryptionKeyError';
  readonly code = 'UNKNOWN_ENCRYPTION_KEY';
}

/** A payload is not what was encrypted: it was damaged or tampered with. */
export class PayloadDecryptionError extends Error {
  override readonly name = 'PayloadDecryptionError';
  readonly code = 'PAYLOAD_DECRYPTION_FAILED';
}

/** The path of the module that encodes failures; for {@link DataConverter} and the workflows' bundle. */
export const failureConverterPath = require.resolve('./encoding-failure-converter');

/** The path of the module that converts values; for {@link DataConverter} and the workflows' bundle. */
export const payloadConverterPath = require.resolve('./payload-converter');

/** How clients and workers convert data: compressed if large, and encrypted if there is a key. */
export function dataConverterOf({
  PAYLOAD_ENCRYPTION_KEY: key,
}: Pick<Config, 'PAYLOAD_ENCRYPTION_KEY'>): { readonly dataConverter: DataConverter } {
  const plain = { payloadConverterPath, payloadCodecs: [compressionCodec] };
  if (key === undefined) return { dataConverter: plain };
  // In this order: what is encrypted has no pattern left to be compressed.
  const payloadCodecs = [compressionCodec, createEncryptionCodec(key)];
  return { dataConverter: { ...plain, payloadCodecs, failureConverterPath } };
}

/**
 * Encrypts every payload with `key`. Payloads that are not encrypted are decoded as they are, so
 * encryption can be turned on while workflows are open.
 *
 * @param key 32 bytes
 * @throws UnknownEncryptionKeyError, PayloadDecryptionError when decoding
 */
export function createEncryptionCodec(key: Uint8Array): PayloadCodec {
  const keyId = encryptionKeyId(key);
  return {
    encode: (payloads) => Promise.resolve(payloads.map((payload) => encrypt(payload, key, keyId))),
    // Not async by need: it makes of a thrown error the rejection that callers expect.
    decode: async (payloads) => payloads.map((payload) => decrypt(payload, key, keyId)),
  };
}

/** The name of a key, which tells nothing of it. */
export function encryptionKeyId(key: Uint8Array): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16);
}

const cipher = 'aes-256-gcm';
const encoding = 'binary/encrypted';
const nonceBytes = 12;
const tagBytes = 16;

function encrypt(payload: Payload, key: Uint8Array, keyId: string): Payload {
  const nonce = randomBytes(nonceBytes);
  const encryption = createCipheriv(cipher, key, nonce);
  const plain = temporal.api.common.v1.Payload.encode(payload).finish();
  const encrypted = [encryption.update(plain), encryption.final(), encryption.getAuthTag()];
  return {
    metadata: { encoding: Buffer.from(encoding), 'encryption-key-id': Buffer.from(keyId) },
    data: Buffer.concat([nonce, ...encrypted]),
  };
}

function decrypt(payload: Payload, key: Uint8Array, keyId: string): Payload {
  const { metadata, data } = payload;
  if (textOf(metadata?.['encoding']) !== encoding) return payload;
  const usedKeyId = textOf(metadata?.['encryption-key-id']);
  if (usedKeyId !== keyId) {
    throw new UnknownEncryptionKeyError(
      `The payload was encrypted with key ${usedKeyId}, and PAYLOAD_ENCRYPTION_KEY is key ${keyId}: set it to the key that the other processes have.`,
    );
  }
  const encrypted = Buffer.from(data ?? []);
  try {
    const decryption = createDecipheriv(cipher, key, encrypted.subarray(0, nonceBytes));
    decryption.setAuthTag(encrypted.subarray(-tagBytes));
    const plain = [
      decryption.update(encrypted.subarray(nonceBytes, -tagBytes)),
      decryption.final(),
    ];
    return withBytes(temporal.api.common.v1.Payload.decode(Buffer.concat(plain)));
  } catch (cause) {
    throw new PayloadDecryptionError(
      `The payload is not what was encrypted with key ${keyId}: it was damaged or changed on its way.`,
      { cause },
    );
  }
}

// protobufjs makes of no bytes an empty array, which is no Uint8Array: a message without a byte in it
// would come back as something else.
function withBytes(payload: Payload): Payload {
  return payload.data?.length === 0 ? { ...payload, data: new Uint8Array() } : payload;
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return bytes ? Buffer.from(bytes).toString('utf8') : '';
}
