/**
 * `handleEventBatch`: gives the events of a batch their effects, each exactly once, in a statement
 * for all of them instead of one for each. The bridge starts it when more events have arrived at once
 * than it has free slots.
 */
import type { ReceivedEvent } from '../../events/received';
import { handleEvents } from './event-effects';

/** @throws ApplicationFailure of type `EVENT_PARKED` when an event can never be applied; the others are */
export async function handleEventBatch(events: readonly ReceivedEvent[]): Promise<void> {
  await handleEvents(events);
}
