/** `load-curve`: the time from an event to its effects at steady rates, and the rate that is too much. */
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import type { ForeignEvent } from '../../testkit/foreign-producer';
import { checkEffects, createEvents, messagesOf } from '../backlog';
import { startConsuming, untilHandled } from '../consuming';
import {
  figureAt,
  figuresOf,
  pointOf,
  pointsOf,
  rates,
  type HandledEvent,
  type Point,
} from '../curve';
import { assertKept, sendAtRate, type Load, type SentLoad } from '../open-loop';
import { installPeerPackages, peerVersions } from '../peer-packages';
import {
  emptyCollector,
  inTurn,
  ratioOf,
  type Contestant,
  type Figures,
  type Ratio,
  type Side,
  type Suite,
  type SuiteContext,
  type Target,
} from '../suite';
import { peers, startPeer } from './peers';

/** Left out of the times, and as long at any scale: the side has to come to rest at the rate. */
const warmUpSeconds = 3;
const measuredSeconds = 12;

/** At low rates it takes longer, until there are so many. */
const fewestEvents = 30;

/** Before a side's first rate, for what runs faster once it has run. */
const firstLoad = { perSecond: 30, seconds: 10 };

/** From this rate on a peer's p99 is compared. */
const comparedFrom = 100;

const worst = { p50: 'worst p50 ms, to 3,000/s', p99: 'worst p99 ms, to 3,000/s' } as const;
const worstUpTo = 3_000;
const flatness = 'p50 at 1,000/s ÷ p50 at 10/s';
const highestHeld = 'highest rate held, events/s';

/** A side whose processes run. */
interface Running {
  /** Rejects when one of them ends by itself, where that is noticed. */
  readonly unexpectedEnd?: Promise<never>;
  end(): Promise<unknown>;
}

/** A side: how it is started, at the end of the topics. */
interface Arrangement {
  readonly name: string;
  readonly what: string;
  start(stack: Stack): Promise<Running>;
}

const arrangements: readonly Arrangement[] = [
  pipeline('per-event', 'bridge with BRIDGE_MODE=per-event, Temporal, one worker', [
    'worker:collector',
    'bridge',
  ]),
  pipeline('coalesce', 'bridge with BRIDGE_MODE=coalesce, Temporal, one worker', [
    'worker:collector',
    'bridge',
  ]),
  pipeline('one-process', 'per-event, bridge and worker in one process: `npm run collector`', [
    'collector',
  ]),
  ...Object.entries(peers).map(([name, { batch }]): Arrangement => ({
    name,
    what: batch,
    start: (stack) => startPeer(stack, name, 'batch'),
  })),
];

export const loadCurve: Suite = {
  name: 'load-curve',
  about: 'the time from an event to its effects in PostgreSQL and Redis, at steady rates',
  async run(context) {
    await installPeerPackages(context);
    const stack = await createStack([]);
    const delays: number[] = [];
    try {
      const measured = await inTurn(
        arrangements.map((arrangement) => climbing(stack, arrangement, context, delays)),
        context,
      );
      const sides = measured.map((side) => ({ ...side, points: pointsOf(side.figures) }));
      return {
        sides,
        ratios: Object.keys(peers).flatMap((peer) => worstRatio(sides, peer, context.rounds)),
        targets: targets.filter(
          ({ side, figure }) => figuresOfSide(sides, side)[figure]?.length === context.rounds,
        ),
        remarks: remarksFor(delays),
        versions: await peerVersions(),
      };
    } finally {
      await stack.stop();
    }
  },
};

const targets: readonly Target[] = [
  { side: 'coalesce', figure: highestHeld, goal: { atLeast: 5_000 } },
  { side: 'coalesce', figure: worst.p50, goal: { below: 100 } },
  { side: 'coalesce', figure: worst.p99, goal: { below: 250 } },
  { side: 'coalesce', figure: flatness, goal: { below: 2.5 } },
  { side: 'coalesce', figure: figureAt('p50', 5_000), goal: { below: 250 } },
  { side: 'coalesce', figure: figureAt('p99', 5_000), goal: { below: 600 } },
];

function pipeline(name: string, what: string, processes: readonly ProcessName[]): Arrangement {
  return {
    name,
    what,
    start: (stack) =>
      startConsuming(stack, processes, {
        BRIDGE_MODE: name === 'coalesce' ? 'coalesce' : 'per-event',
      }),
  };
}

/** One rate after the other, from the lowest, until one is not held. */
function climbing(
  stack: Stack,
  { name, what, start }: Arrangement,
  { scale, note, signal }: SuiteContext,
  delays: number[],
): Contestant {
  return {
    name,
    what,
    async measure() {
      await emptyCollector(stack);
      const running = await start(stack);
      const sender = await createSender(stack);
      const climb = async (): Promise<Point[]> => {
        await sender.send(firstLoad.perSecond, firstLoad.seconds);
        const points: Point[] = [];
        for (const rate of rates) {
          signal.throwIfAborted();
          const { point, delayMs } = await measureRate(stack, sender, rate, scale);
          points.push(point);
          delays.push(delayMs);
          note(`${name}, ${describe(point)}; sent within ${Math.ceil(delayMs)} ms`);
          if (!point.held) break;
        }
        await checkEffects(stack, [sender]);
        return points;
      };
      try {
        const points = await Promise.race([
          climb(),
          ...(running.unexpectedEnd ? [running.unexpectedEnd] : []),
        ]);
        return { ...figuresOf(points), ...summarize(points) };
      } finally {
        await Promise.all([running.end(), sender.end()]);
      }
    },
  };
}

