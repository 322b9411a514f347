/**
 * Failure converter for encrypted payloads: error messages and stack traces become a payload, so that
 * they are encrypted, too. Temporal loads this file by its path, also into the workflow bundle.
 */
import { DefaultFailureConverter } from '@temporalio/common';

/** The converter, under the name that Temporal looks for. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
