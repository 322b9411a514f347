/**
 * The watch over standstills during a whole run: a partition in which something waits and nothing
 * is committed for a minute must meanwhile have been reported by readiness, metrics and `verify`,
 * each. The group's positions are read from the brokers, not from the pipeline's own reports.
 */
import { performance } from 'node:perf_hooks';
import type { Admin, Kafka } from 'kafkajs';
import { eventTopics } from '../../events/topics';
import { pause, resultWithin } from '../../platform/process/waiting';
import { runOps } from '../../testkit/run-ops';
import type { Stack } from '../../testkit/stack';

/** The sources that must report a stall. */
export type Reporter = 'readiness' | 'metrics' | 'verify';

/** What each says while something stands still; one that says that all is well is not in it. */
export type Reports = Readonly<Partial<Record<Reporter, string>>>;

/** Each of them. */
export const reporters: readonly Reporter[] = ['readiness', 'metrics', 'verify'];

/** A watch that is kept. */
export interface StandstillWatch {
  /** The stalls so far that a source did not report, as sentences. */
  unseen(): readonly string[];
  /** Ends the watch; what it is asking has its answer then. */
  stop(): Promise<void>;
}

/** How long a stall may last before all sources must have reported it, in ms. */
export const seenWithinMs = 60_000;

/** Stalls shorter than this are not checked, in ms. */
const askedAfterMs = 20_000;

const pollMs = 2_000;

/** Watches the bridges' group from now on. */
export function watchStandstills(stack: Stack): StandstillWatch {
  const stopping = new AbortController();
  const unseen: string[] = [];
  const running = watchUntil(stopping.signal, stack, unseen);
  return {
    unseen: () => unseen,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** A partition that stands where it stands, with something to read. */
interface Standing {
  readonly committed: number;
  readonly since: number;
  /** What was reported since then. */
  readonly reports: Partial<Record<Reporter, string>>;
  judged: boolean;
}

async function watchUntil(stop: AbortSignal, stack: Stack, unseen: string[]): Promise<void> {
  let known = new Map<string, Standing>();
  while (!stop.aborted) {
    // While the brokers are unavailable nothing can progress, and that is visible by itself.
    const positions = await readPositions(stack).catch(() => []);
    known = standingOf(positions, known, performance.now());
    const long = [...known.values()].filter(({ since }) => olderThan(since, askedAfterMs));
    if (long.some(({ judged }) => !judged)) {
      const reports = await readReports(stack);
      for (const standing of long) Object.assign(standing.reports, reports);
    }
    for (const [partition, standing] of known) {
      if (standing.judged || !olderThan(standing.since, seenWithinMs)) continue;
      standing.judged = true;
      const silent = reporters.filter((reporter) => standing.reports[reporter] === undefined);
      if (silent.length === 0) continue;
      unseen.push(
        `${partition} stood at ${standing.committed} for ${seenWithinMs / 1_000} s, unseen by ${silent.join(', ')}`,
      );
    }
    await pause(pollMs, stop);
  }
}

function olderThan(since: number, ms: number): boolean {
  return performance.now() - since > ms;
}

/** Where the group stands in a partition. */
interface Position {
  readonly partition: string;
  readonly committed: number;
  readonly lag: number;
}

function standingOf(
  positions: readonly Position[],
  before: ReadonlyMap<string, Standing>,
  now: number,
): Map<string, Standing> {
  return new Map(
    positions
      .filter(({ lag }) => lag > 0)
      .map(({ partition, committed }) => {
        const known = before.get(partition);
        if (known?.committed === committed) return [partition, known];
        return [partition, { committed, since: now, reports: {}, judged: false }];
      }),
  );
}

async function readPositions({ kafka, config }: Stack): Promise<Position[]> {
  return withAdmin(kafka, async (admin) => {
    const topics = [...eventTopics];
    const committed = await admin.fetchOffsets({ groupId: config.BRIDGE_GROUP_ID, topics });
    const positions: Position[] = [];
    for (const { topic, partitions } of committed) {
      const bounds = await admin.fetchTopicOffsets(topic);
      for (const { partition, offset } of partitions) {
        const bound = bounds.find((each) => each.partition === partition);
        if (bound === undefined) continue;
        const at = Number(offset);
        // An offset beyond the end does not count: the log was truncated or recreated.
        const next = at > Number(bound.high) ? Number(bound.low) : Math.max(at, Number(bound.low));
        const lag = Number(bound.high) - next;
        positions.push({ partition: `${topic}/${partition}`, committed: at, lag });
      }
    }
    return positions;
  });
}

async function withAdmin<T>(kafka: Kafka, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin({ retry: { retries: 0 } });
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** Asks everybody now. */
export async function readReports(stack: Stack): Promise<Reports> {
  const [readiness, metrics, verify] = await Promise.all([
    askBridges(stack, '/readyz', (status, body) => (status === 200 ? undefined : body)),
    askBridges(stack, '/metrics', (_, body) => whatMetricsTell(body)),
    askVerify(stack),
  ]);
  return {
    ...(readiness === undefined ? {} : { readiness }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(verify === undefined ? {} : { verify }),
  };
}

/** @returns what the first bridge says that something is wrong; a bridge that is not there says so, too */
async function askBridges(
  stack: Stack,
  route: string,
  judge: (status: number, body: string) => string | undefined,
): Promise<string | undefined> {
  const bridges = stack.running('bridge');
  if (bridges.length === 0) return 'no bridge is running';
  const answers = await Promise.all(
    bridges.map(async (bridge) => {
      try {
        const url = new URL(route, bridge.url);
        const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
        return judge(response.status, await response.text());
      } catch (error) {
        return `a bridge does not answer: ${String(error)}`;
      }
    }),
  );
  return answers.find((answer) => answer !== undefined);
}

// What the alerts ConsumerStalled and ConsumerLagUnknown look at.
function whatMetricsTell(text: string): string | undefined {
  const lines = text.split('\n');
  if (!lines.some((line) => line.startsWith('commerce_consumer_lag{'))) return 'no lag is known';
  return lines.find(
    (line) =>
      line.startsWith('commerce_consumer_stalled_seconds{') && Number(line.split(' ').at(-1)) > 0,
  );
}

const verifyGraceSeconds = 20;

/** A command that does not end reports nothing. */
const verifyTimeoutMs = 30_000;

async function askVerify(stack: Stack): Promise<string | undefined> {
  const grace = ['--grace', String(verifyGraceSeconds)];
  const verifying = runOps(stack, 'verify', ...grace, '--json');
  const ended = await resultWithin(verifying, verifyTimeoutMs, undefined);
  if (ended === undefined || ended.exitCode === 0) return undefined;
  return `exit code ${ended.exitCode}: ${ended.stdout || ended.stderr}`.slice(0, 300);
}
