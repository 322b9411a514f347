/**
 * How errors are told to Temporal where payloads are encrypted: messages and stack traces become a
 * payload too, so that they are encrypted with the rest. Temporal loads this file by its path, also
 * into the workflows' bundle.
 */
import { DefaultFailureConverter } from '@temporalio/common';

/** The converter, under the name that Temporal looks for. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
