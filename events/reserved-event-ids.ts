/**
 * The IDs that no event may have: an event's workflow has the event's ID, which must not be that of
 * another workflow.
 */
import { commands } from './commands';
import { workflowIdPrefixes } from './workflow-ids';

// Temporal's own workflows, such as those of schedules.
const temporalSystemPrefix = 'temporal-sys-';

/** Reserved prefixes: no event ID may begin with them. */
export const reservedEventIdPrefixes: readonly string[] = [
  ...workflowIdPrefixes,
  ...commands.map(({ workflowIdPrefix }) => workflowIdPrefix),
  temporalSystemPrefix,
];

/** Whether an event's ID has a reserved prefix. */
export function isReservedEventId(eventId: string): boolean {
  return reservedEventIdPrefixes.some((prefix) => eventId.startsWith(prefix));
}
