/**
 * Commands: changes of the shop's state, each made by a workflow with update-with-start. The answer
 * comes when the state is decided; the workflow then publishes the events.
 *
 * A command whose answer was lost may be given again under the same ID. A new run then finds in the database
 * what was decided: an earlier run only remembers it, and PostgreSQL may have failed over since to a server
 * that never heard of it.
 */
import {
  isGrpcServiceError,
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import type { z } from 'zod';
import type { CommandDefinition } from '../../events/command-definition';
import { expiresAfterMsMemo, isExpired, type Expired } from '../../events/command-expiry';
import type { CommandName } from '../../events/commands';
import type {
  CancelOrder,
  OrderOutcome,
  OrderRequest,
  OrderStatus,
  PlaceOrder,
} from '../../events/orders';
import { workflowIds } from '../../events/workflow-ids';
import {
  cancelUpdate,
  decisionUpdate,
  searchAttributes,
  taskQueues,
  workflowTypes,
} from '../../events/workflow-names';
import { OverloadedError } from '../http/overload';
import { Problem } from '../http/problem';

/**
 * Every command. Each of them throws:
 * - TemporalUnavailableError: nothing was started
 * - UndecidedError: the outcome is unknown; it may be carried out later
 * - CommandFailedError: the workflow failed
 */
export interface Commands {
  /**
   * Gives a registered command; its outcome when it is decided. One that no worker begins within half of
   * the time to a decision expires.
   *
   * @param isRepeat whether it may have been given before
   * @throws OverloadedError when it has expired
   */
  execute<Input extends z.ZodObject, Outcome extends object>(
    definition: CommandDefinition<CommandName, Input, Outcome>,
    command: z.output<Input>,
    isRepeat?: boolean,
  ): Promise<Outcome>;
  /**
   * Places an order.
   *
   * @param isRepeat whether it may have been given before. While its workflow is running, the outcome is what
   *   that remembers: look whether the database has it, too
   */
  placeOrder(orderId: string, request: OrderRequest, isRepeat?: boolean): Promise<OrderOutcome>;
  /**
   * Cancels an order that is in the database or has a workflow; of any other, `unknown-order`. An
   * UndecidedError says whether the cancellation is accepted.
   */
  cancelOrder(orderId: string, command: CancelOrder): Promise<OrderOutcome>;
  /**
   * The workflow of an order that is running, and whose order it is; undefined when there is none.
   * An order has it before it is in the database.
   */
  findRunningOrder(orderId: string): Promise<RunningOrder | undefined>;
}

/** An order whose workflow is running. */
interface RunningOrder {
  /** Undefined when the workflow was started to carry on an order that is in the database. */
  readonly userId: string | undefined;
  readonly status: string;
}

/** Temporal is unavailable: nothing was started. */
class TemporalUnavailableError extends Problem {
  override readonly name = 'TemporalUnavailableError';

  constructor(cause: unknown) {
    super('TEMPORAL_UNAVAILABLE', { cause });
  }
}

/** The outcome is not known yet: the command may be carried out after this answer. */
export class UndecidedError extends Problem {
  override readonly name = 'UndecidedError';

  constructor(
    cause: unknown,
    /** Whether the workflow has accepted the command: then its history has it, and it is carried out. */
    readonly isAccepted = false,
  ) {
    super('UNDECIDED', { cause });
  }
}

/** The workflow failed; its history and the cause say why. */
class CommandFailedError extends Problem {
  override readonly name = 'CommandFailedError';

  constructor(cause: unknown) {
    super('COMMAND_FAILED', { cause });
  }
}

/** How long commands wait, and who is told of how long they took. */
export interface CommandOptions {
  /** How long commands wait for a decision, in ms. */
  readonly decisionMs?: number;
  /** How long for the probe whether Temporal is reachable, in ms. */
  readonly connectMs?: number;
  /**
   * Told of each registered command that was decided, has expired or was not decided in time: when it was
   * given, in ms of `performance.now()`. Not of orders, which wait for a gateway as well, not of repeats that
   * are decided, and not where Temporal was unavailable from the start.
   */
  readonly onAnswered?: (beganAt: number) => void;
}

/** Commands that run on Temporal. */
export function createCommands(client: Client, options: CommandOptions = {}): Commands {
  const { decisionMs = 10_000, connectMs = 1_500, onAnswered = () => undefined } = options;
  const untilReachable = createReachability(client, connectMs);
  const decide = async <Outcome extends object>(command: StartableCommand): Promise<Outcome> => {
    await untilReachable();
    const deadline = Date.now() + decisionMs;
    try {
      return await client.withDeadline(deadline, () => startOrJoin<Outcome>(client, command));
    } catch (error) {
      throw toProblem(error);
    }
  };
  return {
    execute: async <Input extends z.ZodObject, Outcome extends object>(
      definition: CommandDefinition<CommandName, Input, Outcome>,
      command: z.output<Input>,
      isRepeat = false,
    ) => {
      const beganAt = performance.now();
      const outcome = await decide<Outcome | Expired>({
        workflowType: definition.name,
        workflowId: definition.workflowId(command),
        aggregateId: definition.aggregateId(command),
        summary: definition.summary(command),
        command,
        isRepeat,
        memo: { [expiresAfterMsMemo]: decisionMs / 2 },
      }).catch((error: unknown) => {
        if (isUndecidedInTime(error)) onAnswered(beganAt);
        throw error;
      });
      // The outcome of a repeat may come from a history, without waiting for a worker.
      if (!isRepeat || isExpired(outcome)) onAnswered(beganAt);
      if (isExpired(outcome)) throw new OverloadedError();
      return outcome;
    },
    placeOrder: (orderId, request, isRepeat = false) =>
      decide({
        ...orderWorkflow(orderId),
        summary: `Place order of ${linesOf(request)} for ${request.userId}`,
        command: { orderId, request } satisfies PlaceOrder,
        isRepeat,
        memo: { userId: request.userId },
      }),
    cancelOrder: (orderId, command) =>
      decide({
        ...orderWorkflow(orderId),
        summary: `Cancel order ${orderId}`,
        command: { orderId } satisfies PlaceOrder,
        cancellation: command,
      }),
    findRunningOrder: (orderId) => findRunningOrder(client, orderId, connectMs),
  };
}

function linesOf({ items }: OrderRequest): string {
  return items.length === 1
    ? `${items[0]!.quantity} × ${items[0]!.productId}`
    : `${items.length} products`;
}

interface StartableCommand {
  readonly workflowType: string;
  readonly workflowId: string;
  readonly aggregateId: string;
  /** What the Web UI says of the workflow beside its ID. */
  readonly summary: string;
  readonly command: object;
  readonly isRepeat?: boolean;
  /** To cancel the order of the workflow, instead of waiting for its decision. */
  readonly cancellation?: CancelOrder;
  readonly orderStatus?: OrderStatus;
  readonly memo?: Record<string, string | number>;
}

function orderWorkflow(orderId: string) {
  return {
    workflowType: workflowTypes.placeOrder,
    workflowId: workflowIds.placeOrder(orderId),
    aggregateId: orderId,
    orderStatus: 'PLACED',
  } as const;
}

async function findRunningOrder(
  client: Client,
  orderId: string,
  timeoutMs: number,
): Promise<RunningOrder | undefined> {
  try {
    const handle = client.workflow.getHandle(workflowIds.placeOrder(orderId));
    const workflow = await client.withDeadline(Date.now() + timeoutMs, () => handle.describe());
    if (workflow.status.name !== 'RUNNING') return undefined;
    const status = workflow.typedSearchAttributes.get(searchAttributes.orderStatus) ?? 'PLACED';
    return { userId: workflow.memo?.['userId'] as string | undefined, status };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error instanceof ServiceError ? new TemporalUnavailableError(error) : error;
  }
}

// How long an answer of the server counts as reachable.
const reachableForMs = 1_000;

// The client retries an unreachable server until the deadline, and then cannot say whether anything
// was started. A probe first makes an outage a quick and certain answer; under load one probe serves
// all the commands of a second.
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

// An update that races with the completion of its workflow is not found; the next attempt starts a
// run that answers it.
const maxTries = 3;

async function startOrJoin<Outcome extends object>(
  client: Client,
  given: StartableCommand,
): Promise<Outcome> {
  const startedAt = Date.now();
  const { command, after } = await withoutEarlierRun(client, given);
  let again = after;
  for (let tries = 1; ; tries += 1) {
    try {
      const outcome =
        command.cancellation === undefined
          ? await awaitDecision<Outcome>(client, command, decisionUpdate + again)
          : await cancel<Outcome>(client, command, cancelUpdate + again);
      if (tries === maxTries || !mayHaveChanged(command, outcome)) return outcome;
      const closedBefore = await runClosedBefore(client, command, startedAt);
      if (closedBefore === undefined) return outcome;
      again = afterRun(closedBefore);
    } catch (error) {
      if (tries === maxTries) throw error;
      if (isNotFound(error)) continue;
      if (!(error instanceof WorkflowUpdateFailedError)) throw error;
      const closedBefore = await runClosedBefore(client, command, startedAt);
      if (closedBefore === undefined) throw error;
      again = afterRun(closedBefore);
    }
  }
}

function afterRun(runId: string): string {
  return `-after-${runId}`;
}

/** How a command is given, so that no run answers a repeat that may have decided it before. */
async function withoutEarlierRun(
  client: Client,
  command: StartableCommand,
): Promise<{ readonly command: StartableCommand; readonly after: string }> {
  const { workflowId, workflowType, isRepeat = false } = command;
  const earlier = isRepeat ? await findRun(client, workflowId) : undefined;
  if (earlier === undefined) return { command, after: '' };
  const after = afterRun(earlier.runId);
  if (earlier.closeTime !== undefined) return { command, after };
  // One workflow at a time has an order, which may be cancelled there. Any other command can be decided beside
  // a run that waits for Kafka: whoever is second finds in the database what the first has done.
  if (workflowType === workflowTypes.placeOrder) return { command, after: '' };
  const beside = { ...command, workflowId: workflowId + after };
  const second = await findRun(client, beside.workflowId);
  const isClosed = second?.closeTime !== undefined;
  return { command: beside, after: isClosed ? afterRun(second.runId) : '' };
}

async function findRun(
  client: Client,
  workflowId: string,
): Promise<WorkflowExecutionDescription | undefined> {
  try {
    return await client.workflow.getHandle(workflowId).describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

// What an earlier run has answered, asked for again. A command that has expired was not decided by it, and an
// order that it has cancelled may have been lost by the database since.
function mayHaveChanged({ cancellation }: StartableCommand, outcome: object): boolean {
  return cancellation !== undefined || isExpired(outcome);
}

// All who wait for one workflow share an update, by an ID that says what it is for: a workflow takes few
// updates at once, and repeats of one command must not keep the cancellation out.
function awaitDecision<Outcome>(
  client: Client,
  command: StartableCommand,
  updateId: string,
): Promise<Outcome> {
  return client.workflow.executeUpdateWithStart<StartedWorkflow, Outcome, []>(decisionUpdate, {
    updateId,
    startWorkflowOperation: startOf(command),
  });
}

// In two steps: before the workflow has accepted it, an update is nowhere but in the server's memory.
async function cancel<Outcome>(
  client: Client,
  command: StartableCommand,
  updateId: string,
): Promise<Outcome> {
  const accepted = await client.workflow.startUpdateWithStart<
    StartedWorkflow,
    Outcome,
    [CancelOrder]
  >(cancelUpdate, {
    updateId,
    args: [command.cancellation!],
    waitForStage: 'ACCEPTED',
    startWorkflowOperation: startOf(command),
  });
  try {
    return await accepted.result();
  } catch (error) {
    if (isNotFound(error) || error instanceof WorkflowUpdateFailedError) throw error;
    throw toProblem(error, { isAccepted: true });
  }
}

// A finished run answers for its updates, too: also with the failure that it ended with, or that the command
// has expired, which one that is given again is not to get for ever.
async function runClosedBefore(
  client: Client,
  { workflowId }: StartableCommand,
  startedAt: number,
): Promise<string | undefined> {
  const { runId, closeTime } = await client.workflow.getHandle(workflowId).describe();
  return closeTime !== undefined && closeTime.getTime() < startedAt ? runId : undefined;
}

// As the enumeration of gRPC's codes has it.
const notFound = 5;

// The client throws the server's bare answer where one half of an update-with-start was refused.
function isNotFound(error: unknown): boolean {
  const code: number | undefined = isGrpcServiceError(error) ? error.code : undefined;
  return error instanceof WorkflowNotFoundError || code === notFound;
}

type StartedWorkflow = (command: object) => Promise<object>;

function startOf(start: StartableCommand): WithStartWorkflowOperation<StartedWorkflow> {
  const { workflowType, workflowId, aggregateId, summary, command, orderStatus, memo } = start;
  return new WithStartWorkflowOperation<StartedWorkflow>(workflowType, {
    workflowId,
    taskQueue: taskQueues.commerce,
    staticSummary: summary,
    args: [command],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    typedSearchAttributes: [
      { key: searchAttributes.aggregateId, value: aggregateId },
      ...(orderStatus === undefined
        ? []
        : [{ key: searchAttributes.orderStatus, value: orderStatus }]),
    ],
    ...(memo === undefined ? {} : { memo }),
  });
}

function isUndecidedInTime(error: unknown): boolean {
  return (
    error instanceof UndecidedError &&
    error.cause instanceof WorkflowUpdateRPCTimeoutOrCancelledError
  );
}

function toProblem(error: unknown, { isAccepted = false } = {}): unknown {
  if (error instanceof WorkflowUpdateFailedError) return new CommandFailedError(error);
  const undecided =
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
    error instanceof WorkflowNotFoundError ||
    error instanceof ServiceError ||
    isGrpcServiceError(error);
  return undecided ? new UndecidedError(error, isAccepted) : error;
}
