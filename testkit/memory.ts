/** Memory of a pipeline's processes, and whether it grows. */
import { readFile } from 'node:fs/promises';
import type { ProcessName, Stack } from './stack';

interface MemorySample {
  readonly pid: number;
  /** Resident memory in MiB. */
  readonly mebibytes: number;
}

/** A sample of each kind of process; the largest where several run. */
export type Memory = Readonly<Partial<Record<ProcessName, MemorySample>>>;

const processNames = ['api', 'bridge', 'worker:commerce', 'worker:collector'] as const;

/** Reads it for the running processes. Empty without Linux's `/proc`. */
export async function readMemory(stack: Stack): Promise<Memory> {
  const memory: Partial<Record<ProcessName, MemorySample>> = {};
  for (const name of processNames) {
    for (const { pid } of stack.running(name)) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      const kibibytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN);
      if (Number.isNaN(kibibytes)) continue;
      const mebibytes = Math.round(kibibytes / 1_024);
      if (mebibytes > (memory[name]?.mebibytes ?? 0)) memory[name] = { pid, mebibytes };
    }
  }
  return memory;
}

/** Fewer samples of a process are inconclusive. */
const fewestSamples = 9;

/** A new process fills its caches: compare the last third with the one before. */
const greatestGrowth = 1.2;

/**
 * Judges memory growth by consecutive samples.
 *
 * @returns observations of each process that ran for long enough, and those that grew
 */
export function judgeMemory(samples: readonly Memory[]): { seen: string[]; problems: string[] } {
  const seen: string[] = [];
  const problems: string[] = [];
  for (const name of processNames) {
    const series = longestSeries(samples.flatMap((memory) => memory[name] ?? []));
    if (series.length < fewestSamples) continue;
    const third = Math.floor(series.length / 3);
    const [before, after] = [median(series.slice(third, -third)), median(series.slice(-third))];
    seen.push(`${name} ${before} MiB, then ${after} MiB (${series.length} samples)`);
    if (after > before * greatestGrowth) problems.push(`${name} grows`);
  }
  return { seen, problems };
}

/** The samples of the longest-running process. */
function longestSeries(samples: readonly MemorySample[]): number[] {
  const seriesOf = new Map<number, number[]>();
  for (const { pid, mebibytes } of samples) {
    seriesOf.set(pid, [...(seriesOf.get(pid) ?? []), mebibytes]);
  }
  return [...seriesOf.values()].reduce(
    (longest, series) => (series.length > longest.length ? series : longest),
    [],
  );
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? NaN;
}
