/**
 * Compression of the large payloads that Temporal carries, which takes 2 MiB for the input of a
 * workflow. Kafka's messages are half as large, but as JSON garbage can grow sixfold, and a message
 * whose workflow cannot be started would stand in the way of its partition for ever.
 */
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';

/** A payload is not what was compressed: it was damaged. */
export class PayloadDecompressionError extends Error {
  override readonly name = 'PayloadDecompressionError';
  readonly code = 'PAYLOAD_DECOMPRESSION_FAILED';
}

/** From how many bytes on a payload is compressed. What is smaller stays readable in the Web UI. */
export const compressedFromBytes = 512 * 1024;

/**
 * Compresses large payloads with gzip. Payloads that are not compressed are decoded as they are.
 *
 * @throws PayloadDecompressionError when decoding
 */
export const compressionCodec: PayloadCodec = {
  encode: (payloads) => Promise.all(payloads.map(compress)),
  decode: (payloads) => Promise.all(payloads.map(decompress)),
};

const { Payload: PayloadMessage } = temporal.api.common.v1;
const encoding = 'binary/gzip';
const compressBytes = promisify(gzip);
const decompressBytes = promisify<Buffer | Uint8Array, Buffer>(gunzip);

async function compress(payload: Payload): Promise<Payload> {
  if ((payload.data?.byteLength ?? 0) < compressedFromBytes) return payload;
  const data = await compressBytes(PayloadMessage.encode(payload).finish());
  // Bytes without any pattern only grow.
  if (data.byteLength >= payload.data!.byteLength) return payload;
  return { metadata: { encoding: Buffer.from(encoding) }, data };
}

async function decompress(payload: Payload): Promise<Payload> {
  const { metadata, data } = payload;
  const isCompressed = Buffer.from(metadata?.['encoding'] ?? '').toString() === encoding;
  if (!isCompressed) return payload;
  try {
    return PayloadMessage.decode(await decompressBytes(data ?? Buffer.alloc(0)));
  } catch (cause) {
    throw new PayloadDecompressionError('The payload is not the gzip data that it should be.', {
      cause,
    });
  }
}
