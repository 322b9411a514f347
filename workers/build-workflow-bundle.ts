/** Makes the workflow bundle ahead of time, as part of `npm run build`. */
import { findWorkflowBundle } from './workflow-bundle';

findWorkflowBundle().then(
  (file) => {
    console.log(`workflow bundle: ${file}`);
  },
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
