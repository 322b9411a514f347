/** Every workflow that the workers run. */
export { adjustStock } from './commerce/adjust-stock';
export { auditDelivery } from './audit-delivery';
export { changeLike } from './commerce/change-like';
export { discardDeadLetter } from './collector/discard-dead-letter';
export { handleEvent } from './collector/handle-event';
export { handleEventBatch } from './collector/handle-event-batch';
export { notify } from './collector/notify';
export { parkDeadLetter } from './collector/park-dead-letter';
export { placeOrder } from './commerce/place-order';
export { publishEvents } from './commerce/publish-events';
export { recordVanishedOffsets } from './collector/record-vanished-offsets';
export { redriveDeadLetter } from './collector/redrive-dead-letter';
export { registerProduct } from './commerce/register-product';
