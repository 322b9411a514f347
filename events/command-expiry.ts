/**
 * Expiry of commands. A command that no worker has begun by the time that its caller has nearly given up
 * changes nothing: under overload, work that nobody waits for any more would take the place of work that
 * somebody does.
 *
 * Orders do not expire: one that is not decided in time is answered with 202, a promise to carry it out.
 */

/**
 * Memo of a command's workflow: how long after its start, in ms, it may begin. Without it the command does
 * not expire.
 */
export const expiresAfterMsMemo = 'expiresAfterMs';

/** Outcome of an expired command: it changed nothing, and may be given again under the same ID. */
export interface Expired {
  readonly kind: 'expired';
}

/** Whether the outcome of a command is that it has expired. */
export function isExpired(outcome: object): outcome is Expired {
  return 'kind' in outcome && outcome.kind === 'expired';
}
