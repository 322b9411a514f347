/**
 * Why a message is rejected. Not retryable: the message is parked as a dead letter, with the error's
 * code as the reason, and its message, which names the field, as the detail.
 */

/** Rejection codes. Stable: dead letters are listed and redriven by them. */
export type InvalidEventCode =
  | 'NULL_VALUE'
  | 'TOO_LARGE'
  | 'NOT_UTF8'
  | 'NOT_JSON'
  | 'UNSTORABLE_JSON'
  | 'INVALID_ENVELOPE'
  | 'UNKNOWN_TYPE'
  | 'UNKNOWN_SCHEMA_VERSION'
  | 'INVALID_DATA'
  | 'RESERVED_ID'
  | 'MISSING_KEY'
  | 'KEY_MISMATCH'
  | 'WRONG_TOPIC';

/** An invalid message. Not retryable: the same bytes fail the same way. */
export class InvalidEventError extends Error {
  override readonly name = 'InvalidEventError';

  constructor(
    readonly code: InvalidEventCode,
    message: string,
    /** Dotted path of the offending field, such as `data.items.0.quantity`; absent when it is the message as a whole. */
    readonly field?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
