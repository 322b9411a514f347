/**
 * Which failures end an activity's retries. The rule of the whole project: an error is retried
 * unless it is known that it can never succeed.
 */
import { ApplicationFailure } from '@temporalio/common';
import { isDataError } from '../platform/postgres/pool';

/** The `type` of failures for data that can never be stored. */
export const dataRefused = 'DATA_REFUSED';

/**
 * Runs an activity's work; an error for data that can never be stored is not retried.
 *
 * @throws ApplicationFailure non-retryable, of type `DATA_REFUSED`; every other error as it is
 */
export async function refusingBadData<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isDataError(error)) throw error;
    throw ApplicationFailure.create({
      type: dataRefused,
      message: `PostgreSQL rejects the data: ${error.message}`,
      nonRetryable: true,
      details: [{ sqlState: error.code }],
      cause: error,
    });
  }
}
