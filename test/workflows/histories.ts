/** The recorded histories: one JSON file a run, in the fields of Temporal's own messages. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { temporal } from '@temporalio/proto';

const { History } = temporal.api.history.v1;

/** The events of one run of a workflow. */
export type History = temporal.api.history.v1.IHistory;

const folder = path.join(__dirname, 'histories');

/** Writes a history under a name. */
export async function writeHistory(name: string, history: History): Promise<void> {
  await mkdir(folder, { recursive: true });
  const json = History.toObject(History.fromObject(history), {
    longs: String,
    enums: String,
    bytes: String,
  });
  const text = JSON.stringify(json, withoutMachine, 1);
  await writeFile(path.join(folder, `${name}.json`), `${text}\n`);
}

/** A history reveals the machine that it was recorded on: paths in stack traces, and its name. */
function withoutMachine(name: string, value: unknown): unknown {
  return name === 'stackTrace' || name === 'identity' ? '' : value;
}

/** Reads the history of a name. */
export async function readHistory(name: string): Promise<History> {
  const json = await readFile(path.join(folder, `${name}.json`), 'utf8');
  return History.fromObject(JSON.parse(json) as Record<string, unknown>);
}

/** The names of all histories. */
export async function historyNames(): Promise<string[]> {
  const files = await readdir(folder);
  return files.map((file) => path.basename(file, '.json')).sort();
}

/** The type of the workflow that a history is a run of. */
export function workflowTypeOf({ events }: History): string {
  return events?.[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name ?? '';
}
