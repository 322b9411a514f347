import { defaultPayloadConverter } from '@temporalio/common';
import fc from 'fast-check';
import { payloadConverter } from '../../platform/temporal/payload-converter';

const values = fc.oneof(
  fc.jsonValue({ stringUnit: 'binary' }),
  fc.string({ unit: 'binary' }).map((text) => `\ud800${text}\ufeff`),
  fc.uint8Array(),
  fc.constant(undefined),
);

test("makes of every value what Temporal's own converter makes of it, byte for byte", () => {
  fc.assert(
    fc.property(values, (value) => {
      expect(payloadConverter.toPayload(value)).toEqual(defaultPayloadConverter.toPayload(value));
    }),
  );
});

test("reads what Temporal's own converter wrote", () => {
  fc.assert(
    fc.property(values, (value) => {
      const payload = defaultPayloadConverter.toPayload(value);
      expect(payloadConverter.fromPayload(payload)).toEqual(
        defaultPayloadConverter.fromPayload(payload),
      );
    }),
  );
});

test.each([1n, { nested: 1n }, () => 1])('rejects what has no JSON: %p', (value) => {
  expect(() => payloadConverter.toPayload(value)).toThrow('Unable to convert');
});

test("takes no mark of the byte order for part of JSON, as Temporal's own does not", () => {
  const data = new TextEncoder().encode('\ufeff1');
  const payload = { ...defaultPayloadConverter.toPayload(1), data };
  for (const converter of [payloadConverter, defaultPayloadConverter]) {
    expect(() => converter.fromPayload(payload)).toThrow(SyntaxError);
  }
});

test('rejects a payload without data', () => {
  const { metadata } = defaultPayloadConverter.toPayload('text');
  expect(() => payloadConverter.fromPayload({ metadata: metadata! })).toThrow('has no data');
});
