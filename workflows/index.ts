/** Every workflow that the workers run. */
export * from './commerce/commands';
export { auditDelivery } from './audit-delivery';
export { discardDeadLetter } from './collector/discard-dead-letter';
export { handleEvent } from './collector/handle-event';
export { handleEventBatch } from './collector/handle-event-batch';
export { notify } from './collector/notify';
export { parkDeadLetter } from './collector/park-dead-letter';
export { placeOrder } from './commerce/place-order';
export { publishEvents } from './commerce/publish-events';
export { recordVanishedOffsets } from './collector/record-vanished-offsets';
export { redriveDeadLetter } from './collector/redrive-dead-letter';
