/**
 * Why a message is rejected. Not retryable: the message is parked as a dead letter, with the error's
 * code as the reason, and its message, which names the field, as the detail.
 */

import type { Refusal } from './received';

/** Rejection codes. Stable: dead letters are listed and redriven by them. */
export const invalidEventCodes = [
  'NULL_VALUE',
  'TOO_LARGE',
  'NOT_UTF8',
  'NOT_JSON',
  'UNSTORABLE_JSON',
  'INVALID_ENVELOPE',
  'UNKNOWN_TYPE',
  'UNKNOWN_SCHEMA_VERSION',
  'INVALID_DATA',
  'RESERVED_ID',
  'MISSING_KEY',
  'KEY_MISMATCH',
  'WRONG_TOPIC',
] as const;

/** One of {@link invalidEventCodes}. */
export type InvalidEventCode = (typeof invalidEventCodes)[number];

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

/**
 * Why a message is parked, from what reading it threw. Whatever that is: the same message would throw
 * again, and block its partition forever.
 */
export function toRefusal(error: unknown): Pick<Refusal, 'reason' | 'detail'> {
  if (error instanceof InvalidEventError) return { reason: error.code, detail: error.message };
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { reason: 'PLANNING_FAILED', detail: detail.slice(0, maxDetailLength) };
}

/** Longest detail that is passed on: enough for a stack, not for what it quotes of a message. */
const maxDetailLength = 8 * 1024;
