/** Making a version current on several task queues, each of which may have to wait for its workers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isTooEarly, type DeploymentVersion } from './deployment';

/** How long a promotion waits for the version's workers, in ms. */
export const promotionPatienceMs = 120_000;

/** Of some task queues another version is still current, each with its error; of the others it is this one. */
export class PromotionError extends AggregateError {
  override readonly name = 'PromotionError';
  readonly code = 'PROMOTION_INCOMPLETE';

  constructor(failures: readonly { readonly deploymentName: string; readonly error: unknown }[]) {
    const reasons = failures.map(
      ({ deploymentName, error }) => `${deploymentName}: ${String(error)}`,
    );
    super(
      failures.map(({ error }) => error),
      `Not promoted. Have workers of this version run, and try again.\n  ${reasons.join('\n  ')}`,
    );
  }
}

/**
 * Promotes all versions at once, so that one without workers holds up no other. Each is tried until it is
 * current, for `patienceMs` as long as it is too early.
 *
 * @throws PromotionError when it failed for some, after all have been tried
 */
export async function promoteAll(
  versions: readonly DeploymentVersion[],
  promoteOne: (version: DeploymentVersion) => Promise<void>,
  { patienceMs = promotionPatienceMs, retryMs = 500 } = {},
): Promise<void> {
  const deadline = Date.now() + patienceMs;
  const patiently = async (version: DeploymentVersion): Promise<void> => {
    for (; ; await sleep(retryMs)) {
      try {
        return await promoteOne(version);
      } catch (error) {
        if (!isTooEarly(error) || Date.now() > deadline) throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(versions.map(patiently));
  const failures = versions.flatMap(({ deploymentName }, index) => {
    const outcome = outcomes[index]!;
    return outcome.status === 'rejected'
      ? [{ deploymentName, error: outcome.reason as unknown }]
      : [];
  });
  if (failures.length > 0) throw new PromotionError(failures);
}
