/** The project's own processes, as `npm start` runs them: one of each kind. */

/** The names, as in `.cluster/processes.json`. */
export const PROCESS_NAMES = ['api', 'worker:commerce', 'worker:collector', 'bridge'] as const;

/** The name of one process. */
export type ProcessName = (typeof PROCESS_NAMES)[number];

/** What to run. */
export interface ProcessDefinition {
  /** The file to run, from the project's root. */
  readonly entry: string;
}

/** Each process by its name. */
export const PROCESSES: Readonly<Record<ProcessName, ProcessDefinition>> = {
  api: { entry: 'api/main.ts' },
  'worker:commerce': { entry: 'workers/commerce.ts' },
  'worker:collector': { entry: 'workers/collector.ts' },
  bridge: { entry: 'bridge/main.ts' },
};

/**
 * Those that take work in come to their end first, so that those that do it can still finish what has
 * been taken in.
 */
export const STOP_ORDER: readonly (readonly ProcessName[])[] = [
  ['api', 'bridge'],
  ['worker:commerce', 'worker:collector'],
];
