/** Every workflow that the workers run. */
export { adjustStock } from './adjust-stock';
export { auditDelivery } from './audit-delivery';
export { changeLike } from './change-like';
export { discardDeadLetter } from './discard-dead-letter';
export { handleEvent } from './handle-event';
export { handleEventBatch } from './handle-event-batch';
export { parkDeadLetter } from './park-dead-letter';
export { placeOrder } from './place-order';
export { publishEvents } from './publish-events';
export { recordVanishedOffsets } from './record-vanished-offsets';
export { redriveDeadLetter } from './redrive-dead-letter';
export { registerProduct } from './register-product';
