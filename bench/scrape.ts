/** Reads counters from a process's metrics. */

/**
 * The sum of a counter's values at `url`, over the labels that match `where`.
 *
 * @param url where the process serves its metrics
 * @throws when the process has no such counter
 */
export async function readCounter(
  url: string,
  name: string,
  where: (labels: string) => boolean = () => true,
): Promise<number> {
  const metrics = await (await fetch(url)).text();
  const lines = metrics.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'));
  if (!metrics.includes(`# TYPE ${name} counter`)) throw new Error(`${url} has no ${name}.`);
  const samples = [...lines].filter(([, labels = '']) => where(labels));
  return samples.reduce((sum, [, , value]) => sum + Number(value), 0);
}
