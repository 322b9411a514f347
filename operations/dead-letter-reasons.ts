/** Every reason for which a message is parked. */
import { invalidEventCodes } from '../events/errors';
import { unreadableReasons } from '../platform/kafka/record-batch';

/** What a filter's reason may be: of a message, of a range of the log, or of an event that was accepted. */
export const deadLetterReasons: readonly string[] = [
  ...invalidEventCodes,
  ...unreadableReasons,
  'PLANNING_FAILED',
  'EVENT_ID_CONFLICT',
  'DATA_REFUSED',
  'HANDLING_FAILED',
  'NOTIFICATION_REFUSED',
];
