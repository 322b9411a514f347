/** Every workflow that the workers run. */
export { adjustStock } from './adjust-stock';
export { handleEvent } from './handle-event';
export { parkDeadLetter } from './park-dead-letter';
export { registerProduct } from './register-product';
