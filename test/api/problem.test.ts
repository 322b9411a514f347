/** What a problem takes from the table of problems, and what its thrower may override. */
import { Problem, problemJson } from '../../api/http/problem';

test('a problem has the status, the detail and the Retry-After of its code', () => {
  const problem = new Problem('TEMPORAL_UNAVAILABLE');
  expect(problem).toMatchObject({
    status: 503,
    detail: 'Temporal is unavailable; nothing was started. Retry.',
    headers: { 'retry-after': '2' },
  });
  expect(problem.message).toBe(problem.detail);
});

test('the title of an answer is the name of its status', () => {
  expect(JSON.parse(problemJson(new Problem('OUT_OF_STOCK')))).toMatchObject({
    title: 'Conflict',
    status: 409,
    code: 'OUT_OF_STOCK',
  });
});

test('whoever throws a problem can say more than its code does', () => {
  const cause = new Error('refused');
  const problem = new Problem('UNDECIDED', {
    detail: 'Not recorded.',
    headers: { 'retry-after': '20' },
    orderId: 'order-1',
    cause,
  });
  expect(problem).toMatchObject({
    status: 503,
    detail: 'Not recorded.',
    headers: { 'retry-after': '20' },
    orderId: 'order-1',
    cause,
  });
});

test('a code that is not in the table does not compile', () => {
  // @ts-expect-error -- that there is an error is what this claims
  expect(() => new Problem('TEAPOT')).toThrow(TypeError);
});
