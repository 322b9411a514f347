/** The events of a workflow, which passes them on as they came: only what has to look at one decodes them. */
import { defaultPayloadConverter, type RawValue } from '@temporalio/common';
import type { ReceivedEvent } from '../../events/received';

/** The events that a workflow handles; at least one. */
export interface Events {
  /** The input of an activity that takes the events. */
  readonly input: readonly ReceivedEvent[];
  /** Decodes them. */
  read(): readonly ReceivedEvent[];
}

/** Events that are decoded already. */
export function eventsOf(events: readonly ReceivedEvent[]): Events {
  return { input: events, read: () => events };
}

/** Events that stay encoded until one is looked at. */
export function encodedEvents(encoded: RawValue): Events {
  let decoded: readonly ReceivedEvent[] | undefined;
  return {
    // An activity decodes what it gets, whichever form it has here.
    input: encoded as unknown as readonly ReceivedEvent[],
    read: () =>
      (decoded ??= defaultPayloadConverter.fromPayload<readonly ReceivedEvent[]>(encoded.payload)),
  };
}
