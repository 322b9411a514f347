/**
 * Builds the workflow bundles ahead of time, as part of `npm run build`: a container cannot write them.
 */
import { runProgram } from '../platform/process/program';
import { findWorkflowBundle } from './workflow-bundle';

async function main(): Promise<void> {
  for (const encrypted of [false, true]) {
    for (const traced of [false, true]) {
      console.log(`workflow bundle: ${await findWorkflowBundle({ encrypted, traced })}`);
    }
  }
}

runProgram(main);
