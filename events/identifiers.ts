/** The format of every ID in an event, and how event IDs are derived. */
import { v5 as uuidV5, validate as isUuid, version as versionOfUuid } from 'uuid';
import { z } from 'zod';

/** A product's, order's or user's ID: 1 to 64 letters, digits, `_` or `-`. */
export const aggregateIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 of A-Z a-z 0-9 _ -');

/** An event's ID: opaque, 1 to 128 printable ASCII characters without spaces. */
export const eventIdSchema = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, 'must be 1 to 128 printable ASCII characters without spaces');

// Fixed for ever: with another namespace a retry after a deploy would publish its event under a new ID.
const eventIdNamespace = '5f0c2a52-6f0b-4b8e-9d0c-6f6f3c1f7a11';

/**
 * The ID of an event that a workflow publishes: derived, never random, so that a retry or a reset
 * publishes under the same ID.
 *
 * @param workflowId the workflow that caused the event
 * @param type the event's type
 * @param position distinguishes events of one type from one workflow, such as a product's ID
 */
export function deriveEventId(workflowId: string, type: string, position: string | number): string {
  return uuidV5(JSON.stringify([workflowId, type, String(position)]), eventIdNamespace);
}

/** Whether an ID has the form of a derived one, as has each of the shop's that goes through the outbox. */
export function isDerivedEventId(eventId: string): boolean {
  return isUuid(eventId) && versionOfUuid(eventId) === 5;
}
