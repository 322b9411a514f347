/** The project's own processes, as `npm start` runs them: one of each kind. */

/** The names, as in `.cluster/processes.json`. */
export const processNames = ['api', 'worker:commerce', 'worker:collector', 'bridge'] as const;

/** The name of one process. */
export type ProcessName = (typeof processNames)[number];

/** What to run. */
export interface ProcessDefinition {
  /** The file to run, from the project's root. */
  readonly entry: string;
}

/** Each process by its name. */
export const processDefinitions: Readonly<Record<ProcessName, ProcessDefinition>> = {
  api: { entry: 'api/main.ts' },
  'worker:commerce': { entry: 'workers/commerce.ts' },
  'worker:collector': { entry: 'workers/collector.ts' },
  bridge: { entry: 'bridge/main.ts' },
};

/**
 * Those that take work in come to their end first, so that those that do it can still finish what has
 * been taken in.
 */
export const stopOrder: readonly (readonly ProcessName[])[] = [
  ['api', 'bridge'],
  ['worker:commerce', 'worker:collector'],
];
