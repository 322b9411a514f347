/**
 * Polls the topics that a process uses: whether the brokers answer, even without traffic, and whether
 * each topic exists, is permitted and has all its leaders. One request a topic, so that a failing one
 * does not hide the others.
 */
import type { Check } from '../dependencies/readiness';
import type { KafkaClient } from './kafkajs';
import { describeTopicProblem, topicProblemOf, type TopicProblem } from './topic-administration';
import { TopicMetadataReader } from './topic-metadata';
import type { Logger } from '../observability/logger';
import { pause, withTimeout } from '../process/waiting';
import { topicAvailable } from '../observability/telemetry';

/** The last known state of a topic. */
export interface TopicState {
  readonly topic: string;
  /** Why it is unavailable. With `leaderless`, the partitions not listed are available. */
  readonly problem?: TopicProblem;
  /** The partitions that have no leader. */
  readonly leaderless: readonly number[];
}

/** A running watch. */
export interface TopicWatch {
  /** The topics as last seen; empty until the brokers first answer. */
  states(): readonly TopicState[];
  /** Whether the brokers answered the last poll; true before the first. */
  answers(): boolean;
  /** Polls now. Never throws; see `answers`. */
  poll(): Promise<void>;
  /** Marks a topic as forbidden for a minute: its metadata is visible, but reading it was denied. */
  markForbidden(topic: string): void;
  /** Calls the listener after each poll that found a change, until `signal` is aborted. */
  onChange(listener: () => void, signal: AbortSignal): void;
  /** Stops polling, without waiting for a poll in progress. */
  stop(): Promise<void>;
}

export interface TopicWatchOptions {
  /** Interval between two polls, in ms. */
  readonly intervalMs?: number;
  readonly pollTimeoutMs?: number;
}

/** Starts the watch, on its own connection. */
export function watchTopics(
  kafka: KafkaClient,
  topics: readonly string[],
  logger: Logger,
  { intervalMs = 3_000, pollTimeoutMs = 5_000 }: TopicWatchOptions = {},
): TopicWatch {
  return new AdminTopicWatch(kafka, topics, logger, intervalMs, pollTimeoutMs);
}

/** All partitions of all topics are available. Not required: the other topics still work. */
export function topicsCheck(watch: TopicWatch): Check {
  const probe = async (): Promise<void> => {
    const unavailable = watch.states().filter(({ problem }) => problem !== undefined);
    if (unavailable.length > 0) throw new Error(unavailable.map(describe).join(' '));
  };
  return { name: 'topics', required: false, probe };
}

const forbiddenForMs = 60_000;

class AdminTopicWatch implements TopicWatch {
  private seen: readonly TopicState[] = [];
  private answered = true;
  private readonly metadata: TopicMetadataReader;
  private polling: Promise<void> | undefined;
  private readonly forbiddenUntil = new Map<string, number>();
  private readonly listeners = new Set<() => void>();
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;

  constructor(
    kafka: KafkaClient,
    private readonly topics: readonly string[],
    private readonly logger: Logger,
    intervalMs: number,
    private readonly pollTimeoutMs: number,
  ) {
    this.metadata = new TopicMetadataReader(kafka, logger);
    this.running = this.pollAtIntervals(intervalMs);
  }

  states(): readonly TopicState[] {
    return this.seen;
  }

  answers(): boolean {
    return this.answered;
  }

  poll(): Promise<void> {
    this.polling ??= this.pollWithTimeout().finally(() => {
      this.polling = undefined;
    });
    return this.polling;
  }

  markForbidden(topic: string): void {
    this.forbiddenUntil.set(topic, Date.now() + forbiddenForMs);
    this.take(this.seen.map((state) => this.withForbidden(state)));
  }

  onChange(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.listeners.add(listener);
    signal.addEventListener('abort', () => this.listeners.delete(listener), { once: true });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    this.metadata.drop();
  }

  private async pollAtIntervals(intervalMs: number): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await this.poll();
      await pause(intervalMs, signal);
    }
  }

  private async pollWithTimeout(): Promise<void> {
    const message = `Kafka did not answer within ${this.pollTimeoutMs} ms.`;
    try {
      const { signal } = this.stopping;
      const states = await withTimeout(this.readAll(), this.pollTimeoutMs, { message, signal });
      if (!this.answered) this.logger.info('Kafka available again');
      this.answered = true;
      this.take(states);
    } catch (error) {
      this.metadata.drop();
      if (this.stopping.signal.aborted) return;
      if (this.answered)
        this.logger.warn({ err: error }, 'Kafka unavailable; polling until it answers');
      this.answered = false;
      // A stale value would look current.
      topicAvailable.reset();
    }
  }

  private async readAll(): Promise<TopicState[]> {
    const states: TopicState[] = [];
    for (const topic of this.topics) {
      states.push(this.withForbidden(await readState(this.metadata, topic)));
    }
    return states;
  }

  private withForbidden(state: TopicState): TopicState {
    const refused = (this.forbiddenUntil.get(state.topic) ?? 0) > Date.now();
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
      if (problem === undefined) this.logger.info({ topic }, `${topic} available again`);
      else this.logger.warn({ topic, problem }, describe(state));
    }
    if (states.every((state, index) => isSame(before[index], state))) return;
    for (const listener of [...this.listeners]) listener();
  }
}

async function readState(metadata: TopicMetadataReader, topic: string): Promise<TopicState> {
  try {
    const partitions = await metadata.read(topic);
    const leaderless = partitions
      .filter(({ leader }) => leader < 0)
      .map(({ partitionId }) => partitionId);
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
