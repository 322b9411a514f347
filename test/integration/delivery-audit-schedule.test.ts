/** The schedule of the delivery audit on a real server: it is there, and comes back where Temporal has lost it. */
import { ScheduleNotFoundError } from '@temporalio/client';
import { pino } from 'pino';
import { deliveryAuditScheduleId } from '../../events/workflow-ids';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { keepDeliveryAuditScheduled } from '../../workers/delivery-audit-schedule';

const hourMs = 3_600_000;
let stack: Stack;

beforeAll(async () => {
  stack = await createStack([], { AUDIT_INTERVAL_MS: String(24 * hourMs) });
}, 120_000);

afterAll(() => stack?.stop());

async function intervalMs(): Promise<number | undefined> {
  try {
    const schedule = stack.temporal.schedule.getHandle(deliveryAuditScheduleId);
    return (await schedule.describe()).spec.intervals?.[0]?.every;
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return undefined;
    throw error;
  }
}

test('a schedule that is gone is made anew, once, by whoever is there, and ends with nobody', async () => {
  const logged: string[] = [];
  const logger = pino({}, { write: (line: string) => logged.push(line) });
  const stopping = new AbortController();
  const keep = (everyMs: number): Promise<void> => {
    const config = { ...stack.config, AUDIT_INTERVAL_MS: everyMs };
    const dependencies = { client: stack.temporal, config, logger };
    return keepDeliveryAuditScheduled(dependencies, stopping.signal, { lookEveryMs: 100 });
  };
  const first = keep(24 * hourMs);
  await until('it is there', intervalMs);
  const second = keep(12 * hourMs);
  await until('it is as the last one wants it', async () => (await intervalMs()) === 12 * hourMs);
  const looks = jest.spyOn(stack.temporal.schedule, 'create');
  await until('both have looked again', () => looks.mock.calls.length >= 4);
  // They do not take turns at it.
  expect(await intervalMs()).toBe(12 * hourMs);
  expect(logged.join('')).not.toContain('was gone');

  await stack.temporal.schedule.getHandle(deliveryAuditScheduleId).delete();
  await until('it is there again', intervalMs);
  await until('that is told', () => logged.join('').includes('was gone'));
  const seen = looks.mock.calls.length;
  await until('both have looked again', () => looks.mock.calls.length >= seen + 4);
  expect(logged.join('').match(/was gone/g)).toHaveLength(1);

  stopping.abort();
  await Promise.all([first, second]);
}, 60_000);
