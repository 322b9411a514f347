/** A closed-loop load: each client sends its next request as soon as it has its response. */
import { percentile } from './suite';

/** Results of the load. */
export interface LoopResult {
  /** Answers per second. */
  readonly rate: number;
  /** Times from asking to the answer, in ms. */
  readonly p50: number;
  readonly p99: number;
}

/**
 * Runs so many clients for so long; responses after the end are awaited and counted.
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
