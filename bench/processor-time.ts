/** CPU time of the processes of a run, from Linux's `/proc`. */
import { readdir, readFile } from 'node:fs/promises';

/** The kinds of processes, by their command lines. */
const kinds: readonly (readonly [kind: string, commandLine: RegExp])[] = [
  ['bridge', /bridge\/main\.ts/],
  ['collector', /workers\/collector-with-bridge\.ts/],
  ['worker:collector', /workers\/collector\.ts/],
  ['worker:commerce', /workers\/commerce\.ts/],
  ['api', /api\/main\.ts/],
  ['the bare worker', /bare\/worker\.ts/],
  ['Temporal', /temporal server/],
  ['PostgreSQL', /^postgres:|bin\/postgres/],
  ['Kafka', /java.*kafka/],
  ['Redis', /redis-server/],
];

// Linux counts in hundredths of a second on every platform of Node.js.
const msPerTick = 10;

/**
 * Runs the work, and returns the CPU time of the servers and processes started by this process: a
 * figure per kind of process, in ms per item, as counted by `count` after the work. No figures
 * without Linux's `/proc`.
 */
export async function measuringProcessorTime(
  item: string,
  work: () => Promise<Readonly<Record<string, number>>>,
  count: () => number,
): Promise<Record<string, number>> {
  const before = await readProcesses();
  const figures = await work();
  const after = await readProcesses();
  const items = count();
  const used = new Map<string, number>();
  for (const [pid, { kind, ms }] of after) {
    // The CPU time of a process that has ended meanwhile is unknown.
    used.set(kind, (used.get(kind) ?? 0) + ms - (before.get(pid)?.ms ?? 0));
  }
  const perItem = [...used].map(
    ([kind, ms]) => [`CPU ms of ${kind} for each ${item}`, ms / items] as const,
  );
  return { ...figures, ...Object.fromEntries(perItem) };
}

/** The processes of the kinds above that descend from this one, by their IDs. */
async function readProcesses(): Promise<ReadonlyMap<number, { kind: string; ms: number }>> {
  const names = await readdir('/proc').catch(() => []);
  const found = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map(readProcess));
  const processes = new Map(
    found.flatMap((each) => (each === undefined ? [] : [[each.pid, each]])),
  );
  const isOurs = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent;
    return parent === process.pid || (parent !== undefined && isOurs(parent));
  };
  const ours = new Map<number, { kind: string; ms: number }>();
  for (const { pid, commandLine, ms } of processes.values()) {
    const kind = kinds.find(([, pattern]) => pattern.test(commandLine))?.[0];
    if (kind !== undefined && isOurs(pid)) ours.set(pid, { kind, ms });
  }
  return ours;
}

interface ProcessSample {
  readonly pid: number;
  readonly parent: number;
  readonly commandLine: string;
  readonly ms: number;
}

/** undefined for a process that has ended meanwhile */
async function readProcess(pid: string): Promise<ProcessSample | undefined> {
  try {
    const [status, commandLine] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    // The program's name is in parentheses and may contain anything; the numbers follow it.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    const [parent, user, system] = [fields[1], fields[11], fields[12]].map(Number);
    return {
      pid: Number(pid),
      parent: parent!,
      commandLine: commandLine.replaceAll('\0', ' '),
      ms: (user! + system!) * msPerTick,
    };
  } catch {
    return undefined;
  }
}
