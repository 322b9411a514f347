import { judge, type JourneyFacts } from '../../operations/journey-state';

const place = { topic: 'order-events', partition: 3, offset: 17 };
const handledFacts: JourneyFacts = {
  committed: { leftBehindAt: null },
  published: place,
  consumption: null,
  isRunning: false,
  logged: place,
  handled: {},
  evictionsWaiting: false,
  deadLetters: [],
};
const loggedFacts: JourneyFacts = { ...handledFacts, handled: null };
const publishedFacts: JourneyFacts = { ...loggedFacts, logged: null };
const letter = {
  id: 13,
  status: 'parked',
  reason: 'DATA_REFUSED',
  redrivingSince: null,
  note: null,
} as const;

test('what no store knows has no verdict', () => {
  const nowhere = { ...publishedFacts, committed: null, published: null };
  expect(judge(nowhere)).toBeUndefined();
});

test('there is nothing to do about what is handled', () => {
  expect(judge(handledFacts)).toMatchObject({ state: 'handled', remedy: null });
});

describe('what is not handled says where it is and what to check:', () => {
  test.each<[where: string, facts: JourneyFacts, state: string, says: RegExp]>([
    [
      'in the outbox',
      { ...publishedFacts, published: null },
      'unpublished',
      /outbox.*Kafka is available and worker:commerce/s,
    ],
    [
      'in the outbox, as the audit has found',
      { ...publishedFacts, published: null, committed: { leftBehindAt: '2026-01-01T00:00:00Z' } },
      'unpublished',
      /found it so at 2026-01-01/,
    ],
    [
      'in Kafka, behind others',
      { ...publishedFacts, consumption: { committed: 5, ahead: 12 } },
      'published',
      /order-events\/3, offset 17.*12 messages are before it.*the lag/s,
    ],
    [
      'in Kafka, as the next',
      { ...publishedFacts, consumption: { committed: 16, ahead: 1 } },
      'published',
      /1 message is before it/,
    ],
    [
      'in Kafka, where nothing was ever read',
      { ...publishedFacts, consumption: { committed: null, ahead: 17 } },
      'published',
      /has not read it: 17 messages/,
    ],
    [
      'read, and in no table',
      { ...publishedFacts, consumption: { committed: 18, ahead: 0 } },
      'published',
      /read by the bridge; it is not logged.*delivery audit/s,
    ],
    [
      'in Kafka, which does not answer',
      publishedFacts,
      'published',
      /unknown.*Kafka is available/s,
    ],
    ['with its workflow', { ...publishedFacts, isRunning: true }, 'taken', /Open the workflow/],
    ['logged', loggedFacts, 'logged', /worker:collector is running/],
    ['logged, by a workflow', { ...loggedFacts, isRunning: true }, 'logged', /Open the workflow/],
    [
      'parked',
      { ...publishedFacts, deadLetters: [letter] },
      'parked',
      /dead letter 13: DATA_REFUSED/,
    ],
    [
      'parked after it was logged',
      { ...loggedFacts, deadLetters: [letter] },
      'parked',
      /no effects.*redrive it, or discard it/s,
    ],
    [
      'on its way back',
      { ...loggedFacts, deadLetters: [{ ...letter, redrivingSince: '2026-01-01T00:00:00Z' }] },
      'redriven',
      /sent back to its topic/,
    ],
    [
      'sent back',
      { ...loggedFacts, deadLetters: [{ ...letter, status: 'redriven' }] },
      'redriven',
      /parked as a new dead letter/,
    ],
    [
      'given up',
      { ...loggedFacts, deadLetters: [{ ...letter, status: 'discarded', note: 'a test' }] },
      'discarded',
      /\(a test\).*redrive the dead letter again/s,
    ],
  ])('%s', (_where, facts, state, says) => {
    const verdict = judge(facts);
    expect(verdict?.state).toBe(state);
    expect(`${verdict?.summary} ${verdict?.remedy}`).toMatch(says);
  });
});

test('the newest dead letter decides', () => {
  const deadLetters = [letter, { ...letter, id: 12, status: 'redriven' as const }];
  expect(judge({ ...loggedFacts, deadLetters })).toMatchObject({ state: 'parked' });
});

test('what is handled stays so, whatever waits beside it', () => {
  expect(judge({ ...handledFacts, deadLetters: [letter] })).toMatchObject({
    state: 'handled',
    remedy: expect.stringContaining('redrive or discard'),
  });
  expect(judge({ ...handledFacts, evictionsWaiting: true })).toMatchObject({
    state: 'handled',
    remedy: expect.stringContaining('Redis'),
  });
});
