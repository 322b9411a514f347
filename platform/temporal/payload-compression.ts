/**
 * Compresses large payloads: Temporal limits the input of a workflow to 2 MiB. Kafka messages are half
 * as large, but garbage can grow sixfold as JSON, and a message whose workflow cannot be started would
 * block its partition forever.
 */
import { promisify } from 'node:util';
import { constants, gunzip, gzip, type ZlibOptions } from 'node:zlib';
import type { Payload, PayloadCodec, SerializationContext } from '@temporalio/common';
import { temporal } from '@temporalio/proto';

/** A payload is corrupt. */
export class PayloadDecompressionError extends Error {
  override readonly name = 'PayloadDecompressionError';
  readonly code = 'PAYLOAD_DECOMPRESSION_FAILED';
}

/** Compression threshold in bytes. Smaller payloads stay readable in the Web UI. */
export const compressedFromBytes = 512 * 1024;

/**
 * The same for a local activity, whose input never leaves the worker. Its result does, with a bound that
 * is near to the server's.
 */
const locallyCompressedFromBytes = 1536 * 1024;

/** A batch of 1 MiB takes half the time of gzip's default level, and becomes a tenth larger. */
const fastest = constants.Z_BEST_SPEED;

/**
 * Compresses large payloads with gzip. Uncompressed payloads pass through decoding unchanged.
 *
 * @throws PayloadDecompressionError when decoding
 */
export const compressionCodec: PayloadCodec = {
  encode: (payloads, context) =>
    Promise.all(payloads.map((payload) => compress(payload, thresholdIn(context)))),
  decode: (payloads) => Promise.all(payloads.map(decompress)),
};

const { Payload: PayloadMessage } = temporal.api.common.v1;
const encoding = 'binary/gzip';
const compressBytes = promisify<Buffer | Uint8Array, ZlibOptions, Buffer>(gzip);
const decompressBytes = promisify<Buffer | Uint8Array, Buffer>(gunzip);

function thresholdIn(context: SerializationContext | undefined): number {
  return context?.type === 'activity' && context.isLocal
    ? locallyCompressedFromBytes
    : compressedFromBytes;
}

async function compress(payload: Payload, fromBytes: number): Promise<Payload> {
  if ((payload.data?.byteLength ?? 0) < fromBytes) return payload;
  const data = await compressBytes(PayloadMessage.encode(payload).finish(), { level: fastest });
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
