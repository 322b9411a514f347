/**
 * Commands: changes of the shop's state, each made by a workflow. The answer comes when the state
 * is decided; the workflow goes on and publishes the events.
 *
 * A command whose answer was lost may be given again under the same ID: it joins the workflow while
 * that runs, and afterwards a new run finds in the database what was decided.
 */
import {
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
} from '@temporalio/client';
import type {
  AdjustStock,
  ProductRegistration,
  RegisterProduct,
  StockOutcome,
} from '../events/commands';
import {
  decisionUpdate,
  searchAttributes,
  taskQueues,
  workflowIds,
  workflowTypes,
} from '../workflows/names';
import { Problem } from './problem';

/**
 * Every command. Each of them throws:
 * - TemporalUnavailableError: nothing has happened
 * - UndecidedError: it may have happened, or may happen yet
 * - CommandFailedError: it was given up
 */
export interface Commands {
  registerProduct(command: RegisterProduct): Promise<ProductRegistration>;
  adjustStock(command: AdjustStock): Promise<StockOutcome>;
}

/** Temporal cannot be reached: nothing was started. */
export class TemporalUnavailableError extends Problem {
  override readonly name = 'TemporalUnavailableError';

  constructor(cause: unknown) {
    super(
      503,
      'TEMPORAL_UNAVAILABLE',
      'Changes cannot be taken at the moment; nothing has happened. Try again in a moment.',
      { headers: { 'retry-after': '2' }, cause },
    );
  }
}

/** The outcome is not known yet: the command may be carried out after this answer. */
export class UndecidedError extends Problem {
  override readonly name = 'UndecidedError';

  constructor(cause: unknown) {
    super(
      503,
      'UNDECIDED',
      'The outcome is not decided yet. Send the same request again with the same Idempotency-Key ' +
        'to get it; without that key it may happen twice.',
      { headers: { 'retry-after': '2' }, cause },
    );
  }
}

/** The workflow gave the command up; why stands in its history and in the cause. */
export class CommandFailedError extends Problem {
  override readonly name = 'CommandFailedError';

  constructor(cause: unknown) {
    super(500, 'COMMAND_FAILED', 'The change was given up because of an error on our side.', {
      cause,
    });
  }
}

/** How long commands wait, in ms. */
export interface CommandTimeouts {
  /** For a decision. */
  readonly decisionMs?: number;
  /** For a sign that Temporal can be reached. */
  readonly connectMs?: number;
}

/** Commands that run on Temporal. */
export function createCommands(client: Client, timeouts: CommandTimeouts = {}): Commands {
  const { decisionMs = 10_000, connectMs = 1_500 } = timeouts;
  const untilReachable = createReachability(client, connectMs);
  const decide = async <Outcome>(command: StartableCommand): Promise<Outcome> => {
    await untilReachable();
    const deadline = Date.now() + decisionMs;
    try {
      return await client.withDeadline(deadline, () => startOrJoin<Outcome>(client, command));
    } catch (error) {
      throw toProblem(error);
    }
  };
  return {
    registerProduct: (command) =>
      decide({
        workflowType: workflowTypes.registerProduct,
        workflowId: workflowIds.registerProduct(command.productId),
        aggregateId: command.productId,
        command,
      }),
    adjustStock: (command) =>
      decide({
        workflowType: workflowTypes.adjustStock,
        workflowId: workflowIds.adjustStock(command.adjustmentId),
        aggregateId: command.productId,
        command,
      }),
  };
}

interface StartableCommand {
  readonly workflowType: string;
  readonly workflowId: string;
  readonly aggregateId: string;
  readonly command: object;
}

// For how long an answer of the server counts as a sign that it can be reached.
const reachableForMs = 1_000;

// The client tries an unreachable server again until the deadline, and then cannot tell whether
// anything was started. Asking something harmless first makes an outage a quick and certain answer;
// under load one question serves all the commands of a second.
function createReachability(client: Client, timeoutMs: number): () => Promise<void> {
  let reachedAt = 0;
  let probing: Promise<void> | undefined;
  const probe = async (): Promise<void> => {
    try {
      await client.withDeadline(Date.now() + timeoutMs, () =>
        client.workflowService.getSystemInfo({}),
      );
      reachedAt = Date.now();
    } catch (error) {
      throw new TemporalUnavailableError(error);
    } finally {
      probing = undefined;
    }
  };
  return async () => {
    if (Date.now() - reachedAt < reachableForMs) return;
    probing ??= probe();
    await probing;
  };
}

// An update that is sent in the very moment in which its workflow completes is not found by the
// time it is asked for; the next try starts a run that answers it.
const maxTries = 3;

async function startOrJoin<Outcome>(client: Client, command: StartableCommand): Promise<Outcome> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await client.workflow.executeUpdateWithStart<StartedWorkflow, Outcome, []>(
        decisionUpdate,
        // Each call draws an update ID of its own: nothing depends on joining an earlier update.
        { startWorkflowOperation: startOf(command) },
      );
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError) || tries === maxTries) throw error;
    }
  }
}

type StartedWorkflow = (command: object) => Promise<object>;

function startOf(start: StartableCommand): WithStartWorkflowOperation<StartedWorkflow> {
  const { workflowType, workflowId, aggregateId, command } = start;
  return new WithStartWorkflowOperation<StartedWorkflow>(workflowType, {
    workflowId,
    taskQueue: taskQueues.commerce,
    args: [command],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: aggregateId }],
  });
}

function toProblem(error: unknown): unknown {
  if (error instanceof WorkflowUpdateFailedError) return new CommandFailedError(error);
  const undecided =
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
    error instanceof WorkflowNotFoundError ||
    error instanceof ServiceError;
  return undecided ? new UndecidedError(error) : error;
}
