import { createOperator } from '../../operations/cli/operator';
import { createOutput } from '../../operations/cli/output';
import { createMemoryStreams } from '../../testkit/memory-streams';

test('a statement may take as long as it needs: whoever verifies or rebuilds can end it', async () => {
  const operator = createOperator(createOutput({ json: false }, createMemoryStreams()));
  try {
    // PostgreSQL's own limit can be lifted by SET; the client's cannot.
    expect(operator.pool().options).toMatchObject({ statement_timeout: 0, query_timeout: 0 });
  } finally {
    await operator.close();
  }
});
