/** `scale-out`: whether several bridges and workers share the work, and still count every event once. */
import { AssignerProtocol, type Kafka } from 'kafkajs';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { startAtEnd } from '../consuming';
import { measuringProcessorTime } from '../processor-time';
import { readCounter } from '../scrape';
import { emptyCollector, inTurn, type Contestant, type Suite } from '../suite';
import { drainBacklog } from './catch-up';

type Mode = 'per-event' | 'coalesce';

const processCounts = [1, 2, 4];
const backlogs: Readonly<Record<Mode, { count: number; warmUp: number }>> = {
  coalesce: { count: 20_000, warmUp: 4_000 },
  'per-event': { count: 400, warmUp: 60 },
};

export const scaleOut: Suite = {
  name: 'scale-out',
  about: 'a backlog shared by one, two and four bridges and as many workers, on one machine',
  async run(context) {
    const stack = await createStack([]);
    try {
      const sides = await inTurn(
        (['coalesce', 'per-event'] as const).flatMap((mode) =>
          processCounts.map((count) => sharing(stack, mode, count, context.scale)),
        ),
        context,
      );
      return {
        sides,
        ratios: [],
        targets: [],
        remarks: ['The shares of the workers are those of the warm-up and the backlog together.'],
      };
    } finally {
      await stack.stop();
    }
  },
};

function sharing(stack: Stack, mode: Mode, processes: number, scale: number): Contestant {
  return {
    name: `${mode} × ${processes}`,
    what: `${processes} bridge${processes > 1 ? 's' : ''} with BRIDGE_MODE=${mode} and as many workers`,
    async measure() {
      await emptyCollector(stack);
      const group = await startAtEnd(stack);
      const each = Array.from({ length: processes });
      const [workers, bridges] = await Promise.all([
        Promise.all(each.map(() => stack.start('worker:collector'))),
        Promise.all(each.map(() => stack.start('bridge', { ...group, BRIDGE_MODE: mode }))),
      ]);
      try {
        const partitions = await untilShared(stack.kafka, group.BRIDGE_GROUP_ID, processes);
        const { count, warmUp } = backlogs[mode];
        const measured = Math.round(count * scale);
        const figures = await drainBacklog(stack, measured, warmUp, (work) =>
          measuringProcessorTime('event', work, () => measured),
        );
        const handled = await Promise.all(
          workers.map((worker) =>
            readCounter(`${worker.url}/metrics`, 'commerce_events_handled_total'),
          ),
        );
        const all = handled.reduce((sum, one) => sum + one);
        return {
          ...figures,
          'least partitions of a bridge': Math.min(...partitions),
          'most partitions of a bridge': Math.max(...partitions),
          'least events of a worker, %': (100 * Math.min(...handled)) / all,
          'most events of a worker, %': (100 * Math.max(...handled)) / all,
        };
      } finally {
        await Promise.all([...bridges, ...workers].map((one) => one.end()));
      }
    },
  };
}

/** Waits until so many bridges are in the group. @returns how many partitions each of them has */
async function untilShared(kafka: Kafka, groupId: string, members: number): Promise<number[]> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await until('every bridge has partitions', async () => {
      const group = (await admin.describeGroups([groupId])).groups[0]!;
      const partitions = group.members.map(({ memberAssignment }) => countOf(memberAssignment));
      const shared = partitions.length === members && partitions.every((count) => count > 0);
      return group.state === 'Stable' && shared ? partitions : undefined;
    });
  } finally {
    await admin.disconnect();
  }
}

function countOf(memberAssignment: Buffer): number {
  const topics = AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {};
  return Object.values(topics).flat().length;
}
