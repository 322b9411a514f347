import { createOperator } from '../../operations/cli/operator';
import { createOutput } from '../../operations/cli/output';
import { ConfigurationError } from '../../platform/process/config';
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

test('a command is refused for settings of a server when it asks for that server, and not before', async () => {
  const environment = { KAFKA_SASL_MECHANISM: 'plain', TEMPORAL_TLS_CA_FILE: 'ca.pem' };
  const output = createOutput({ json: false }, createMemoryStreams());
  const operator = createOperator(output, environment);
  try {
    expect(() => operator.kafka()).toThrow(ConfigurationError);
    expect(() => operator.kafka()).not.toThrow(/TEMPORAL_/);
    expect(() => operator.orders()).toThrow(/TEMPORAL_TLS_CA_FILE/);
  } finally {
    await operator.close();
  }
});
