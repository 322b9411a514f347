/**
 * What test files run in: Node.js, with the variables of the cluster that belongs to the jest worker
 * that runs them. Without `npm test` there is no cluster.
 */
import { TestEnvironment } from 'jest-environment-node';

/** What the files of each worker find in their environment; as JSON in `TEST_ENVIRONMENTS`. */
export type TestEnvironments = readonly Readonly<Record<string, string>>[];

const { TEST_ENVIRONMENTS: environments, JEST_WORKER_ID: worker } = process.env;
if (environments !== undefined) {
  Object.assign(process.env, (JSON.parse(environments) as TestEnvironments)[Number(worker) - 1]);
}

// A worker whose jest is gone would go on to the end of its file, and so would all that it has started.
// Looked at from time to time: a listener for 'disconnect' would keep the worker from ending by itself.
setInterval(() => {
  if (process.connected === false) process.exit(1);
}, 500).unref();

/**
 * Ends what a file has started and not ended, as when a `beforeAll` ran out of time before it had
 * anything to stop: it would take the processor, the ports and the consumer groups of the files after
 * it. Not by an `afterAll`, which jest would call before those of the file.
 */
export default class extends TestEnvironment {
  override async teardown(): Promise<void> {
    await (this.global as unknown as Leaving).endProcesses?.();
    await super.teardown();
  }
}

/** What `test/leaving.ts` puts into the globals of each file. */
export interface Leaving {
  endProcesses?(): Promise<void>;
}
