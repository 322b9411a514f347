/**
 * `handleEventBatch`: applies the effects of a batch of events, each exactly once, in one statement for
 * all of them. The bridge starts it when more events have arrived at once than it has free slots.
 */
import type { ReceivedEvent } from '../../events/received';
import { handleEvents } from './event-effects';

/**
 * @throws ApplicationFailure of type `EVENT_PARKED` when an event can never be applied; the others take
 *   effect
 */
export async function handleEventBatch(events: readonly ReceivedEvent[]): Promise<void> {
  await handleEvents(events);
}
