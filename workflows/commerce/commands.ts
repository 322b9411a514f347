/**
 * The workflows of the commands: each changes the state in one activity, then publishes what the change
 * has written to the outbox. `placeOrder`, which takes several steps, has a file of its own.
 */
import type { ShopActivities } from '../../activities/commerce';
import type { Aggregate } from '../../activities/commerce/publish';
import type { AdjustStock, StockOutcome } from '../../events/commands/adjust-stock';
import type { ChangeLike, LikeOutcome } from '../../events/commands/change-like';
import type { ProductRegistration, RegisterProduct } from '../../events/commands/register-product';
import type { Expired } from '../../events/command-expiry';
import { localFirst, untilStateChanges } from '../activity-policies';
import { decideThenPublish } from './decision';

const shop = localFirst<ShopActivities>(untilStateChanges);

/** Registers the product once, and returns when its event is published. Idempotent. */
export function registerProduct(command: RegisterProduct): Promise<ProductRegistration | Expired> {
  return decideThenPublish(
    () => shop.createProduct(command),
    (product) => [productOf(product)],
  );
}

/** Changes the stock once, or rejects the change; returns when the event of a change is published. */
export function adjustStock(command: AdjustStock): Promise<StockOutcome | Expired> {
  return decideThenPublish(
    () => shop.changeStock(command),
    ({ kind }) => (kind === 'adjusted' ? [productOf(command)] : []),
  );
}

/** Changes the like once; returns when the event of a change is published. */
export function changeLike(command: ChangeLike): Promise<LikeOutcome | Expired> {
  return decideThenPublish(
    () => shop.setLike(command),
    (outcome) => ('changed' in outcome && outcome.changed ? [productOf(command)] : []),
  );
}

function productOf({ productId }: { readonly productId: string }): Aggregate {
  return { topic: 'catalog-events', key: productId };
}
