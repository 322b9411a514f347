/**
 * Publishing `ProductViewed`. A view changes no state of the shop, so it needs no outbox: it goes into a
 * spool on the API's disk before the answer leaves, and to Kafka beside that. What Kafka does not take at
 * once is read back from the spool and sent when it does, by this process or, after its death, by another.
 * A view keeps its ID, so it counts once however often it is sent.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEvent, toMessage, type EventMessage, type EventOf } from '../../events/envelope';
import { eventDefinitions } from '../../events/schemas';
import type { Spool, SpooledRecord, SpoolPlace } from '../../platform/disk/spool';
import type { KafkaSender } from '../../platform/kafka/sender';
import type { Logger } from '../../platform/observability/logger';
import {
  eventsPublished,
  views as countedViews,
  viewsUnspooled,
} from '../../platform/observability/telemetry';
import { currentTraceHeaders } from '../../platform/observability/tracing';
import { createBackoff, pause, pollUntil, resultWithin } from '../../platform/process/waiting';
import type { HandOver } from './view-hand-over';

/** A view as an event. */
export type ViewEvent = EventOf<'ProductViewed'>;

/** Publishes views. */
export interface ViewPublisher {
  /**
   * Resolves once the view outlives this process, and without that promise where the spool is full or
   * the disk fails. Never waits for Kafka, and never rejects.
   */
  publish(productId: string, userId?: string): Promise<void>;
  /**
   * Waits a few seconds for acknowledgements, then hands what is left over to Temporal: the disk may
   * vanish with this process. What Temporal does not take stays in the spool.
   */
  stop(): Promise<void>;
}

/** What publishing views needs. */
export interface ViewPublisherDependencies {
  readonly sender: KafkaSender;
  readonly spool: Spool;
  readonly handOver: HandOver;
  readonly logger: Logger;
}

const viewTopic = eventDefinitions.ProductViewed.topic;

// While the brokers are slow, views wait in memory: this bounds it to a few MB.
const maxUnacknowledged = 10_000;

/**
 * For how long views are gathered for one request to the brokers, as Kafka's own producer does since version 4
 * (`linger.ms`). Nobody waits for it.
 */
const lingerMs = 5;

const resendEveryMs = 500;
const longestResendMs = 10_000;
const acknowledgedWithinMs = 5_000;
const handedOverWithinMs = 10_000;

/** Sends views to Kafka: at once, or later from the spool. */
export function createViewPublisher(dependencies: ViewPublisherDependencies): ViewPublisher {
  return new SpoolingPublisher(dependencies);
}

class SpoolingPublisher implements ViewPublisher {
  private readonly stopping = new AbortController();
  private readonly resending: Promise<void>;
  private lingering: Promise<void> | undefined;
  private unacknowledged = 0;
  private logDroppedAt = 0;

  constructor(private readonly dependencies: ViewPublisherDependencies) {
    this.resending = this.resendUntilStopped();
  }

  async publish(productId: string, userId?: string): Promise<void> {
    const { sender, spool } = this.dependencies;
    const message = toMessage(viewOf(productId, userId));
    const spooled = spool.append(message.value);
    const isDirect = this.unacknowledged < maxUnacknowledged && sender.isConnected(viewTopic);
    const sent = isDirect ? this.send(message) : Promise.resolve(false);
    void this.settle(sent, spooled);
    if ((await spooled) === undefined) viewsUnspooled.inc();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    const untilIdle = pollUntil(() => this.unacknowledged === 0, {
      timeoutMs: acknowledgedWithinMs,
      pollMs: 20,
    });
    await resultWithin(Promise.all([untilIdle, this.resending]), acknowledgedWithinMs, undefined);
    await this.handOverLeft();
  }

  /** @returns whether Kafka has acknowledged it; the sender has logged why not */
  private async send(message: EventMessage): Promise<boolean> {
    const headers = { ...message.headers, ...currentTraceHeaders() };
    this.unacknowledged += 1;
    try {
      await (this.lingering ??= this.linger());
      await this.dependencies.sender.send([{ ...message, headers }]);
      return true;
    } catch {
      return false;
    } finally {
      this.unacknowledged -= 1;
    }
  }

