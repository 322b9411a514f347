/**
 * `handleEventBatch`: applies the effects of a batch of events, each exactly once, in one statement for
 * all of them. The bridge starts it when more events have arrived at once than it has free slots.
 */
import { rawValueTypeInfo, type RawValue } from '@temporalio/common';
import { defineWorkflowOptions } from '@temporalio/workflow';
import type { ReceivedEvent } from '../../events/received';
import { countsOf, handleEvents } from './event-effects';
import { encodedEvents } from './events';

/**
 * @param events `ReceivedEvent[]`, at least one; they stay encoded on their way through the sandbox
 * @returns counts, which the Web UI shows as the workflow's result
 * @throws ApplicationFailure of type `EVENT_PARKED` when an event can never be applied; the others take
 *   effect
 */
export async function handleEventBatch(
  events: RawValue<readonly ReceivedEvent[]>,
): Promise<ReturnType<typeof countsOf>> {
  return countsOf(await handleEvents(encodedEvents(events)));
}

defineWorkflowOptions(handleEventBatch, {
  staticOptions: { typeInfo: { inputTypes: [rawValueTypeInfo] } },
});
