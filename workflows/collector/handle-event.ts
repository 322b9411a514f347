/** `handleEvent`: applies the effects of one event, each exactly once. */
import type { ReceivedEvent } from '../../events/received';
import { handleEvents } from './event-effects';
import { eventsOf } from './events';

/** @throws ApplicationFailure of type `EVENT_PARKED` when the event can never be applied */
export async function handleEvent(event: ReceivedEvent): Promise<void> {
  await handleEvents(eventsOf([event]));
}
