/** Every workflow that the workers run. */
export { adjustStock } from './adjust-stock';
export { changeLike } from './change-like';
export { handleEvent } from './handle-event';
export { parkDeadLetter } from './park-dead-letter';
export { placeOrder } from './place-order';
export { publishEvents } from './publish-events';
export { registerProduct } from './register-product';
