/**
 * Encryption at rest for Temporal: inputs, results and failures leave this process encrypted with
 * AES-256-GCM. Workflow IDs, types and search attributes stay readable, so no secret belongs there.
 *
 * The format is that of Temporal's own examples, which its tools and codec servers support: a random
 * 96-bit nonce, then the payload as protobuf; the key ID is in the metadata.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import type { DataConverter, Payload, PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import type { Config } from '../process/config';
import { compressionCodec } from './payload-compression';

/** A payload was encrypted with a key that this process does not have. Not retryable. */
export class UnknownEncryptionKeyError extends Error {
  override readonly name = 'UnknownEncryptionKeyError';
  readonly code = 'UNKNOWN_ENCRYPTION_KEY';
}

/** Decryption failed: the payload is corrupt or was tampered with. */
export class PayloadDecryptionError extends Error {
  override readonly name = 'PayloadDecryptionError';
  readonly code = 'PAYLOAD_DECRYPTION_FAILED';
}

/** The path of the module that encodes failures; for {@link DataConverter} and the workflows' bundle. */
export const failureConverterPath = require.resolve('./encoding-failure-converter');

/** The path of the module that converts values; for {@link DataConverter} and the workflows' bundle. */
export const payloadConverterPath = require.resolve('./payload-converter');

/**
 * Data converter of clients and workers: large payloads are compressed, all are encrypted if there is a
 * key.
 */
export function dataConverterOf({
  PAYLOAD_ENCRYPTION_KEY: key,
}: Pick<Config, 'PAYLOAD_ENCRYPTION_KEY'>): { readonly dataConverter: DataConverter } {
  const plain = { payloadConverterPath, payloadCodecs: [compressionCodec] };
  if (key === undefined) return { dataConverter: plain };
  // In this order: encrypted data does not compress.
  const payloadCodecs = [compressionCodec, createEncryptionCodec(key)];
  return { dataConverter: { ...plain, payloadCodecs, failureConverterPath } };
}

/**
 * Encrypts every payload with `key`. Unencrypted payloads pass through decoding unchanged, so
 * encryption can be turned on while workflows are open.
 *
 * @param key 32 bytes
 * @throws UnknownEncryptionKeyError, PayloadDecryptionError when decoding
 */
export function createEncryptionCodec(key: Uint8Array): PayloadCodec {
  const keyId = encryptionKeyId(key);
  return {
    encode: (payloads) => Promise.resolve(payloads.map((payload) => encrypt(payload, key, keyId))),
    // `async` only to turn a thrown error into the rejection that callers expect.
    decode: async (payloads) => payloads.map((payload) => decrypt(payload, key, keyId)),
  };
}

/** The ID of a key, which reveals nothing about it. */
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
      `The payload was encrypted with key ${usedKeyId}, but PAYLOAD_ENCRYPTION_KEY is key ${keyId}: set it to the key of the other processes.`,
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
      `The payload cannot be decrypted with key ${keyId}: it is corrupt or was tampered with.`,
      { cause },
    );
  }
}

// protobufjs decodes empty bytes to an empty array, not a Uint8Array: an empty message would change its
// type.
function withBytes(payload: Payload): Payload {
  return payload.data?.length === 0 ? { ...payload, data: new Uint8Array() } : payload;
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return bytes ? Buffer.from(bytes).toString('utf8') : '';
}
