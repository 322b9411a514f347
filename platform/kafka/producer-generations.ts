/**
 * The producers of one topic, one after the other. After a request that failed, kafkajs 2.2.4 has rolled
 * back sequence numbers that the brokers may have stored, so the partitions of that request need a
 * producer that begins anew: the next generation. Other partitions go on with the present one until the
 * next is connected.
 */
import { Partitioners, type Producer } from 'kafkajs';
import type { Logger } from '../observability/logger';
import { kafkajsOf, type KafkaClient } from './kafkajs';
import { createBackoff, pause, withTimeout } from '../process/waiting';

/** A producer, and how many there were before it. */
export interface Generation {
  readonly number: number;
  readonly producer: Producer;
}

/** Learns how the attempts to connect end. */
export interface GenerationListener {
  /** A new generation is the present one. */
  connected(): void;
  /** An attempt has failed; the next follows with backoff. */
  failed(error: unknown): void;
}

export interface ProducerGenerationsOptions {
  /** Retries of a request by kafkajs before it fails. */
  readonly retries: number;
  /** Maximum backoff between two attempts to connect, in ms. */
  readonly maxReconnectDelayMs: number;
  /** How long the first attempt to connect may take, in ms; each of the next ones twice as long. */
  readonly connectWithinMs: number;
}

/** Connects the first generation at once. */
export class ProducerGenerations {
  private present: Generation | undefined;
  private count = 0;
  private readonly inUse = new Map<Generation, number>();
  private readonly stopping = new AbortController();
  private connecting: Promise<void> | undefined;
  private listener: GenerationListener | undefined;
  private lastFailure: { readonly error: unknown } | undefined;

  /** @param outage the error of other producers just now: it counts as a failed attempt */
  constructor(
    private readonly kafka: KafkaClient,
    private readonly logger: Logger,
    private readonly options: ProducerGenerationsOptions,
    outage?: Error,
  ) {
    if (outage !== undefined) this.lastFailure = { error: outage };
    this.connectNext();
  }

  /** The generation to send with; undefined before the first has connected. */
  current(): Generation | undefined {
    return this.present;
  }

  /** Whether the last attempt to connect failed and none has succeeded since. */
  isFailing(): boolean {
    return this.lastFailure !== undefined;
  }

  /** The listener also learns of what has happened before. */
  listen(listener: GenerationListener): void {
    this.listener = listener;
    if (this.lastFailure !== undefined) listener.failed(this.lastFailure.error);
    else if (this.present !== undefined) listener.connected();
  }

  /** Connects the next generation, unless there is a newer one than `generation` or it is on its way. */
  replace(generation: Generation): void {
    if (this.present === generation && this.connecting === undefined) this.connectNext();
  }

  /** Keeps a generation connected until it is released as often. */
  use(generation: Generation): void {
    this.inUse.set(generation, (this.inUse.get(generation) ?? 0) + 1);
  }

  release(generation: Generation): void {
    const uses = (this.inUse.get(generation) ?? 1) - 1;
    if (uses > 0) {
      this.inUse.set(generation, uses);
      return;
    }
    this.inUse.delete(generation);
    if (generation !== this.present) this.discard(generation.producer);
  }

  /** Makes no attempt to connect after the present one; returns when that has ended. */
  async stopConnecting(): Promise<void> {
    this.stopping.abort();
    await this.connecting;
  }

  /** Disconnects, once no request is in flight. */
  async disconnect(): Promise<void> {
    await this.stopConnecting();
    await this.present?.producer.disconnect();
    this.present = undefined;
  }

  private connectNext(): void {
    if (this.stopping.signal.aborted) {
      this.fail(new Error('The sender stops.'));
      return;
    }
    this.connecting = this.connectWithBackoff().finally(() => {
      this.connecting = undefined;
    });
  }

  private async connectWithBackoff(): Promise<void> {
    const { signal } = this.stopping;
    const backoff = createBackoff({ firstMs: 100, longestMs: this.options.maxReconnectDelayMs });
    const patience = createBackoff({
      firstMs: this.options.connectWithinMs,
      longestMs: longestConnectMs,
    });
    let told = false;
    do {
      const producer = createProducer(this.kafka, this.options.retries);
      const connecting = producer.connect();
      try {
        await withTimeout(connecting, patience.next());
        this.take(producer);
        if (told) this.logger.info('Kafka reconnected');
        return;
      } catch (error) {
        if (!told) this.logger.warn({ err: error }, 'Kafka unavailable; reconnecting with backoff');
        told = true;
        this.discardOnceConnected(producer, connecting);
        this.fail(error);
        await pause(backoff.next(), signal);
      }
    } while (!signal.aborted);
  }

  private take(producer: Producer): void {
    const previous = this.present;
    this.count += 1;
    this.present = { number: this.count, producer };
    this.lastFailure = undefined;
    if (previous !== undefined && !this.inUse.has(previous)) this.discard(previous.producer);
    this.listener?.connected();
  }

  private fail(error: unknown): void {
    this.lastFailure = { error };
    this.listener?.failed(error);
  }

  // What is disconnected while it connects would stay connected.
  private discardOnceConnected(producer: Producer, connecting: Promise<void>): void {
    const discard = (): void => this.discard(producer);
    connecting.then(discard, discard);
  }

  // Not awaited: it may hang with its broker.
  private discard(producer: Producer): void {
    producer.disconnect().catch((error: unknown) => {
      this.logger.debug({ err: error }, 'replaced Kafka producer did not disconnect cleanly');
    });
  }
}

/** On a machine that is busy, an attempt takes long that would succeed. */
const longestConnectMs = 32_000;

function createProducer(kafka: KafkaClient, retries: number): Producer {
  return kafkajsOf(kafka).producer({
    idempotent: true,
    maxInFlightRequests: 1,
    metadataMaxAge: 30_000,
    // Each message names its partition, so that a retried request is identical.
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    retry: { retries, initialRetryTime: 200, maxRetryTime: 2_000 },
  });
}
