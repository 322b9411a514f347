/** Step: the API reaches each of its dependencies. */
import { confirm, eventually } from './confirm';
import type { World } from './world';

/** Waits until `/readyz` says that nothing is missing, so that no view is lost for want of a broker. */
export async function waitUntilReady({ apiUrl, page, signal }: World): Promise<void> {
  await eventually(signal, 'the API reaches all of its dependencies', async () => {
    const response = await fetch(`${apiUrl}/readyz`, { signal });
    const { status } = (await response.json()) as { status?: unknown };
    confirm(`the status in ${apiUrl}/readyz`, status, 'ready');
  });
  page.confirmed(`${apiUrl}/readyz reaches Postgres, Temporal, Kafka and Redis`);
}
