import { checkLines, mergeLines } from '../../api/orders/lines';
import { Problem } from '../../api/http/problem';

const largest = Number.MAX_SAFE_INTEGER;

function fieldsOf(work: () => unknown): [status: number, fields: string[]] {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) {
      return [error.status, (error.errors ?? []).map(({ field }) => field)];
    }
    throw error;
  }
  throw new Error('nothing was refused');
}

const lines = (...quantities: [productId: string, quantity: number][]) =>
  quantities.map(([productId, quantity]) => ({ productId, quantity }));

describe('lines of an order', () => {
  test('with the same product become one, where the product came first', () => {
    expect(mergeLines(lines(['tea', 1], ['pot', 2], ['tea', 3]))).toEqual(
      lines(['tea', 4], ['pot', 2]),
    );
  });

  test('are refused where a quantity stops being exact', () => {
    expect(mergeLines(lines(['tea', largest - 1], ['tea', 1]))).toEqual(lines(['tea', largest]));
    expect(fieldsOf(() => mergeLines(lines(['tea', largest], ['pot', 1], ['tea', 1])))).toEqual([
      400,
      ['items.2.quantity'],
    ]);
  });

  test('are refused where the total amount stops being exact', () => {
    const prices = new Map([
      ['tea', 1],
      ['gold', largest],
    ]);
    expect(() => checkLines(lines(['gold', 1]), prices)).not.toThrow();
    expect(fieldsOf(() => checkLines(lines(['gold', 1], ['tea', 1]), prices))).toEqual([
      400,
      ['items.1.quantity'],
    ]);
    expect(fieldsOf(() => checkLines(lines(['tea', 1], ['gold', largest]), prices))).toEqual([
      400,
      ['items.1.quantity'],
    ]);
  });

  test('are refused by name, each of them, where there is no such product', () => {
    const prices = new Map([['tea', 1]]);
    expect(fieldsOf(() => checkLines(lines(['pot', 1], ['tea', 1], ['cup', 1]), prices))).toEqual([
      404,
      ['items.0.productId', 'items.2.productId'],
    ]);
  });
});
