/**
 * Compresses large payloads: Temporal limits the input of a workflow to 2 MiB. Kafka messages are half
 * as large, but garbage can grow sixfold as JSON, and a message whose workflow cannot be started would
 * block its partition forever.
 */
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';

/** A payload is corrupt. */
export class PayloadDecompressionError extends Error {
  override readonly name = 'PayloadDecompressionError';
  readonly code = 'PAYLOAD_DECOMPRESSION_FAILED';
}

/** Compression threshold in bytes. Smaller payloads stay readable in the Web UI. */
export const compressedFromBytes = 512 * 1024;

/**
 * Compresses large payloads with gzip. Uncompressed payloads pass through decoding unchanged.
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
  // Incompressible bytes only grow.
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
    throw new PayloadDecompressionError('The payload is not valid gzip data.', {
      cause,
    });
  }
}
