/** Example data of each event type, for AsyncAPI and OpenAPI. */
import type { EventData, EventType } from './schemas';

const items = [{ productId: 'product-1', quantity: 2, unitPrice: 900 }];
const order = { orderId: 'order-1', userId: 'user-1', items };

/** Valid data of each type, with every known field. */
export const exampleData: { readonly [T in EventType]: Readonly<EventData<T>> } = {
  ProductRegistered: { productId: 'product-1', name: 'Mug', price: 900, stock: 5, version: 1 },
  StockAdjusted: {
    productId: 'product-1',
    delta: -2,
    stock: 3,
    previousStock: 5,
    reason: 'order',
    orderId: 'order-1',
    version: 2,
  },
  LikeChanged: { productId: 'product-1', userId: 'user-1', liked: true, likeCount: 1, version: 1 },
  ProductViewed: { productId: 'product-1', userId: 'user-1' },
  OrderPlaced: { ...order, totalAmount: 1800 },
  PaymentCompleted: { orderId: 'order-1', paymentId: 'payment-1', amount: 1800 },
  PaymentFailed: { orderId: 'order-1', amount: 1800, reason: 'declined' },
  OrderConfirmed: { ...order, totalAmount: 1800 },
  OrderCancelled: { ...order, reason: 'changed my mind', wasConfirmed: false },
};
