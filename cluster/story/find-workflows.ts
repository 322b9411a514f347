/** Step: the workflows on both sides of Kafka. */
import { adjustStock } from '../../events/commands/adjust-stock';
import { registerProduct } from '../../events/commands/register-product';
import { confirm, eventually } from './confirm';
import type { CarriedMessage, ToldChanges } from './read-from-kafka';
import type { World } from './world';

export interface RanWorkflow {
  readonly workflowId: string;
  readonly type: string;
  /** Differs for each run under the same ID. */
  readonly runId: string;
}

/** Finds each workflow of the story, waits until it has completed, and prints its URL. */
export async function findWorkflows(
  world: World,
  { product, soldOut }: ToldChanges,
  messages: readonly CarriedMessage[],
): Promise<RanWorkflow[]> {
  const { page } = world;
  const expected = [
    { type: registerProduct.name, workflowId: registerProduct.workflowId(product) },
    { type: adjustStock.name, workflowId: adjustStock.workflowId(soldOut) },
    ...messages.map(({ eventId }) => ({ type: 'handleEvent', workflowId: eventId })),
  ];
  const ran = await Promise.all(expected.map((each) => findCompleted(world, each)));
  for (const { type, workflowId } of ran) {
    page.say(`${type.padEnd(16)}${workflowId}`);
    page.show(`${' '.repeat(16)}${linkTo(world, workflowId)}`);
  }
  page.confirmed('all completed; the ID of an event’s workflow is the ID of the event');
  return ran;
}

/** The current runs under the IDs of those workflows. */
export async function findRuns(world: World, ran: readonly RanWorkflow[]): Promise<string[]> {
  return Promise.all(ran.map(async (each) => (await findCompleted(world, each)).runId));
}

function findCompleted(
  { temporal, signal }: World,
  { type, workflowId }: { readonly type: string; readonly workflowId: string },
): Promise<RanWorkflow> {
  return eventually(signal, `${type} ${workflowId} is completed`, async () => {
    const found = await temporal.workflow.getHandle(workflowId).describe();
    confirm('its type', found.type, type);
    confirm('its status', found.status.name, 'COMPLETED');
    return { workflowId, type, runId: found.runId };
  });
}

function linkTo({ config }: World, workflowId: string): string {
  const path = `/namespaces/${config.TEMPORAL_NAMESPACE}/workflows/${workflowId}`;
  return new URL(path, config.TEMPORAL_UI_URL).href;
}