/** Sends the events of one shop, and waits until all of them are handled. */
interface Sender {
  /** All that it has sent. */
  readonly events: readonly ForeignEvent[];
  send(perSecond: number, seconds: number): Promise<SentLoad & Pick<Load, 'count'>>;
  end(): Promise<void>;
}

async function createSender(stack: Stack): Promise<Sender> {
  const producer = stack.kafka.producer();
  await producer.connect();
  const shop = createEvents();
  const events: ForeignEvent[] = [];
  const send = (dueTimes: readonly number[]): Promise<unknown> => {
    const due = dueTimes.map((time) => ({
      ...shop.next().value,
      time: new Date(time).toISOString(),
    }));
    events.push(...due);
    const topicMessages = [...messagesOf(due)]
      .map(([topic, messages]) => ({ topic, messages }))
      .filter(({ messages }) => messages.length > 0);
    return producer.sendBatch({ topicMessages, acks: -1 });
  };
  return {
    events,
    async send(perSecond, seconds) {
      const count = Math.max(1, Math.round(perSecond * seconds));
      const sent = await sendAtRate({ perSecond, count }, send);
      await untilHandled(stack, events.length, new Date(sent.from));
      return { ...sent, count };
    },
    end: () => producer.disconnect(),
  };
}

async function measureRate(
  stack: Stack,
  sender: Sender,
  rate: number,
  scale: number,
): Promise<{ point: Point; delayMs: number }> {
  const seconds = Math.max(measuredSeconds, fewestEvents / rate) * scale;
  const { from, to, count, delayMs } = await sender.send(rate, warmUpSeconds + seconds);
  assertKept({ delayMs }, rate);
  const events = await readHandled(stack, from);
  if (events.length !== count) {
    throw new Error(`${events.length} events are in the log since the rate began, not ${count}.`);
  }
  return { point: pointOf(rate, events, { from: to - seconds * 1_000, to }), delayMs: delayMs.p99 };
}

/** The events since then: whoever sends the next ones waits until those before are handled. */
async function readHandled({ pool }: Stack, since: number): Promise<HandledEvent[]> {
  const { rows } = await pool.query<HandledEvent>(
    `SELECT (extract(epoch FROM occurred_at) * 1000)::float8 AS "occurredAt",
      (extract(epoch FROM handled_at) * 1000)::float8 AS "handledAt"
    FROM collector.event_log JOIN collector.event_handled USING (event_id)
    WHERE occurred_at >= $1`,
    [new Date(since)],
  );
  return rows;
}

/** The figures that are made of several points, where all of these are held. */
function summarize(points: readonly Point[]): Record<string, number> {
  const held = points.filter((point) => point.held);
  const highest = held.at(-1)?.rate ?? 0;
  const p50At = (wanted: number): number => held.find(({ rate }) => rate === wanted)!.p50;
  const low = held.filter(({ rate }) => rate <= worstUpTo);
  return {
    [highestHeld]: highest,
    ...(highest < worstUpTo
      ? {}
      : {
          [worst.p50]: Math.max(...low.map(({ p50 }) => p50)),
          [worst.p99]: Math.max(...low.map(({ p99 }) => p99)),
        }),
    ...(highest < 1_000 ? {} : { [flatness]: p50At(1_000) / p50At(10) }),
  };
}

/** The largest of the ratios at the rates that the peer has held in every round. */
function worstRatio(
  sides: readonly (Side & { readonly points: readonly Point[] })[],
  peer: string,
  rounds: number,
): Ratio[] {
  const ratios = sides
    .find(({ name }) => name === peer)!
    .points.filter(({ rate, held }) => held && rate >= comparedFrom)
    .map(({ rate }) => figureAt('p99', rate))
    .filter((figure) => figuresOfSide(sides, 'coalesce')[figure]?.length === rounds)
    .map((figure) =>
      ratioOf(sides, 'coalesce', peer, figure, { kind: 'peer', goal: { below: 1 } }),
    );
  return ratios.toSorted((one, other) => other.ratio - one.ratio).slice(0, 1);
}

function figuresOfSide(sides: readonly Side[], side: string): Figures {
  return sides.find(({ name }) => name === side)!.figures;
}

function remarksFor(delays: readonly number[]): string[] {
  return [
    `An open loop: a plain kafkajs producer sends each event when it is due, whatever has become of those before; 99 of 100 left within ${Math.ceil(Math.max(...delays))} ms of it at every rate. Times are from then, the event's \`occurred_at\`, to \`handled_at\`, the database's time when the statement begins that counts the event.`,
    `${measuredSeconds} s of each rate are measured after ${warmUpSeconds} s that are not; at 1/s ${fewestEvents} s. The next rate begins when everything is handled.`,
    'A rate is not held when the mean backlog grows by more than a tenth of what comes, from the first third of the measured time to the second and again to the last, or when the rest is not handled within 5 s after the end. A higher rate is then not tried.',
    'After the last rate of a side every row of the metrics is compared with what its events add up to.',
    `Of a peer's ratios the largest is given, over the rates from ${comparedFrom}/s on that it holds. Its events under way together share their statements, which is the faster of its two ways in \`peers\`.`,
  ];
}

function describe({ rate, p50, p95, p99, held }: Point): string {
  const times = [p50, p95, p99].map(Math.round).join(' / ');
  return `${rate} events/s: ${times} ms (p50 / p95 / p99)${held ? '' : ', not held'}`;
}
