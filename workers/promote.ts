/**
 * Makes this version of the workflows current, as the last step of a deployment with worker versioning:
 * `node launch.mjs run workers/promote.ts`, or `node dist/workers/promote.js` in the image. Arguments:
 * task queues; default all. Waits up to two minutes for the version's workers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError, readConfig, type Config } from '../platform/process/config';
import { warnOfMisspeltVariables } from '../platform/process/misspelt-variables';
import { runProgram } from '../platform/process/program';
import { serversOf } from '../platform/process/servers';
import { createTemporalClient } from '../platform/temporal/client';
import { taskQueues } from '../events/workflow-names';
import { isTooEarly, promote, versionOf } from './deployment';
import { workflowBuildId } from './workflow-bundle';

const patienceMs = 120_000;
const retryMs = 500;

async function main(): Promise<void> {
  const config = readConfig(process.env, serversOf('promote'));
  for (const warning of warnOfMisspeltVariables()) console.warn(warning);
  const buildId = await workflowBuildId();
  const given = process.argv.slice(2);
  const queues = given.length > 0 ? given : Object.values(taskQueues);
  for (const taskQueue of queues) await promoteOn(taskQueue, config, buildId);
}

async function promoteOn(taskQueue: string, config: Config, buildId: string): Promise<void> {
  const version = versionOf(config, taskQueue, buildId);
  if (version === undefined)
    throw new ConfigurationError('Set TEMPORAL_DEPLOYMENT_NAME as the workers have it.');
  const client = createTemporalClient(config);
  try {
    await patiently(() => promote(client, version));
  } finally {
    await client.connection.close();
  }
  console.log(`${version.deploymentName} is now at version ${buildId}`);
}

async function patiently(work: () => Promise<void>): Promise<void> {
  for (const deadline = Date.now() + patienceMs; ; await sleep(retryMs)) {
    try {
      return await work();
    } catch (error) {
      if (!isTooEarly(error) || Date.now() > deadline) throw error;
    }
  }
}

runProgram(main, {
  explain: (error) => (error instanceof ConfigurationError ? error.message : error),
});
