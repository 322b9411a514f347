/**
 * The second half of `npm run generate`: writes what follows from the declarations of event types and
 * projections, to be read and committed: their released schemas, and the next migration.
 */
import { runProgram } from '../platform/process/program';
import { root, write } from './files';
import { plannedProjectionFiles } from './projections';
import { plannedSchemaFiles } from './released-schemas';

async function main(): Promise<void> {
  write(plannedSchemaFiles());
  write(plannedProjectionFiles(root));
}

runProgram(main, { explain: (error) => (error instanceof Error ? error.message : error) });
