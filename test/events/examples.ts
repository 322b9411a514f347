/** One valid event of each type, as a stranger would write it by hand. */
import { eventDefinitions, type EventType } from '../../events/schemas';

/** Valid data of each type, with every field that the type knows. */
export const exampleData: Readonly<Record<EventType, Readonly<Record<string, unknown>>>> = {
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
  OrderPlaced: {
    orderId: 'order-1',
    userId: 'user-1',
    items: [{ productId: 'product-1', quantity: 2, unitPrice: 900 }],
    totalAmount: 1800,
  },
  PaymentCompleted: { orderId: 'order-1', paymentId: 'payment-1', amount: 1800 },
  PaymentFailed: { orderId: 'order-1', amount: 1800, reason: 'declined' },
  OrderConfirmed: {
    orderId: 'order-1',
    userId: 'user-1',
    items: [{ productId: 'product-1', quantity: 2, unitPrice: 900 }],
    totalAmount: 1800,
  },
  OrderCancelled: {
    orderId: 'order-1',
    userId: 'user-1',
    items: [{ productId: 'product-1', quantity: 2, unitPrice: 900 }],
    reason: 'changed my mind',
    wasConfirmed: false,
  },
};

/** The JSON of an event of `type`; the envelope's and the data's fields may be overridden, also by `undefined`. */
export function exampleEvent(
  type: EventType,
  overrides: Readonly<Record<string, unknown>> = {},
  dataOverrides: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    specversion: '1.0',
    id: 'e5c1cd4a-6c8e-4be5-9b0a-4a9d0e9d3a11',
    source: '/somebody-else',
    type,
    subject: exampleData[type][eventDefinitions[type].aggregate],
    time: '2026-01-01T00:00:00.000Z',
    datacontenttype: 'application/json',
    dataschema: `/schemas/${type}/1`,
    data: { ...exampleData[type], ...dataOverrides },
    ...overrides,
  };
}

/** The message that carries some JSON where events of `type` belong. */
export function exampleMessage(type: EventType, json: unknown) {
  return {
    topic: eventDefinitions[type].topic as string,
    key: Buffer.from(String(exampleData[type][eventDefinitions[type].aggregate])) as Buffer | null,
    value: Buffer.from(JSON.stringify(json)) as Buffer | null,
  };
}
