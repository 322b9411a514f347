import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { compressFrameSync } from 'lz4-napi';
import { compressSync } from 'snappy';
import { codecNames, decompress, DecompressionError } from '../../platform/kafka/compression';

const limit = 1024 * 1024;
const text = Buffer.from('hello hello hello hello world '.repeat(40));
const large = Buffer.from('a megabyte and more '.repeat(60_000));

// Made with `zstd -3`: no package here compresses so. The second is `and a second frame`.
const zstdFrame = Buffer.from('KLUv/QRYzQAAWGhlbGxvIHdvcmxkBAB3BPUBYGBnouOVIpGUeds=', 'base64');
const secondZstdFrame = Buffer.from('KLUv/QBYkQAAYW5kIGEgc2Vjb25kIGZyYW1l', 'base64');

/** A frame of zstd with one block of a repeated byte. */
function zstdBomb(blocks: number, windowDescriptor: number): Buffer {
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, windowDescriptor];
  const block = (last: boolean) => {
    const field = (128 * 1024 * 8) | (1 << 1) | (last ? 1 : 0);
    return [field & 0xff, (field >> 8) & 0xff, field >> 16, 0];
  };
  return Buffer.from([
    ...header,
    ...Array.from({ length: blocks }, (_, index) => block(index === blocks - 1)).flat(),
  ]);
}

function xerial(blocks: readonly Buffer[]): Buffer {
  const header = Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0, 0, 0, 0, 1, 0, 0, 0, 1]);
  const framed = blocks.flatMap((block) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(block.length);
    return [length, block];
  });
  return Buffer.concat([header, ...framed]);
}

function codeOf(codec: number, bytes: Buffer): string {
  try {
    decompress(codec, bytes, limit);
    return 'unpacked';
  } catch (error) {
    if (error instanceof DecompressionError) return error.code;
    throw error;
  }
}

test.each<[string, number, Buffer, Buffer]>([
  ['nothing', 0, text, text],
  ['gzip', 1, gzipSync(text), text],
  ['snappy, one bare block', 2, compressSync(text), text],
  [
    'snappy, framed',
    2,
    xerial([compressSync(text), compressSync(text)]),
    Buffer.concat([text, text]),
  ],
  ['lz4', 3, compressFrameSync(text), text],
  [
    'lz4, several blocks',
    3,
    compressFrameSync(large.subarray(0, 900_000)),
    large.subarray(0, 900_000),
  ],
  ['zstd', 4, zstdFrame, text],
  [
    'zstd, two frames',
    4,
    Buffer.concat([zstdFrame, secondZstdFrame]),
    Buffer.concat([text, Buffer.from('and a second frame')]),
  ],
])('what was compressed with %s is unpacked', (_, codec, packed, expected) => {
  expect(decompress(codec, packed, limit).equals(expected)).toBe(true);
});

test.each<[string, number, Buffer]>([
  ['gzip', 1, gzipSync(large)],
  ['snappy, one bare block', 2, compressSync(large)],
  ['snappy, framed', 2, xerial([compressSync(large), compressSync(large)])],
  ['lz4', 3, compressFrameSync(large)],
  ['zstd', 4, zstdBomb(10, 0x38)],
  ['zstd, with a window of gigabytes', 4, zstdBomb(1, 0xa0)],
  ['zstd, with more blocks than can be worked off', 4, zstdBomb(4_000, 0x68)],
])('what unpacks to too much with %s is refused', (_, codec, packed) => {
  expect(codeOf(codec, packed)).toBe('UNPACKS_TOO_LARGE');
});

test('a codec that Kafka does not have is refused', () => {
  expect(codeOf(5, text)).toBe('UNKNOWN_CODEC');
});

test('bytes behind an LZ4 frame are not left out unseen', () => {
  const frame = compressFrameSync(text);
  expect(codeOf(3, Buffer.concat([frame, frame]))).toBe('CANNOT_UNPACK');
});

describe.each(codecNames.map((name, codec) => [name, codec] as const))('with %s', (_, codec) => {
  const packed = [text, gzipSync(text), compressSync(text), compressFrameSync(text), zstdFrame];

  test('any bytes are unpacked or refused, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        codeOf(codec, Buffer.from(bytes));
      }),
    );
  });

  test('the same holds for bytes that are nearly right', () => {
    const place = fc.nat({ max: packed[codec]!.length - 1 });
    fc.assert(
      fc.property(place, fc.nat({ max: 255 }), place, (at, byte, end) => {
        const changed = Buffer.from(packed[codec]!);
        changed[at] = byte;
        codeOf(codec, changed);
        codeOf(codec, changed.subarray(0, end));
      }),
      { numRuns: 300 },
    );
  });
});
