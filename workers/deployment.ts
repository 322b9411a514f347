/**
 * Worker versioning: the version of the workflows that a worker runs, and the one that Temporal sends
 * work to. Off unless TEMPORAL_DEPLOYMENT_NAME is set; docs/decisions/0006-worker-versioning.md says
 * why.
 */
import { isGrpcServiceError, type Client } from '@temporalio/client';
import type { WorkerDeploymentOptions } from '@temporalio/worker';
import type { Config } from '../platform/process/config';

/** A version of the workflows on a task queue. */
export interface DeploymentVersion {
  readonly deploymentName: string;
  readonly buildId: string;
}

/** The worker's options for versioning; none when it is off. */
export function workerDeploymentOf(version: DeploymentVersion | undefined): {
  readonly workerDeploymentOptions?: WorkerDeploymentOptions;
} {
  if (version === undefined) return {};
  return {
    workerDeploymentOptions: {
      useWorkerVersioning: true,
      version,
      // Auto-upgrade: open workflows move to the current version, so none waits for workers that are
      // gone; `patched` keeps their histories replayable.
      defaultVersioningBehavior: 'AUTO_UPGRADE',
    },
  };
}

/** The version of a task queue's worker; undefined when versioning is off. */
export function versionOf(
  { TEMPORAL_DEPLOYMENT_NAME: name }: Config,
  taskQueue: string,
  buildId: string,
): DeploymentVersion | undefined {
  return name === undefined ? undefined : { deploymentName: `${name}-${taskQueue}`, buildId };
}

/**
 * Makes a version current: it gets all work, also of open workflows.
 *
 * @throws ServiceError when no worker of this version has polled yet
 */
export async function promote(
  client: Client,
  version: DeploymentVersion,
  conflictToken: Uint8Array = new Uint8Array(),
): Promise<void> {
  const { namespace } = client.options;
  await client.workflowService.setWorkerDeploymentCurrentVersion({
    namespace,
    ...version,
    conflictToken,
    identity: client.options.identity,
  });
}

/**
 * Makes a version current if its deployment has none: a first deployment must not wait for somebody
 * to promote it. Whatever was promoted is left as it is, so that a worker of an old version that
 * starts again cannot undo it.
 *
 * @returns the build ID that is current afterwards
 * @throws ServiceError when no worker of this version has polled yet
 */
export async function promoteIfFirst(client: Client, version: DeploymentVersion): Promise<string> {
  const { current, conflictToken } = await describe(client, version.deploymentName);
  if (current !== undefined) return current;
  await promote(client, version, conflictToken);
  return version.buildId;
}

/** Whether Temporal refused because something has not happened yet, or has changed meanwhile. */
export function isTooEarly(error: unknown): boolean {
  const cause = error instanceof Error && isGrpcServiceError(error.cause) ? error.cause : error;
  return isGrpcServiceError(cause) && tooEarly.includes(Number(cause.code));
}

// gRPC's NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, UNAVAILABLE.
const tooEarly: readonly number[] = [5, 8, 9, 10, 14];

async function describe(client: Client, deploymentName: string) {
  const { namespace } = client.options;
  const { workerDeploymentInfo: info, conflictToken } =
    await client.workflowService.describeWorkerDeployment({ namespace, deploymentName });
  const current = info?.routingConfig?.currentDeploymentVersion?.buildId;
  return { current: current || undefined, conflictToken: conflictToken ?? new Uint8Array() };
}
