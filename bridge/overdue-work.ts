/**
 * Work in flight that PostgreSQL does not know as done long after its start. Its workflow may have ended all
 * the same: a failover loses the last commits. So Temporal is asked about it, few at a time and each less and
 * less often, and what has ended is started again. No effect comes twice: `event_handled` guards each, and
 * where the database has lost that, it has lost the effect, too.
 */
import type { Logger } from '../platform/observability/logger';
import { createBackoff, type Backoff } from '../platform/process/waiting';
import type { FinishedWork } from './finished-work';
import type { HasEnded } from './workflow-lookup';
import { planBatch, type WorkflowPlan } from './workflow-plan';
import type { WorkflowStarter } from './workflow-starter';

export interface OverdueWorkDependencies {
  readonly hasEnded: HasEnded;
  readonly starter: WorkflowStarter;
  readonly finishedWork: Pick<FinishedWork, 'findDone'>;
  readonly logger: Logger;
}

/** What bounds the questions. */
export interface OverdueWorkOptions {
  /** After how long Temporal is asked about a workflow, in ms; then after twice as long, up to a minute. */
  readonly afterMs?: number;
  /** Most workflows that one look asks about, one after the other. */
  readonly atOnce?: number;
  /** Pause between two looks, in ms. While Temporal is unavailable it doubles, up to half a minute. */
  readonly pauseMs?: number;
  /** The current time, in ms. */
  readonly now?: () => number;
}

/** Looks after work in flight. */
export interface OverdueWork {
  /** Temporal has acknowledged this workflow. Its plan stays in memory until it is forgotten. */
  watch(plan: WorkflowPlan): void;
  /** What is done by this ID is done, or nobody waits for it any more. */
  forget(doneBy: string): void;
  /** Looks at what is overdue, unless that is under way or has just been done. Never throws. */
  look(): Promise<void>;
}

/** A workflow whose work is not known to be done. */
interface Watched {
  plan: WorkflowPlan;
  dueAt: number;
  readonly backoff: Backoff;
}

/** Nothing is watched at first. */
export function createOverdueWork(
  { hasEnded, starter, finishedWork, logger }: OverdueWorkDependencies,
  { afterMs = 5_000, atOnce = 20, pauseMs = 1_000, now = Date.now }: OverdueWorkOptions = {},
): OverdueWork {
  // Several of one ID: an event, and a batch with a duplicate of it.
  const watched = new Map<string, Watched[]>();
  const retryBackoff = createBackoff({ firstMs: pauseMs, longestMs: longestRetryMs });
  let isLooking = false;
  let notBefore = 0;

  const postpone = (work: Watched): void => {
    work.dueAt = now() + work.backoff.next();
  };

  const findOverdue = (): Watched[] => {
    const at = now();
    const overdue = [...watched.values()].flat().filter(({ dueAt }) => dueAt <= at);
    return overdue.sort((one, other) => one.dueAt - other.dueAt).slice(0, atOnce);
  };

  const examine = async (work: Watched): Promise<void> => {
    const { workflowId, doneBy } = work.plan;
    // Behind the others, if this fails: it may be about this workflow alone.
    work.dueAt = now() + pauseMs;
    // The database is asked after Temporal: what a workflow has done is committed before it ends.
    if ((await hasEnded(workflowId)) && (await finishedWork.findDone([doneBy])).length === 0) {
      logger.warn({ workflowId }, lost);
      await startAgain(work);
    }
    postpone(work);
  };

  const startAgain = async (work: Watched): Promise<void> => {
    const { plan } = work;
    if (await starter.start(plan, AbortSignal.timeout(startWithinMs))) return;
    // The ID of an event whose workflow has completed is taken: a batch compares the event with the log.
    if (plan.type !== 'handleEvent') return;
    work.plan = planBatch(plan.input, plan.doneBy);
    await starter.start(work.plan, AbortSignal.timeout(startWithinMs));
  };

  return {
    watch(plan) {
      const backoff = createBackoff({ firstMs: afterMs, longestMs: Math.max(afterMs, longestMs) });
      const work = { plan, dueAt: now() + backoff.next(), backoff };
      watched.set(plan.doneBy, [...(watched.get(plan.doneBy) ?? []), work]);
    },
    forget: (doneBy) => void watched.delete(doneBy),
    async look() {
      if (isLooking || now() < notBefore) return;
      isLooking = true;
      let waitMs = pauseMs;
      try {
        for (const work of findOverdue()) await examine(work);
        retryBackoff.reset();
      } catch (error) {
        waitMs = retryBackoff.next();
        logger.warn(
          { err: error, retryInMs: waitMs },
          'cannot tell whether overdue work has ended; retrying with backoff',
        );
      }
      notBefore = now() + waitMs;
      isLooking = false;
    },
  };
}

const lost =
  'the workflow has ended, and the database does not know its work as done; starting it again';

/** Between two questions about the same workflow, in ms. */
const longestMs = 60_000;

/** Between two looks while Temporal is unavailable, in ms. */
const longestRetryMs = 30_000;

/** Temporal has just answered: whoever waits longer for a start asks again later. */
const startWithinMs = 10_000;
