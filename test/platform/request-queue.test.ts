/** When a connection of kafkajs looks at the requests that wait for it. */
import RequestQueue from 'kafkajs/src/network/requestQueue';
import { leaveEmptyQueues } from '../../platform/kafka/request-queue';

beforeAll(leaveEmptyQueues);

test('nothing is looked at while nothing waits, and what waits is sent when it may be', () => {
  const logger = { debug: () => undefined, warn: () => undefined };
  const queue = new RequestQueue({ maxInFlightRequests: 1, requestTimeout: 1_000, logger });
  const sent: number[] = [];
  const push = (correlationId: number): void => {
    const entry = { correlationId, resolve: () => undefined, reject: () => undefined };
    const sendRequest = (): void => void sent.push(correlationId);
    queue.push({ entry, expectResponse: true, sendRequest });
  };
  const answer = (correlationId: number): void =>
    queue.fulfillRequest({ correlationId, payload: Buffer.alloc(0), size: 0 });
  try {
    push(1);
    answer(1);
    expect(queue.throttleCheckTimeoutId).toBeNull();

    push(2);
    push(3);
    expect(sent).toEqual([1, 2]);
    expect(queue.throttleCheckTimeoutId).not.toBeNull();

    answer(2);
    expect(sent).toEqual([1, 2, 3]);
  } finally {
    queue.destroy();
  }
});
