/** What an answer says of a request that breaks its schema in very many places. */
import { z } from 'zod';
import type { Problem } from '../../api/http/problem';
import { validateInput } from '../../api/http/validation';

test('a body with tens of thousands of errors is refused at little cost, and a hundred are named', () => {
  const schema = z.strictObject({ delta: z.int() });
  const check = validateInput({ schema, httpPart: 'body' } as never);
  const fields = Array.from({ length: 30_000 }, (_, index) => [`field-${index}`, 0]);

  const result = check({ delta: 1, ...Object.fromEntries(fields) });

  const { code, errors } = (result as { error: Error }).error as Problem;
  expect(code).toBe('VALIDATION_FAILED');
  expect(errors).toHaveLength(100);
  expect(errors?.[0]).toEqual({ field: 'field-0', message: 'is not a known field' });
});
