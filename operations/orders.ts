/**
 * Operations on orders: list, look into one, cancel. Shared by the HTTP routes and the command line.
 *
 * Reads are SQL, and what Temporal knows of the order's workflow. A cancellation is an update of that workflow, so
 * that it is carried out where the privileges are, and survives a crash of whoever asked.
 */
import { randomUUID } from 'node:crypto';
import {
  isGrpcServiceError,
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
} from '@temporalio/client';
import type { CancelOrder, OrderOutcome, OrderStatus, PlaceOrder } from '../events/orders';
import { workflowIds } from '../events/workflow-ids';
import {
  cancelUpdate,
  searchAttributes,
  taskQueues,
  workflowTypes,
} from '../events/workflow-names';
import type { Queryable } from '../platform/postgres/pool';
import {
  findOrderPosition,
  listOrders,
  type ListedOrder,
  type OrderFilter,
  type OrderPage,
  type OrderPosition,
} from './order-list';
import { findOrderTimeline, type OrderTimeline } from './order-timeline';

/** Reads and cancels orders. */
export interface OrderOperations {
  /** A page of the list. */
  list(filter: OrderFilter, page: OrderPage): Promise<ListedOrder[]>;
  /** The place of an order in the list as it is now; undefined when it is not stored. */
  findPosition(orderId: string): Promise<OrderPosition | undefined>;
  /** Undefined when the order is not stored, and no workflow is placing it. */
  findTimeline(orderId: string): Promise<OrderTimeline | undefined>;
  /**
   * Cancels an order, whatever its step. Safe to ask again.
   *
   * @throws OrderCancellationPendingError when it is not carried out in time
   */
  cancel(orderId: string, command: CancelOrder): Promise<OrderOutcome>;
}

/** Timeout: the cancellation may have been accepted, and may still be carried out. */
class OrderCancellationPendingError extends Error {
  override readonly name = 'OrderCancellationPendingError';
  readonly code = 'ORDER_CANCELLATION_PENDING';

  constructor(orderId: string, cause?: unknown) {
    super(
      `Order ${orderId} is not cancelled yet. Nothing is lost: see what it waits for ` +
        `(npm run ops -- orders show ${orderId}), and ask again.`,
      { cause },
    );
  }
}

/** What the operations need. */
export interface OrderDependencies {
  readonly database: Queryable;
  readonly temporal: Client;
}

/** How long a cancellation is waited for, in ms. */
const cancellationTimeoutMs = 15_000;

/** The operations on a database and a Temporal client. */
export function createOrderOperations({ database, temporal }: OrderDependencies): OrderOperations {
  return {
    list: (filter, page) => listOrders(database, filter, page),
    findPosition: (orderId) => findOrderPosition(database, orderId),
    findTimeline: (orderId) => findOrderTimeline(database, temporal, orderId),
    cancel: (orderId, command) => cancelOrder({ database, temporal }, orderId, command),
  };
}

// An update that meets the very end of its workflow is not found; the next one starts a run that carries it out.
const maxTries = 3;

async function cancelOrder(
  { database, temporal }: OrderDependencies,
  orderId: string,
  command: CancelOrder,
): Promise<OrderOutcome> {
  let updateId: string = cancelUpdate;
  for (let tries = 1; ; tries += 1) {
    try {
      const outcome = await temporal.withDeadline(Date.now() + cancellationTimeoutMs, () =>
        temporal.workflow.executeUpdateWithStart<PlaceOrderWorkflow, OrderOutcome, [CancelOrder]>(
          cancelUpdate,
          // Repeats share an update, as those of the API do: a workflow takes few at once.
          { updateId, args: [command], startWorkflowOperation: resumption(orderId) },
        ),
      );
      if (!(await isForgotten(database, orderId, outcome))) return outcome;
      // An earlier run remembers what the database has lost since, as in a restore.
      if (tries === maxTries) throw new OrderCancellationPendingError(orderId);
      updateId = `${cancelUpdate}-${randomUUID()}`;
    } catch (error) {
      if (isGone(error) && tries < maxTries) continue;
      if (error instanceof WorkflowUpdateFailedError && updateId === cancelUpdate) {
        // Perhaps the failure of an earlier run, which answers for its updates, too.
        updateId = `${cancelUpdate}-${randomUUID()}`;
        continue;
      }
      throw isOutOfReach(error) ? new OrderCancellationPendingError(orderId, error) : error;
    }
  }
}

/** Whether an order is said to be cancelled and is stored as something else. */
async function isForgotten(
  database: Queryable,
  orderId: string,
  { kind }: OrderOutcome,
): Promise<boolean> {
  if (kind !== 'cancelled') return false;
  const { rows } = await database.query<{ status: OrderStatus }>(
    'SELECT status FROM commerce.orders WHERE order_id = $1',
    [orderId],
  );
  return rows[0] !== undefined && rows[0].status !== 'CANCELLED';
}

type PlaceOrderWorkflow = (command: PlaceOrder) => Promise<OrderOutcome>;

/** Joins the order's workflow while it runs; otherwise a new run resumes the order from where it is stored. */
function resumption(orderId: string): WithStartWorkflowOperation<PlaceOrderWorkflow> {
  return new WithStartWorkflowOperation<PlaceOrderWorkflow>(workflowTypes.placeOrder, {
    workflowId: workflowIds.placeOrder(orderId),
    taskQueue: taskQueues.commerce,
    staticSummary: `Cancel order ${orderId}`,
    args: [{ orderId }],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    typedSearchAttributes: [
      { key: searchAttributes.aggregateId, value: orderId },
      { key: searchAttributes.orderStatus, value: 'PLACED' },
    ],
  });
}

// As the enumeration of gRPC's codes has it.
const notFound = 5;

function isGone(error: unknown): boolean {
  const code: number | undefined = isGrpcServiceError(error) ? error.code : undefined;
  return error instanceof WorkflowNotFoundError || code === notFound;
}

function isOutOfReach(error: unknown): boolean {
  return (
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
    error instanceof WorkflowNotFoundError ||
    error instanceof ServiceError ||
    isGrpcServiceError(error)
  );
}
