/**
 * What happens without an idempotent consumer. Two guards protect the counters from a duplicate
 * event: Temporal, which rejects a second workflow with the same ID, and `event_handled`. Each is
 * disabled, and then both.
 */
import { endAll } from '../test/faults/faults';
import { enterEmptyNamespace } from '../test/faults/forgetting';
import { createStack, type Stack } from '../testkit/stack';
import { guardIgnored } from '../test/faults/altered';
import type { Experiment } from './experiment';
import { atRest, countedViews, rewind, sendViews } from './views';

const views = 200;
const deliveries = 3;

export const guards: Experiment = {
  name: 'guards',
  question: 'What does a counter show after every event was delivered three times?',
  columns: [
    'Temporal’s memory of workflow IDs',
    '`event_handled`',
    'views',
    ...Array.from({ length: deliveries }, (_, index) => `after delivery ${index + 1}`),
  ],
  async run() {
    const rows = [];
    for (const temporalForgets of [false, true]) {
      for (const handledIsIgnored of [false, true]) {
        const counted = await deliver(temporalForgets, handledIsIgnored);
        rows.push([
          temporalForgets ? 'forgotten each time' : 'kept',
          handledIsIgnored ? 'ignored' : 'asked',
          views,
          ...counted,
        ]);
      }
    }
    return {
      rows,
      remarks: [
        'Forgotten: an empty namespace, as after the retention of the namespace.',
        'Ignored: the statement that updates the metrics takes every event for a new one, and the collector gets the right to do so, which its role does not have.',
      ],
    };
  },
};

async function deliver(temporalForgets: boolean, handledIsIgnored: boolean): Promise<number[]> {
  const stack = await createStack([]);
  try {
    if (handledIsIgnored) Object.assign(stack.later, await guardIgnored(stack));
    await stack.start('worker:collector');
    await stack.start('bridge');
    await sendViews(stack, views);
    await atRest(stack);
    const counted = [await countedViews(stack)];
    while (counted.length < deliveries) {
      await rewind(stack);
      if (temporalForgets) await forget(stack);
      await stack.start('bridge');
      await atRest(stack);
      counted.push(await countedViews(stack));
    }
    return counted;
  } finally {
    await stack.stop();
  }
}

/** Continues in an empty namespace. */
async function forget(stack: Stack): Promise<void> {
  await endAll(stack, 'worker:collector');
  await enterEmptyNamespace(stack);
  await stack.start('worker:collector');
}
