/** Every event type. Written by `npm run generate` from the files in this folder. */
export { likeChanged } from './like-changed';
export { orderCancelled } from './order-cancelled';
export { orderConfirmed } from './order-confirmed';
export { orderPlaced } from './order-placed';
export { paymentCompleted } from './payment-completed';
export { paymentFailed } from './payment-failed';
export { productRegistered } from './product-registered';
export { productViewed } from './product-viewed';
export { stockAdjusted } from './stock-adjusted';
