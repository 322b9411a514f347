import fc from 'fast-check';
import { decodeBytes, encodeBytes } from '../../events/received';

describe('bytes that travel through JSON', () => {
  const anyBytes = fc.oneof(
    fc.uint8Array(),
    fc.string({ unit: 'binary' }).map((text) => new TextEncoder().encode(text)),
  );

  test('come back, whatever they are', () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const travelled = JSON.parse(JSON.stringify(encodeBytes(bytes))) as ReturnType<
          typeof encodeBytes
        >;
        expect(decodeBytes(travelled).equals(bytes)).toBe(true);
      }),
    );
  });

  test('come back as themselves when they are a part of a larger buffer', () => {
    const part = Buffer.from('abcdef').subarray(2, 4);
    expect(decodeBytes(encodeBytes(part)).toString()).toBe('cd');
  });

  test('are readable where they are text', () => {
    expect(encodeBytes(Buffer.from('{"name":"Größe"}'))).toEqual({ text: '{"name":"Größe"}' });
    expect(encodeBytes(Buffer.alloc(0))).toEqual({ text: '' });
  });

  test('are base64 where PostgreSQL could not store them as text', () => {
    expect(encodeBytes(Buffer.from('a\0b'))).toEqual({ base64: 'YQBi' });
    expect(encodeBytes(Buffer.from([0xff]))).toEqual({ base64: '/w==' });
  });
});
