/** The servers of a command: those that the environment names, else those of the local cluster that runs. */
import { findRunningCluster } from '../../cluster/running-cluster';
import type { Output } from './output';

/** Whoever sets one of these says which servers are meant. */
const addressVariables = ['DATABASE_URL', 'KAFKA_BROKERS', 'TEMPORAL_ADDRESS', 'REDIS_URL'];

/**
 * The environment with the addresses of the local cluster, which is named to the operator; the environment as
 * it is, where it has an address, or no cluster runs.
 */
export async function withLocalCluster(
  environment: NodeJS.ProcessEnv,
  { note }: Pick<Output, 'note'>,
): Promise<NodeJS.ProcessEnv> {
  if (addressVariables.some((name) => environment[name])) return environment;
  const cluster = await findRunningCluster();
  if (cluster === undefined) return environment;
  note(`Local cluster: ${cluster.directory} (as no ${addressVariables.join(', ')} is set)`);
  // Their defaults may lead to servers of somebody else.
  if (cluster.missing.length > 0) {
    note(
      `These of its servers do not run, so the defaults are used: ${cluster.missing.join(', ')}`,
    );
  }
  return { ...environment, ...cluster.environment };
}
