/** A short shopping story. Each step reads the real systems and confirms what it prints. */
import { adjustToSoldOut } from './adjust-to-sold-out';
import { deliverAgain } from './deliver-again';
import { findResultingRows } from './find-resulting-rows';
import { findWorkflows } from './find-workflows';
import { readAfterEviction } from './read-after-eviction';
import { findTopicEnds, readFromKafka } from './read-from-kafka';
import { placeOrders } from './place-orders';
import { registerProduct } from './register-product';
import { orderWithoutKafka, startKafkaAgain } from './stop-kafka';
import { StoryError } from './story-error';
import { runVerify } from './verify';
import { viewProduct } from './view-product';
import { waitUntilReady } from './wait-until-ready';
import { withWorld, type StoryOptions } from './world';

/**
 * Tells the story.
 *
 * @returns the ID of the product that it is about.
 * @throws StoryError that names the failed step; the signal's reason when aborted
 */
export function tellStory(options: StoryOptions): Promise<string> {
  return withWorld(options, async (world) => {
    const step = numberedSteps(options);
    options.page.title('A short shopping story');
    const endsBefore = await step('Everything is ready', async () => {
      await waitUntilReady(world);
      return findTopicEnds(world);
    });
    const product = await step('A product is registered', () => registerProduct(world));
    const cached = await step('A shopper views it twice', () => viewProduct(world, product));
    const soldOut = await step('The last units are gone', () => adjustToSoldOut(world, product));
    const told = { product, soldOut };
    const messages = await step('The events in Kafka', () =>
      readFromKafka(world, told, endsBefore),
    );
    const workflows = await step('The workflows', () => findWorkflows(world, told, messages));
    await step('The resulting rows', () => findResultingRows(world, product, messages));
    await step('The cached product, before and after', () =>
      readAfterEviction(world, product, cached),
    );
    await step('Duplicates: the same messages again', () =>
      deliverAgain(world, product, messages, workflows),
    );
    const ordered = await step('An order is paid, and one is declined', () => placeOrders(world));
    const order = await step('Kafka stops, and an order is taken all the same', () =>
      orderWithoutKafka(world, ordered),
    );
    await step('Kafka is back', () => startKafkaAgain(world, order));
    await step('The numbers add up', () => runVerify(world));
    return product.productId;
  });
}

function numberedSteps({ page, signal }: StoryOptions) {
  let number = 0;
  return async <Result>(title: string, tell: () => Promise<Result>): Promise<Result> => {
    number += 1;
    page.step(`${number}  ${title}`);
    try {
      return await tell();
    } catch (error) {
      // Errors after an abort are not the story's.
      signal.throwIfAborted();
      throw new StoryError(`${number}, "${title}"`, error);
    }
  };
}
