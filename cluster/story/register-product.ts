/** Step: an operator registers a product. */
import { z } from 'zod';
import { confirm } from './confirm';
import type { World } from './world';

/** The product that the story is about, as it was registered. */
export type StoryProduct = z.infer<typeof registration>;

const registration = z.object({
  productId: z.string(),
  name: z.string(),
  price: z.int(),
  stock: z.int(),
  version: z.int(),
  /** Of its `ProductRegistered`. */
  eventId: z.string(),
});

/** Registers a new product with three units. */
export async function registerProduct({ shop, page }: World): Promise<StoryProduct> {
  const body = { name: 'Copper kettle', price: 4_900, stock: 3 };
  const answer = await shop.post('/v1/products', { as: 'operator', body });
  confirm('the status', answer.status, 201);
  const product = registration.parse(answer.body);
  const { name, price, stock, version } = product;
  confirm('what was registered', { name, price, stock, version }, { ...body, version: 1 });
  page.confirmed('registered: its row and its event are in Postgres, both or neither');
  return product;
}
