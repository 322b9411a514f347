import { temporal } from '@temporalio/proto';
import { endedActivities, pendingActivity } from '../../operations/order-workflow';
import { readHistory } from '../workflows/histories';

const { PendingActivityState } = temporal.api.enums.v1;

async function endedIn(name: string): Promise<string[]> {
  const ended = endedActivities(await readHistory(name));
  return ended.map(({ activity, state, attempts }) => `${activity} ${state} ${attempts}`);
}

describe('what a history says of the activities of an order', () => {
  test('one that is charged at once has each of them once', async () => {
    expect(await endedIn('place-order-charged-at-once')).toEqual([
      'reserveStock succeeded 1',
      'chargeOrder succeeded 1',
      'confirmOrder succeeded 1',
      'publishOutbox succeeded 1',
    ]);
  });

  test('a try within the workflow task and the patient ones after it are told apart', async () => {
    const charges = (await endedIn('place-order-charged-patiently')).filter((each) =>
      each.startsWith('chargeOrder'),
    );
    expect(charges).toEqual(['chargeOrder failed 1', 'chargeOrder succeeded 2']);
  });

  test('why a try failed, and from when to when it went on, is kept', async () => {
    const ended = endedActivities(await readHistory('place-order-charged-patiently'));
    const failed = ended.find(({ state }) => state === 'failed')!;
    expect(failed.failure?.message).toBe('away');
    const patient = ended.findLast(({ activity }) => activity === 'chargeOrder')!;
    expect(Date.parse(patient.endedAt!) - Date.parse(patient.scheduledAt)).toBe(253);
  });

  test('a refund that was tried three times says so', async () => {
    expect(await endedIn('place-order-declined')).toContain('voidPayment succeeded 3');
  });
});

describe('an activity that has not ended', () => {
  const activityType = { name: 'voidPayment' };
  const scheduledTime = { seconds: 90, nanos: 0 } as never;
  const history = {
    events: [
      {
        eventTime: { seconds: 10, nanos: 5_000_000 } as never,
        activityTaskScheduledEventAttributes: { activityId: '4' },
      },
    ],
  };
  const {
    PENDING_ACTIVITY_STATE_SCHEDULED: scheduled,
    PENDING_ACTIVITY_STATE_STARTED: started,
    PENDING_ACTIVITY_STATE_CANCEL_REQUESTED: cancelRequested,
  } = PendingActivityState;

  test.each([
    [scheduled, 1, 'queued', 0],
    [started, 1, 'running', 1],
    [scheduled, 5, 'retrying', 4],
    [started, 5, 'running', 5],
    [cancelRequested, 2, 'abandoned', 2],
  ])('in the state %i at its attempt %i is %s after %i', (state, attempt, expected, attempts) => {
    const pending = { activityId: '4', activityType, state, attempt, scheduledTime };
    expect(pendingActivity(pending, history)).toMatchObject({
      activity: 'voidPayment',
      state: expected,
      attempts,
      endedAt: null,
    });
  });

  test('is as old as its first attempt', () => {
    const pending = { activityId: '4', activityType, state: scheduled, attempt: 5, scheduledTime };
    expect(pendingActivity(pending, history).scheduledAt).toBe('1970-01-01T00:00:10.005Z');
    expect(pendingActivity({ ...pending, activityId: '5' }, history).scheduledAt).toBe(
      '1970-01-01T00:01:30.000Z',
    );
  });
});
