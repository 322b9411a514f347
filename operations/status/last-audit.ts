/** The last run of the delivery audit, and what it found: Temporal's schedule knows its runs. */
import {
  ScheduleNotFoundError,
  WorkflowFailedError,
  type Client,
  type ScheduleDescription,
} from '@temporalio/client';
import { z } from 'zod';
import { deliveryAuditScheduleId } from '../../events/workflow-ids';

/** A run of the audit that has ended. */
export interface LastAudit {
  readonly workflowId: string;
  readonly startedAt: Date;
  /** Why it did not get to its end; null when it did. */
  readonly failure: string | null;
  /** What it found and mended, by kind; only kinds with findings. */
  readonly findings: Readonly<Record<string, number>>;
  /** How often the audit runs, in ms; undefined when the schedule is paused. */
  readonly everyMs: number | undefined;
}

/**
 * The last audit that has ended; undefined when none has, or none is scheduled yet.
 *
 * @throws when Temporal is unavailable
 */
export async function readLastAudit(
  temporal: Client,
  withinMs: number,
): Promise<LastAudit | undefined> {
  return temporal.withDeadline(Date.now() + withinMs, async () => {
    const schedule = await describeSchedule(temporal);
    const run = schedule === undefined ? undefined : lastEnded(schedule);
    if (schedule === undefined || run === undefined) return undefined;
    const { workflowId, firstExecutionRunId } = run.action.workflow;
    const handle = temporal.workflow.getHandle(workflowId, firstExecutionRunId);
    return {
      workflowId,
      startedAt: run.takenAt,
      everyMs: schedule.state.paused ? undefined : schedule.spec.intervals?.[0]?.every,
      ...(await readOutcome(() => handle.result())),
    };
  });
}

async function describeSchedule(temporal: Client): Promise<ScheduleDescription | undefined> {
  try {
    return await temporal.schedule.getHandle(deliveryAuditScheduleId).describe();
  } catch (error) {
    // A worker of the shop makes it when it starts.
    if (error instanceof ScheduleNotFoundError) return undefined;
    throw error;
  }
}

/** The newest is the last one; one that runs has no outcome yet. */
function lastEnded({ info }: ScheduleDescription) {
  const running = new Set(info.runningActions.map(({ workflow }) => workflow.workflowId));
  return info.recentActions.findLast(({ action }) => !running.has(action.workflow.workflowId));
}

async function readOutcome(
  result: () => Promise<unknown>,
): Promise<Pick<LastAudit, 'failure' | 'findings'>> {
  try {
    return { failure: null, findings: findingsIn(await result()) };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    return { failure: error.cause?.message ?? error.message, findings: {} };
  }
}

/** Kinds of findings, as `commerce_audit_findings_total` has them. */
const kinds = z.object(
  Object.fromEntries(
    ['unpublished', 'republished', 'undecided', 'unhandled', 'unaccounted', 'undelivered'].map(
      // A run that an earlier version began lacks the newer ones.
      (kind) => [kind, z.int().default(0)],
    ),
  ),
);

function findingsIn(summary: unknown): Record<string, number> {
  return Object.fromEntries(Object.entries(kinds.parse(summary)).filter(([, count]) => count > 0));
}
