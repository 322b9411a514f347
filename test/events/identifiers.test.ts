import fc from 'fast-check';
import { deriveEventId } from '../../events/identifiers';
import { isReservedEventId } from '../../events/reserved-event-ids';

describe('the ID of an event that a workflow publishes', () => {
  test('is the same for ever', () => {
    // Written down once: were it to change, a retry after a deploy would publish its event again.
    expect(deriveEventId('stock-adjustment-1', 'StockAdjusted', 'product-1')).toBe(
      '2f400afe-2b89-5ffc-b108-b6e098173a0c',
    );
  });

  test('differs when workflow, type or position differ', () => {
    const parts = fc.tuple(fc.string(), fc.string(), fc.string());
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const same = one.every((part, index) => part === other[index]);
        expect(deriveEventId(...one) === deriveEventId(...other)).toBe(same);
      }),
    );
  });

  test('is not confused by where one part ends and the next begins', () => {
    expect(deriveEventId('a', 'b', 'c","d')).not.toBe(deriveEventId('a', 'b","c', 'd'));
    expect(deriveEventId('ab', 'c', 1)).not.toBe(deriveEventId('a', 'bc', 1));
  });

  test('is never reserved', () => {
    fc.assert(
      fc.property(fc.string(), (workflowId) => {
        expect(isReservedEventId(deriveEventId(workflowId, 'StockAdjusted', 0))).toBe(false);
      }),
    );
  });
});
