/** Registers the search attributes that the workflows set with their Temporal namespace. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError, type Connection } from '@temporalio/client';
import { searchAttributeNames } from '../events/search-attributes';
import type { Logger } from '../platform/observability/logger';

/** Temporal is unreachable. Retryable. */
export class TemporalUnreachableError extends Error {
  override readonly name = 'TemporalUnreachableError';
  readonly code = 'TEMPORAL_UNREACHABLE';

  constructor(address: string, cause: unknown) {
    super(`Temporal is unreachable at ${address}: start it, or set TEMPORAL_ADDRESS.`, { cause });
  }
}

/** Temporal rejects the search attributes; the message says what to do. */
export class SearchAttributesRefusedError extends Error {
  override readonly name = 'SearchAttributesRefusedError';
  readonly code = 'SEARCH_ATTRIBUTES_REFUSED';

  constructor(namespace: string, why: string, cause?: unknown) {
    super(
      `Temporal's namespace ${namespace} lacks the workflows' search attributes: ${why}. ` +
        `It needs ${names.join(', ')}, all of type Keyword: add them with Temporal's own tools and ` +
        'migrate again, or set TEMPORAL_NAMESPACE to another one.',
      { cause },
    );
  }
}

/**
 * Registers the missing search attributes, and returns when the server of Temporal that answers finds
 * workflows by all of them. A new namespace may take a moment to be known. Each server remembers
 * what it has read, a namespace for two seconds by default: another that lags behind refuses a start, or
 * fails a workflow's task, and either is tried again.
 *
 * @throws TemporalUnreachableError
 * @throws SearchAttributesRefusedError when Temporal rejects them, or has one with another type
 */
export async function migrateSearchAttributes(
  connection: Connection,
  namespace: string,
  logger: Logger,
): Promise<void> {
  await untilUsable(connection, namespace);
  logger.info({ namespace, searchAttributes: names }, 'search attributes are up to date');
}

const names = Object.values(searchAttributeNames);

// Values of enumerations in Temporal's API.
const keyword = 2;
const alreadyExists = 6;
const notFound = 5;
const invalidArgument = 3;
const deadlineExceeded = 4;
const unavailable = 14;

const answerWithinMs = 5_000;
const usableWithinMs = 30_000;
const pollMs = 100;

async function untilUsable(connection: Connection, namespace: string): Promise<void> {
  const deadline = Date.now() + usableWithinMs;
  let added = false;
  for (;;) {
    let problem: Error | undefined;
    try {
      const missing = await findMissing(connection, namespace);
      if (missing.length > 0 && !added) await add(connection, namespace, missing);
      added = true;
      problem =
        missing.length > 0 ? notListed(namespace) : await findRefusal(connection, namespace);
    } catch (error) {
      problem = toProblem(error, connection, namespace);
      if (!hasCode(error, notFound)) throw problem;
    }
    if (problem === undefined) return;
    if (Date.now() >= deadline) throw problem;
    await sleep(pollMs);
  }
}

function notListed(namespace: string): Error {
  return new SearchAttributesRefusedError(
    namespace,
    `they were added, but are not listed after ${usableWithinMs / 1_000} s`,
  );
}

async function findMissing(connection: Connection, namespace: string): Promise<string[]> {
  const { customAttributes } = await within(connection, () =>
    connection.operatorService.listSearchAttributes({ namespace }),
  );
  const wrong = names.filter((name) => (customAttributes[name] ?? keyword) !== keyword);
  if (wrong.length > 0) {
    throw new SearchAttributesRefusedError(namespace, `${wrong.join(', ')} is of another type`);
  }
  return names.filter((name) => customAttributes[name] === undefined);
}

/** The list is what Temporal has stored; who starts or finds workflows goes by what it remembers of it. */
async function findRefusal(connection: Connection, namespace: string): Promise<Error | undefined> {
  const query = names.map((name) => `${name} = 'none'`).join(' OR ');
  try {
    await within(connection, () =>
      connection.workflowService.countWorkflowExecutions({ namespace, query }),
    );
    return undefined;
  } catch (error) {
    if (!hasCode(error, invalidArgument)) throw error;
    return toProblem(error, connection, namespace);
  }
}

async function add(
  connection: Connection,
  namespace: string,
  missing: readonly string[],
): Promise<void> {
  const searchAttributes = Object.fromEntries(missing.map((name) => [name, keyword]));
  try {
    await within(connection, () =>
      connection.operatorService.addSearchAttributes({ namespace, searchAttributes }),
    );
  } catch (error) {
    // Another process migrates at the same time.
    if (!hasCode(error, alreadyExists)) throw error;
  }
}

function within<T>(connection: Connection, ask: () => Promise<T>): Promise<T> {
  return connection.withDeadline(Date.now() + answerWithinMs, ask);
}

function hasCode(error: unknown, ...codes: readonly number[]): boolean {
  return isGrpcServiceError(error) && codes.includes(error.code);
}

function toProblem(error: unknown, connection: Connection, namespace: string): Error {
  if (!isGrpcServiceError(error)) return error instanceof Error ? error : new Error(String(error));
  if (hasCode(error, deadlineExceeded, unavailable)) {
    return new TemporalUnreachableError(connection.options.address, error);
  }
  return new SearchAttributesRefusedError(namespace, error.details, error);
}
