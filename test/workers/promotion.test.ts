import type { DeploymentVersion } from '../../workers/deployment';
import { promoteAll, PromotionError } from '../../workers/promotion';

const versions: readonly DeploymentVersion[] = ['shop-commerce', 'shop-collector'].map(
  (deploymentName) => ({ deploymentName, buildId: 'next' }),
);
const times = { patienceMs: 50, retryMs: 1 };

/** As Temporal answers while no worker of the version has polled. */
function tooEarly(): Error {
  return Object.assign(new Error('no pollers'), { code: 9, details: 'no pollers', metadata: {} });
}

async function failureOf(work: Promise<void>): Promise<PromotionError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof PromotionError) return error;
  throw new Error('It did not fail as a promotion does.', { cause: error });
}

test('a task queue whose workers never poll holds up no other, and is named', async () => {
  const promoted: string[] = [];
  const error = await failureOf(
    promoteAll(
      versions,
      async ({ deploymentName }) => {
        if (deploymentName === 'shop-commerce') throw tooEarly();
        promoted.push(deploymentName);
      },
      times,
    ),
  );

  expect(promoted).toEqual(['shop-collector']);
  expect(error.message).toContain('shop-commerce: Error: no pollers');
  expect(error.message).not.toContain('shop-collector');
  expect(error.errors).toHaveLength(1);
});

test('each is tried until its workers poll', async () => {
  const tries = new Map<string, number>();
  await promoteAll(
    versions,
    async ({ deploymentName }) => {
      const count = (tries.get(deploymentName) ?? 0) + 1;
      tries.set(deploymentName, count);
      if (deploymentName === 'shop-collector' && count < 3) throw tooEarly();
    },
    { ...times, patienceMs: 60_000 },
  );

  expect([...tries]).toEqual([
    ['shop-commerce', 1],
    ['shop-collector', 3],
  ]);
});

test('what no waiting mends is tried once, and told with all others', async () => {
  const tried: string[] = [];
  const error = await failureOf(
    promoteAll(
      versions,
      async ({ deploymentName }) => {
        tried.push(deploymentName);
        throw new Error(`${deploymentName} is forbidden`);
      },
      times,
    ),
  );

  expect(tried).toEqual(['shop-commerce', 'shop-collector']);
  expect(error.code).toBe('PROMOTION_INCOMPLETE');
  for (const { deploymentName } of versions)
    expect(error.message).toContain(`${deploymentName}: Error: ${deploymentName} is forbidden`);
});
