/** How much memory the processes of a pipeline use. */
import { readFile } from 'node:fs/promises';
import type { ProcessName, Stack } from '../integration/stack';

/** Resident memory in MiB, by kind of process; of the greatest where several run. */
export type Memory = Readonly<Partial<Record<ProcessName, number>>>;

const processNames = ['api', 'bridge', 'worker:commerce', 'worker:collector'] as const;

/** Reads it for the processes that run. Empty where the system does not tell it as Linux does. */
export async function readMemory(stack: Stack): Promise<Memory> {
  const memory: Partial<Record<ProcessName, number>> = {};
  for (const name of processNames) {
    for (const { pid } of stack.running(name)) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      const kibibytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN);
      if (Number.isNaN(kibibytes)) continue;
      memory[name] = Math.max(memory[name] ?? 0, Math.round(kibibytes / 1_024));
    }
  }
  return memory;
}
