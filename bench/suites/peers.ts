/** `peers`: the same backlog with the same effects through other products for durable execution. */
import { createStack, type Stack } from '../../testkit/stack';
import { startInBackground, type Background } from '../background';
import { startAtEnd } from '../consuming';
import { installPeerPackages, peerVersions } from '../peer-packages';
import type { PeerMode } from '../peers/mode';
import {
  emptyCollector,
  inTurn,
  median,
  ratioOf,
  type Contestant,
  type Ratio,
  type Side,
  type Suite,
} from '../suite';
import { coalescing, drainBacklog } from './catch-up';
import { handlingEach } from './per-event';

/** The size of the backlog: smaller for one event at a time. */
const backlogs: Readonly<Record<PeerMode, { count: number; warmUp: number }>> = {
  batch: { count: 20_000, warmUp: 5_000 },
  event: { count: 1_000, warmUp: 200 },
};

const subscription =
  "a Kafka subscription of Restate's server (not the ingress integration that replaces it, which comes as a container image only)";

/**
 * The peers, with what each way is. Restate has a second path from Kafka, which replaces the one that is
 * measured: an ingress integration in a process of its own. It is published as a container image only.
 */
export const peers: Readonly<Record<string, Readonly<Record<PeerMode, string>>>> = {
  restate: {
    batch: `${subscription}; invocations under way together share their statements`,
    event: `${subscription}; each invocation runs statements of its own`,
  },
  dbos: {
    batch:
      'the kafkajs receiver of DBOS, 1000 messages an enqueue; workflows under way together share their statements',
    event: 'the kafkajs receiver of DBOS; each workflow runs statements of its own',
  },
};

export const peersSuite: Suite = {
  name: 'peers',
  about: 'a backlog with every effect in PostgreSQL and Redis, through Restate, DBOS and this',
  async run(context) {
    await installPeerPackages(context);
    const stack = await createStack(['worker:collector']);
    try {
      const count = (mode: PeerMode): number => Math.round(backlogs[mode].count * context.scale);
      const sides = await inTurn(
        [
          coalescing(stack, count('batch')),
          ...Object.keys(peers).map((peer) => draining(stack, peer, 'batch', count('batch'))),
          handlingEach(stack, count('event')),
          ...Object.keys(peers).map((peer) => draining(stack, peer, 'event', count('event'))),
        ],
        context,
      );
      return {
        sides,
        ratios: Object.keys(peers).flatMap((peer) => ratiosTo(peer, sides)),
        targets: [],
        remarks: remarksFor(count),
        versions: await peerVersions(),
      };
    } finally {
      await stack.stop();
    }
  },
};

function remarksFor(count: (mode: PeerMode) => number): string[] {
  return [
    `A round of coalesce, restate and dbos is ${count('batch')} events; a round of the others, which take one event at a time, ${count('event')}.`,
    'The Kafka integrations of the peers hand each event to an invocation or a workflow of its own. A consumer of our own that hands many events to one of them would no longer be theirs, and is not measured.',
  ];
}

const sideOf = (peer: string, mode: PeerMode): string =>
  mode === 'batch' ? peer : `${peer}-per-event`;

function draining(stack: Stack, peer: string, mode: PeerMode, count: number): Contestant {
  return {
    name: sideOf(peer, mode),
    what: peers[peer]![mode],
    async measure() {
      await emptyCollector(stack);
      const process = await startPeer(stack, peer, mode);
      try {
        const drained = drainBacklog(stack, count, backlogs[mode].warmUp);
        return await Promise.race([drained, process.unexpectedEnd]);
      } finally {
        await process.end();
      }
    },
  };
}

/** Starts a peer at the end of the topics. */
export async function startPeer(stack: Stack, peer: string, mode: PeerMode): Promise<Background> {
  return startInBackground(`peers/${peer}.ts`, {
    ...stack.environment,
    ...(await startAtEnd(stack)),
    PEER_MODE: mode,
    LOG_LEVEL: 'info',
    RESTATE_LOGGING: 'ERROR',
  });
}

/** `coalesce` to the faster of the peer's two ways, and one event at a time to one event at a time. */
function ratiosTo(peer: string, sides: readonly Side[]): Ratio[] {
  const rate = (name: string): number =>
    median(sides.find((side) => side.name === name)!.figures['events/s']!);
  const [batch, event] = [sideOf(peer, 'batch'), sideOf(peer, 'event')];
  const best = rate(batch) >= rate(event) ? batch : event;
  return [
    {
      ...ratioOf(sides, 'coalesce', best, 'events/s', { kind: 'peer', goal: { atLeast: 5 } }),
      peer,
    },
    ratioOf(sides, 'per-event', event, 'events/s', { kind: 'alternative' }),
  ];
}
