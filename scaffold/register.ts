/**
 * The first half of `npm run generate`: writes the registries. A program of its own, since all else is
 * loaded through them.
 */
import { runProgram } from '../platform/process/program';
import { root, write } from './files';
import { plannedIndexes } from './registry';

runProgram(async () => write(plannedIndexes(root)), {
  explain: (error) => (error instanceof Error ? error.message : error),
});
