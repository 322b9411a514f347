/** `handleEvent`: applies the effects of one event, each exactly once. */
import type { ReceivedEvent } from '../../events/received';
import { handleEvents, type Outcome } from './event-effects';
import { eventsOf } from './events';

/** What the Web UI shows as the workflow's result. */
export interface HandledEvent extends Pick<Outcome, 'evicted' | 'notified'> {
  /** `repeat`: it was handled before, and has changed nothing. */
  readonly outcome: 'handled' | 'repeat';
}

/** @throws ApplicationFailure of type `EVENT_PARKED` when the event can never be applied */
export async function handleEvent(event: ReceivedEvent): Promise<HandledEvent> {
  const { repeats, evicted, notified } = await handleEvents(eventsOf([event]));
  return { outcome: repeats > 0 ? 'repeat' : 'handled', evicted, notified };
}
