/**
 * Every event type: its topic, its aggregate, and the schema of each version of its data.
 * TypeScript's types are inferred from the schemas, so the two cannot drift apart.
 *
 * Tolerant reader: unknown fields are kept and ignored, so that a producer can add one without a
 * new version. A breaking change gets a new version beside the old.
 */
import { z } from 'zod';
import { aggregateIdSchema } from './identifiers';
import type { EventTopic } from './topics';

const amount = z.int().min(0).describe('integer in the smallest currency unit');
const quantity = z.int().min(1);
const stockLevel = z.int().min(0);
const version = z
  .int()
  .min(1)
  .describe('counts up by one at each change of the stock or the likes of the product');

/** One line of an order as its events carry it. */
const orderItemSchema = z.object({
  productId: aggregateIdSchema,
  quantity,
  unitPrice: amount,
});

const orderItems = z.array(orderItemSchema).min(1);

/** Why a product's stock changed. */
const stockReasonSchema = z.enum(['restock', 'correction', 'order', 'order-cancelled']);

const productRegistered = z.object({
  productId: aggregateIdSchema,
  name: z.string().min(1),
  price: amount,
  stock: stockLevel,
  version,
});

const stockAdjusted = z.object({
  productId: aggregateIdSchema,
  delta: z.int(),
  stock: stockLevel.describe('after the change'),
  previousStock: stockLevel,
  reason: stockReasonSchema,
  orderId: aggregateIdSchema.optional(),
  version,
});

const likeChanged = z.object({
  productId: aggregateIdSchema,
  userId: aggregateIdSchema,
  liked: z.boolean(),
  likeCount: z.int().min(0).describe('after the change'),
  version,
});

const productViewed = z.object({
  productId: aggregateIdSchema,
  userId: aggregateIdSchema.optional(),
});

const orderPlaced = z.object({
  orderId: aggregateIdSchema,
  userId: aggregateIdSchema,
  items: orderItems,
  totalAmount: amount,
});

const paymentCompleted = z.object({
  orderId: aggregateIdSchema,
  paymentId: z.string().min(1),
  amount,
});

const paymentFailed = z.object({
  orderId: aggregateIdSchema,
  amount,
  reason: z.string(),
});

const orderCancelled = z.object({
  orderId: aggregateIdSchema,
  userId: aggregateIdSchema,
  items: orderItems,
  reason: z.string(),
  wasConfirmed: z.boolean(),
});

/** The definition of an event type. */
interface EventDefinition {
  /** Its topic; on another it is rejected. */
  readonly topic: EventTopic;
  /** The field of its data that names its aggregate: equal to the envelope's `subject` and the message's key. */
  readonly aggregate: 'productId' | 'orderId';
  /** The schema of its data, by version. */
  readonly versions: Readonly<Record<number, z.ZodObject>>;
}

/** Every event type. The bridge accepts these and parks everything else. */
export const eventDefinitions = {
  ProductRegistered: {
    topic: 'catalog-events',
    aggregate: 'productId',
    versions: { 1: productRegistered },
  },
  StockAdjusted: {
    topic: 'catalog-events',
    aggregate: 'productId',
    versions: { 1: stockAdjusted },
  },
  LikeChanged: { topic: 'catalog-events', aggregate: 'productId', versions: { 1: likeChanged } },
  ProductViewed: {
    topic: 'catalog-events',
    aggregate: 'productId',
    versions: { 1: productViewed },
  },
  OrderPlaced: { topic: 'order-events', aggregate: 'orderId', versions: { 1: orderPlaced } },
  PaymentCompleted: {
    topic: 'order-events',
    aggregate: 'orderId',
    versions: { 1: paymentCompleted },
  },
  PaymentFailed: { topic: 'order-events', aggregate: 'orderId', versions: { 1: paymentFailed } },
  // Same data as OrderPlaced.
  OrderConfirmed: { topic: 'order-events', aggregate: 'orderId', versions: { 1: orderPlaced } },
  OrderCancelled: { topic: 'order-events', aggregate: 'orderId', versions: { 1: orderCancelled } },
} as const satisfies Record<string, EventDefinition>;

/** The name of an event type. */
export type EventType = keyof typeof eventDefinitions;

/** The data of an event of type `T`, in its current version. */
export type EventData<T extends EventType> = z.infer<(typeof eventDefinitions)[T]['versions'][1]>;

/** A line of an order: product, quantity (from 1 up) and price of one unit in the smallest currency unit. */
export type OrderItem = z.infer<typeof orderItemSchema>;

/** Why a product's stock changed. */
export type StockReason = z.infer<typeof stockReasonSchema>;

/** Whether a name is an event type's. */
export function isEventType(name: string): name is EventType {
  return Object.hasOwn(eventDefinitions, name);
}
