/**
 * Demonstration scenarios: place an order, sell a product out, redeliver an event, send a poison
 * message. They use the same API and topics as shoppers and foreign producers; nothing is simulated.
 */
import type { OrderOutcome } from '../../events/orders';
import { registerProduct } from '../../events/commands/register-product';
import { eventDefinitions } from '../../events/schemas';
import type { Event } from '../../events/envelope';
import { toMessage } from '../../events/envelope';
import type { Delivery, KafkaSender, OutgoingMessage } from '../../platform/kafka/sender';
import type { Commands } from '../commands/temporal-commands';
import type { Database } from '../http/database';
import { Problem } from '../http/problem';

/** A product that can be bought. */
interface Offer {
  readonly productId: string;
  readonly name: string;
  readonly stock: number;
}

/** An order, and how it turned out. */
export interface PlacedOrder {
  readonly orderId: string;
  readonly product: Offer;
  readonly quantity: number;
  readonly outcome: OrderOutcome;
}

/** Partition and offset of a message. */
interface SentMessage extends Delivery {
  readonly topic: string;
}

/** A redelivered event, and when it was first handled. */
interface Redelivery extends SentMessage {
  readonly eventId: string;
  readonly type: string;
  readonly handledAt: Date;
  readonly workflowId: string;
}

/** The IDs of what a scenario creates, so that a retry creates the same. */
interface DemonstrationIds {
  readonly orderId: string;
  /** Of a product to sell, when there is none. */
  readonly productId: string;
  /** Whether they may have been created before. */
  readonly isRepeat: boolean;
}

/** The scenarios. */
export interface Demonstration {
  /** Orders one unit of a product, or all in stock. Without an ID: of a product in stock, or a new one. */
  order(
    ids: DemonstrationIds,
    wanted: { readonly productId?: string | undefined; readonly all: boolean },
  ): Promise<PlacedOrder>;
  /** Redelivers a handled event; by default the newest. */
  redeliver(eventId?: string): Promise<Redelivery>;
  /** Sends a poison message. */
  poison(): Promise<SentMessage>;
}

/** Dependencies of the scenarios. */
export interface DemonstrationDependencies {
  readonly database: Database;
  readonly commands: Commands;
  readonly sender: KafkaSender;
}

/** The user who places the orders. */
const demonstrationShopper = 'demonstration';

/** Demonstrates with the API's own means. */
export function createDemonstration(dependencies: DemonstrationDependencies): Demonstration {
  const { database, commands, sender } = dependencies;
  return {
    async order({ orderId, productId, isRepeat }, wanted) {
      const product =
        (await findOffer(database, wanted.productId)) ??
        (await registerOffer(commands, productId, isRepeat, wanted.productId));
      const quantity = wanted.all ? product.stock : 1;
      if (quantity === 0) throw soldOut(product.productId);
      const request = {
        userId: demonstrationShopper,
        items: [{ productId: product.productId, quantity }],
        paymentToken: 'tok_approve',
      };
      const outcome = await commands.placeOrder(orderId, request, isRepeat);
      return { orderId, product, quantity, outcome };
    },

    async redeliver(eventId) {
      const { event, handledAt, workflowId } = await findHandled(database, eventId);
      const message = toMessage(event);
      const delivery = await sendOne(sender, message);
      return { ...delivery, eventId: event.id, type: event.type, handledAt, workflowId };
    },

    poison: () =>
      sendOne(sender, {
        topic: eventDefinitions.ProductViewed.topic,
        key: 'poison',
        value: Buffer.concat([
          Buffer.from('{"type":"ProductViewed","data":{"productId":'),
          Buffer.from([0x00, 0xff, 0xfe, 0x07]),
        ]),
        headers: { 'content-type': 'application/cloudevents+json', ce_type: 'ProductViewed' },
      }),
  };
}

async function findOffer(
  database: Database,
  productId: string | undefined,
): Promise<Offer | undefined> {
  const rows = await database.query<Offer>({
    name: productId === undefined ? 'any-offer' : 'offer',
    // The one with the fewest units, so that a few clicks sell it out.
    text: `
      SELECT product_id AS "productId", name, stock FROM commerce.products
      WHERE ${productId === undefined ? 'stock > 0 ORDER BY stock, product_id LIMIT 1' : 'product_id = $1'}`,
    values: productId === undefined ? [] : [productId],
  });
  return rows[0];
}

async function registerOffer(
  commands: Commands,
  productId: string,
  isRepeat: boolean,
  wanted: string | undefined,
): Promise<Offer> {
  if (wanted !== undefined) {
    throw new Problem('PRODUCT_NOT_FOUND', { detail: `There is no product ${wanted}.` });
  }
  const product = { productId, name: 'Demonstration tea', price: 1_200, stock: 5 };
  return commands.execute(registerProduct, product, isRepeat);
}

interface HandledEventRow {
  readonly event: Event;
  readonly handledAt: Date;
  readonly workflowId: string;
}

async function findHandled(
  database: Database,
  eventId: string | undefined,
): Promise<HandledEventRow> {
  const [row] = await database.query<HandledEventRow>({
    name: eventId === undefined ? 'last-handled-event' : 'handled-event',
    text: `
      SELECT payload AS event, handled_at AS "handledAt", workflow_id AS "workflowId"
      FROM collector.event_handled JOIN collector.event_log USING (event_id)
      ${eventId === undefined ? 'ORDER BY handled_in DESC LIMIT 1' : 'WHERE event_id = $1'}`,
    values: eventId === undefined ? [] : [eventId],
  });
  if (row !== undefined) return row;
  throw new Problem('EVENT_NOT_FOUND', {
    detail:
      eventId === undefined
        ? 'No event has been handled yet. Place an order first.'
        : `The event ${eventId} has not been handled.`,
  });
}

async function sendOne(sender: KafkaSender, message: OutgoingMessage): Promise<SentMessage> {
  try {
    const [delivery] = await sender.send([message]);
    return { topic: message.topic, ...delivery! };
  } catch (error) {
    throw new Problem('KAFKA_UNAVAILABLE', { cause: error });
  }
}

function soldOut(productId: string): Problem {
  return new Problem('OUT_OF_STOCK', { detail: `Product ${productId} is already sold out.` });
}
