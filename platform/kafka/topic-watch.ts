/**
 * Watches the topics that a process works with: whether the brokers answer at all, also without
 * traffic, and for each topic whether it is there, may be used and has its leaders. Each topic is
 * asked for by itself, so that one that is in trouble does not hide the others.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin, Kafka } from 'kafkajs';
import type { Check } from '../dependencies/readiness';
import { describeTopicProblem, topicProblemOf, type TopicProblem } from './topic-administration';
import type { Logger } from '../observability/logger';
import { topicAvailable } from '../observability/telemetry';

/** A topic as the brokers last told of it. */
export interface TopicState {
  readonly topic: string;
  /** What is wrong with it. With `leaderless`, partitions that are not named can be used. */
  readonly problem?: TopicProblem;
  /** The partitions that have no leader. */
  readonly leaderless: readonly number[];
}

/** A running watch. */
export interface TopicWatch {
  /** The topics as last seen; empty until the brokers have answered for the first time. */
  states(): readonly TopicState[];
  /** Whether the brokers answered the last time they were asked; true before the first time. */
  answers(): boolean;
  /** Looks now. Never throws; `answers` tells. */
  look(): Promise<void>;
  /** Takes a topic as forbidden for a minute: the brokers show it, but refused to hand out what is in it. */
  refuse(topic: string): void;
  /** Tells of each look that found anything changed, until `signal` is aborted. */
  onChange(listener: () => void, signal: AbortSignal): void;
  /** Ends it; nobody waits for a look that is under way. */
  stop(): Promise<void>;
}

/** Options of the watch. */
export interface TopicWatchOptions {
  /** How long to wait between two looks, in ms. */
  readonly intervalMs?: number;
  /** After how long a look is given up, in ms. */
  readonly lookTimeoutMs?: number;
}

/** Watches the topics from now on, with a connection of its own. */
export function watchTopics(
  kafka: Kafka,
  topics: readonly string[],
  logger: Logger,
  { intervalMs = 3_000, lookTimeoutMs = 5_000 }: TopicWatchOptions = {},
): TopicWatch {
  return new AdminTopicWatch(kafka, topics, logger, intervalMs, lookTimeoutMs);
}

/** Each of the topics can be used in all its partitions. Without one, the others still are. */
export function topicsCheck(watch: TopicWatch): Check {
  const probe = async (): Promise<void> => {
    const inTrouble = watch.states().filter(({ problem }) => problem !== undefined);
    if (inTrouble.length > 0) throw new Error(inTrouble.map(describe).join(' '));
  };
  return { name: 'topics', required: false, probe };
}

const refusedForMs = 60_000;

class AdminTopicWatch implements TopicWatch {
  private seen: readonly TopicState[] = [];
  private answered = true;
  private admin: Admin | undefined;
  private looking: Promise<void> | undefined;
  private readonly refusedUntil = new Map<string, number>();
  private readonly listeners = new Set<() => void>();
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;

  constructor(
    private readonly kafka: Kafka,
    private readonly topics: readonly string[],
    private readonly logger: Logger,
    intervalMs: number,
    private readonly lookTimeoutMs: number,
  ) {
    this.running = this.lookAgainAndAgain(intervalMs);
  }

  states(): readonly TopicState[] {
    return this.seen;
  }

  answers(): boolean {
    return this.answered;
  }

  look(): Promise<void> {
    this.looking ??= this.lookInTime().finally(() => {
      this.looking = undefined;
    });
    return this.looking;
  }

  refuse(topic: string): void {
    this.refusedUntil.set(topic, Date.now() + refusedForMs);
    this.take(this.seen.map((state) => this.withRefusal(state)));
  }

  onChange(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.listeners.add(listener);
    signal.addEventListener('abort', () => this.listeners.delete(listener), { once: true });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    this.dropAdmin();
  }

  private async lookAgainAndAgain(intervalMs: number): Promise<void> {
    const { signal } = this.stopping;
    const stopped = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      await Promise.race([this.look(), stopped]);
      await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async lookInTime(): Promise<void> {
    const tooLate = new AbortController();
    try {
      const states = await Promise.race([
        this.readAll(),
        sleep(this.lookTimeoutMs, undefined, { signal: tooLate.signal }).then(() => {
          throw new Error(`Kafka has not answered within ${this.lookTimeoutMs} ms.`);
        }),
      ]);
      if (!this.answered) this.logger.info('Kafka answers again');
      this.answered = true;
      this.take(states);
    } catch (error) {
      this.dropAdmin();
      if (this.stopping.signal.aborted) return;
      if (this.answered) this.logger.warn({ err: error }, 'Kafka does not answer; asking again');
      this.answered = false;
      // An old figure would look like a true one.
      topicAvailable.reset();
    } finally {
      tooLate.abort();
    }
  }

  private async readAll(): Promise<TopicState[]> {
    const admin = (this.admin ??= this.kafka.admin());
    await admin.connect();
    const states: TopicState[] = [];
    for (const topic of this.topics) states.push(this.withRefusal(await readState(admin, topic)));
    return states;
  }

  private withRefusal(state: TopicState): TopicState {
    const refused = (this.refusedUntil.get(state.topic) ?? 0) > Date.now();
    return refused && state.problem !== 'missing' ? { ...state, problem: 'forbidden' } : state;
  }

  private take(states: readonly TopicState[]): void {
    const before = this.seen;
    this.seen = states;
    for (const state of states) {
      const { topic, problem } = state;
      topicAvailable.set({ topic }, problem === undefined ? 1 : 0);
      const told = before.find((each) => each.topic === topic);
      if (isSame(told ?? { topic, leaderless: [] }, state)) continue;
      if (problem === undefined) this.logger.info({ topic }, `${topic} can be used again`);
      else this.logger.warn({ topic, problem }, describe(state));
    }
    if (states.every((state, index) => isSame(before[index], state))) return;
    for (const listener of [...this.listeners]) listener();
  }

  // It may hang with the broker; it is left alone then.
  private dropAdmin(): void {
    this.admin?.disconnect().catch((error: unknown) => {
      this.logger.debug({ err: error }, 'the watch over the topics did not disconnect cleanly');
    });
    this.admin = undefined;
  }
}

async function readState(admin: Admin, topic: string): Promise<TopicState> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    const leaderless = topics
      .flatMap(({ partitions }) => partitions)
      .filter(({ leader }) => leader < 0)
      .map(({ partitionId }) => partitionId)
      .sort((one, other) => one - other);
    return { topic, leaderless, ...(leaderless.length === 0 ? {} : { problem: 'leaderless' }) };
  } catch (error) {
    const problem = topicProblemOf(error);
    if (problem === undefined) throw error;
    return { topic, problem, leaderless: [] };
  }
}

function describe({ topic, problem, leaderless }: TopicState): string {
  const partitions = leaderless.length === 0 ? '' : ` (${leaderless.join(', ')})`;
  return problem === undefined ? '' : `${topic}${partitions} ${describeTopicProblem(problem)}`;
}

function isSame(one: TopicState | undefined, other: TopicState): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