  private async linger(): Promise<void> {
    await sleep(lingerMs);
    this.lingering = undefined;
  }

  private async settle(
    sent: Promise<boolean>,
    spooled: Promise<SpoolPlace | undefined>,
  ): Promise<void> {
    const [isSent, place] = [await sent, await spooled];
    if (isSent) countPublished('direct');
    else if (place === undefined) this.countDropped();
    if (place === undefined) return;
    if (isSent) this.dependencies.spool.acknowledge(place);
    else this.dependencies.spool.leave(place);
  }

  private async resendUntilStopped(): Promise<void> {
    const { signal } = this.stopping;
    const backoff = createBackoff({ firstMs: resendEveryMs, longestMs: longestResendMs });
    let waitMs = resendEveryMs;
    for (;;) {
      await pause(waitMs, signal);
      if (signal.aborted) return;
      if (!this.dependencies.sender.isConnected(viewTopic) || (await this.resendLeft())) {
        backoff.reset();
        waitMs = resendEveryMs;
      } else {
        waitMs = backoff.next();
      }
    }
  }

  /** @returns whether all that was tried is sent */
  private async resendLeft(): Promise<boolean> {
    const { sender, spool } = this.dependencies;
    let isAllSent = true;
    for await (const records of spool.left()) {
      const sent = await Promise.all(records.map((record) => this.resend(record)));
      isAllSent &&= !sent.includes(false);
      // A partition may be out for long, which is no reason to keep the views of the others.
      if (this.stopping.signal.aborted || !sender.isConnected(viewTopic)) break;
    }
    return isAllSent;
  }

  private async resend({ line, place }: SpooledRecord): Promise<boolean> {
    const { sender, spool } = this.dependencies;
    try {
      await sender.send([toMessage(JSON.parse(line) as ViewEvent)]);
    } catch {
      spool.leave(place);
      return false;
    }
    spool.acknowledge(place);
    countPublished('spool');
    return true;
  }

  private async handOverLeft(): Promise<void> {
    const { spool, logger } = this.dependencies;
    const deadline = performance.now() + handedOverWithinMs;
    let isAllTaken = true;
    // The spool waits for what it is writing.
    for await (const records of spool.left({ evenHeld: true })) {
      const isInTime = performance.now() < deadline;
      isAllTaken = isInTime && (await this.handOver(records)) && isAllTaken;
      if (!isInTime) break;
    }
    if (!isAllTaken) logger.warn({ bytes: spool.bytes }, 'views are left in the spool');
  }

  /** @returns whether Temporal has taken them; if not, that is no reason to keep the others */
  private async handOver(records: readonly SpooledRecord[]): Promise<boolean> {
    const { spool, handOver, logger } = this.dependencies;
    try {
      await handOver(records.map(({ line }) => JSON.parse(line) as ViewEvent));
    } catch (error) {
      logger.warn({ err: error }, 'handing views over to Temporal failed');
      for (const { place } of records) spool.leave(place);
      return false;
    }
    for (const { place } of records) spool.acknowledge(place);
    countedViews.inc({ way: 'workflow' }, records.length);
    return true;
  }

  /** Logs at most once a second. */
  private countDropped(): void {
    countedViews.inc({ way: 'dropped' });
    if (Date.now() < this.logDroppedAt) return;
    this.logDroppedAt = Date.now() + 1_000;
    this.dependencies.logger.warn('views are dropped: neither Kafka nor the spool takes them');
  }
}

function countPublished(way: 'direct' | 'spool'): void {
  countedViews.inc({ way });
  eventsPublished.inc({ type: 'ProductViewed' });
}

function viewOf(productId: string, userId: string | undefined): ViewEvent {
  return createEvent({
    id: randomUUID(),
    type: 'ProductViewed',
    time: new Date(),
    data: { productId, ...(userId === undefined ? {} : { userId }) },
  });
}
