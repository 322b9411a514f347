/** The lines of an order as a shopper sends them: merged by product, and refused where they cannot be. */
import type { OrderLine } from '../../events/orders';
import { invalidField, Problem, type FieldError } from '../http/problem';

/**
 * One line for each product, in the order in which products come first.
 *
 * @throws Problem 400 that names the line with which a product's quantity stops being exact
 */
export function mergeLines(lines: readonly OrderLine[]): OrderLine[] {
  const quantities = new Map<string, number>();
  lines.forEach(({ productId, quantity }, index) => {
    const sum = (quantities.get(productId) ?? 0) + quantity;
    if (!Number.isSafeInteger(sum)) throw tooMuch(index, "the product's quantity");
    quantities.set(productId, sum);
  });
  return [...quantities].map(([productId, quantity]) => ({ productId, quantity }));
}

/**
 * Refuses an order that cannot be placed, whatever the stock is.
 *
 * @param lines as they were sent
 * @param prices of one unit of each product that exists
 * @throws Problem 404 that names each line of an unknown product; 400 that names the line with
 *   which the total amount stops being exact
 */
export function checkLines(lines: readonly OrderLine[], prices: ReadonlyMap<string, number>): void {
  const errors = lines.flatMap(({ productId }, index) =>
    prices.has(productId) ? [] : [unknownProduct(productId, index)],
  );
  if (errors.length > 0) throw unknownProducts(errors);
  let total = 0n;
  lines.forEach(({ productId, quantity }, index) => {
    total += BigInt(prices.get(productId)!) * BigInt(quantity);
    if (total > Number.MAX_SAFE_INTEGER) throw tooMuch(index, "the order's total amount");
  });
}

/** The 404 for an order with products that do not exist, which the field errors name. */
export function unknownProducts(errors: readonly FieldError[]): Problem {
  const detail = errors.map(({ message }) => message).join('; ');
  return new Problem('PRODUCT_NOT_FOUND', { detail, errors });
}

/** What is wrong with a line whose product does not exist. */
export function unknownProduct(productId: string, index: number): FieldError {
  return { field: `items.${index}.productId`, message: `there is no product ${productId}` };
}

function tooMuch(index: number, what: string): Problem {
  return invalidField(`items.${index}.quantity`, `with this line, ${what} exceeds 2^53 - 1`);
}
