/**
 * Makes this version of the workflows current, as the last step of a deployment with worker versioning:
 * `node launch.mjs run workers/promote.ts`, or `node dist/workers/promote.js` in the image. Arguments:
 * task queues; default all. Waits up to two minutes for the version's workers, on all queues at once.
 */
import { ConfigurationError, readConfig, type Config } from '../platform/process/config';
import { warnOfMisspeltVariables } from '../platform/process/misspelt-variables';
import { runProgram } from '../platform/process/program';
import { serversOf } from '../platform/process/servers';
import { createTemporalClient } from '../platform/temporal/client';
import { taskQueues } from '../events/workflow-names';
import { promote, versionOf, type DeploymentVersion } from './deployment';
import { promoteAll } from './promotion';
import { workflowBuildId } from './workflow-bundle';

async function main(): Promise<void> {
  const config = readConfig(process.env, serversOf('promote'));
  for (const warning of warnOfMisspeltVariables()) console.warn(warning);
  const versions = versionsOf(config, await workflowBuildId());
  const client = createTemporalClient(config);
  try {
    await promoteAll(versions, async (version) => {
      await promote(client, version);
      console.log(`${version.deploymentName} is now at version ${version.buildId}`);
    });
  } finally {
    await client.connection.close();
  }
}

function versionsOf(config: Config, buildId: string): DeploymentVersion[] {
  const given = process.argv.slice(2);
  const queues = given.length > 0 ? given : Object.values(taskQueues);
  return queues.map((taskQueue) => {
    const version = versionOf(config, taskQueue, buildId);
    if (version === undefined)
      throw new ConfigurationError('Set TEMPORAL_DEPLOYMENT_NAME as the workers have it.');
    return version;
  });
}

runProgram(main, {
  explain: (error) => (error instanceof ConfigurationError ? error.message : error),
});
