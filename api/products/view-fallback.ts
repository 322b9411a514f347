/**
 * Fallback for views while Kafka is unavailable: up to 500 views go into one `publishEvents` workflow,
 * which retries until they are sent. Memory and workflows are bounded and one start is in progress at
 * a time, so that views cannot delay orders during a long outage; views beyond the bounds are dropped
 * and counted.
 */
import { once } from 'node:events';
import type { Client } from '@temporalio/client';
import type { Logger } from '../../platform/observability/logger';
import { pause } from '../../platform/process/waiting';
import { views as countedViews } from '../../platform/observability/telemetry';
import { workflowIds } from '../../events/workflow-ids';
import { searchAttributes, taskQueues, workflowTypes } from '../../events/workflow-names';
import type { ViewEvent } from './view-publisher';

/** Takes the views that could not be sent directly. */
export interface ViewFallback {
  /** Returns at once, and never throws. The view keeps its ID, so it counts once however it travels. */
  take(view: ViewEvent): void;
  /** Starts workflows for the waiting views; those whose first attempt fails are dropped and counted. */
  stop(): Promise<void>;
}

/** A started workflow, which cannot be lost. */
export interface StartedPublication {
  /** Resolves when it has ended, with whatever result. */
  readonly finished: Promise<void>;
}

/** Starts a publication of views; starting it again with the same views is harmless. */
export type StartPublication = (views: readonly ViewEvent[]) => Promise<StartedPublication>;

/** What the fallback needs. */
export interface ViewFallbackDependencies {
  readonly startPublication: StartPublication;
  readonly logger: Logger;
}

/** The fallback's bounds. */
export interface ViewFallbackOptions {
  /** Most views that wait in memory; 20,000 take about 10 MB. */
  readonly maxWaiting?: number;
  /** Most publications that are not finished; each of them tries to send all the time. */
  readonly maxUnfinished?: number;
  /** How long views are gathered before they are handed over, in ms. */
  readonly gatherMs?: number;
  /** How long to wait after a start that failed, in ms. */
  readonly retryMs?: number;
}

/** A fallback that hands views over to publications. */
export function createViewFallback(
  { startPublication, logger }: ViewFallbackDependencies,
  options: ViewFallbackOptions = {},
): ViewFallback {
  return new BufferedFallback(startPublication, logger, {
    maxWaiting: options.maxWaiting ?? 20_000,
    maxUnfinished: options.maxUnfinished ?? 20,
    gatherMs: options.gatherMs ?? 500,
    retryMs: options.retryMs ?? 1_000,
  });
}

/** Starts publications as workflows. */
export function publishByWorkflow(client: Client): StartPublication {
  return async (views) => {
    const handle = await client.withDeadline(Date.now() + startTimeoutMs, () =>
      client.workflow.start(workflowTypes.publishEvents, {
        workflowId: workflowIds.publishEvents(views[0]!.id),
        taskQueue: taskQueues.commerce,
        args: [{ events: views }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        typedSearchAttributes: [{ key: searchAttributes.eventType, value: 'ProductViewed' }],
      }),
    );
    // Only its end matters; its history has the result.
    const finished = handle.result().then(
      () => undefined,
      () => undefined,
    );
    return { finished };
  };
}

const startTimeoutMs = 5_000;

// 64 bytes each for product and user: 500 views stay below 300 KiB, of the 1 MiB for one start.
const viewsPerPublication = 500;

class BufferedFallback implements ViewFallback {
  private readonly waiting: ViewEvent[] = [];
  private readonly unfinished = new Set<Promise<void>>();
  private readonly stopping = new AbortController();
  private readonly stopped = once(this.stopping.signal, 'abort');
  private readonly countDropped: (count: number) => void;
  private handingOver: Promise<void> | undefined;

  constructor(
    private readonly startPublication: StartPublication,
    private readonly logger: Logger,
    private readonly options: Required<ViewFallbackOptions>,
  ) {
    this.countDropped = createDropCounter(logger);
  }

  take(view: ViewEvent): void {
    if (this.waiting.length >= this.options.maxWaiting) this.countDropped(1);
    else this.waiting.push(view);
    this.handingOver ??= this.handOverAll().finally(() => {
      this.handingOver = undefined;
    });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.handingOver;
  }

  private async handOverAll(): Promise<void> {
    while (this.waiting.length > 0) {
      if (this.waiting.length < viewsPerPublication)
        await pause(this.options.gatherMs, this.stopping.signal);
      await this.untilSlotIsFree();
      await this.handOver(this.waiting.splice(0, viewsPerPublication));
    }
  }

  private async untilSlotIsFree(): Promise<void> {
    while (this.unfinished.size >= this.options.maxUnfinished && !this.stopping.signal.aborted) {
      await Promise.race([this.stopped, ...this.unfinished]);
    }
  }

  // The same views until they are started: with others, a start whose answer was lost would be
  // joined by views that it does not carry.
  private async handOver(views: readonly ViewEvent[]): Promise<void> {
    for (;;) {
      try {
        const { finished } = await this.startPublication(views);
        this.unfinished.add(finished);
        countedViews.inc({ way: 'workflow' }, views.length);
        void finished.then(() => this.unfinished.delete(finished));
        return;
      } catch (error) {
        this.logger.warn(
          { err: error, views: views.length },
          'starting publishEvents for views failed; retrying',
        );
        if (this.stopping.signal.aborted) {
          this.countDropped(views.length + this.waiting.splice(0).length);
          return;
        }
        await pause(this.options.retryMs, this.stopping.signal);
      }
    }
  }
}

const logIntervalMs = 1_000;

/** Counts dropped views, and logs the count at most once a second. */
function createDropCounter(logger: Logger): (count: number) => void {
  let dropped = 0;
  let logAt = 0;
  return (count) => {
    dropped += count;
    countedViews.inc({ way: 'dropped' }, count);
    if (Date.now() < logAt) return;
    logAt = Date.now() + logIntervalMs;
    logger.warn({ dropped }, 'views dropped: Kafka and the fallback workflow take no more');
  };
}
