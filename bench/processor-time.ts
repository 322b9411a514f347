/** How much processor time the processes of a run use, as Linux tells in `/proc`. */
import { readdir, readFile } from 'node:fs/promises';

/** Which processes are told apart, by their command lines. */
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

// Linux counts in hundredths of a second on every machine that Node.js runs on.
const msPerTick = 10;

/**
 * Does the work, and tells how much processor time the servers and processes that this process has
 * started used meanwhile: a figure for each kind of process, in ms for each of the items that `count`
 * tells when the work is done.
 * No figures where the system does not tell it as Linux does.
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
    // What a process used that has ended meanwhile is not known any more.
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
    // The program's name stands in parentheses and may hold anything; the numbers begin after it.
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
