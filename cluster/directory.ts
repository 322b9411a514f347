/** Where a cluster keeps its data, logs and process IDs. */
import { join } from 'node:path';

/** The variable that sets the folder. */
export const directoryVariable = 'CLUSTER_DIRECTORY';

/** The folder that `CLUSTER_DIRECTORY` names, else the project's `.cluster`. */
export function defaultDirectory(): string {
  return process.env[directoryVariable] || join(__dirname, '..', '.cluster');
}

/** The file that names a server's process and its ports. */
export function pidFileOf(directory: string, server: string): string {
  return join(directory, server, 'process.json');
}
