/** Clients that ask again as soon as they have their answer. */
import { percentile } from './suite';

/** What such clients have seen. */
export interface LoopResult {
  /** Answers per second. */
  readonly rate: number;
  /** Times from asking to the answer, in ms. */
  readonly p50: number;
  readonly p99: number;
}

/**
 * Lets so many clients ask for so long; answers that come after the end are waited for and count.
 *
 * @throws what `ask` throws
 */
export async function closedLoop(
  clients: number,
  durationMs: number,
  ask: () => Promise<void>,
): Promise<LoopResult> {
  const latencies: number[] = [];
  const from = performance.now();
  const loop = async (): Promise<void> => {
    while (performance.now() - from < durationMs) {
      const asked = performance.now();
      await ask();
      latencies.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: clients }, loop));
  const seconds = (performance.now() - from) / 1_000;
  return {
    rate: latencies.length / seconds,
    p50: percentile(latencies, 50),
    p99: percentile(latencies, 99),
  };
}
